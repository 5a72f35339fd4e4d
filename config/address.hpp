#pragma once
// Reads socket addresses and networks from text. Numeric addresses only: names are resolved
// elsewhere. No I/O; each function stands alone. Errors are sentences for the operator.

#include <expected>
#include <string>
#include <string_view>

#include "config/config.hpp"

namespace weir::config {

// "ip:port", "[ip6]:port" or "unix:/path". The host comes back in its canonical form
// ("2001:DB8::0:1" as "2001:db8::1"), so equal addresses compare equal. Port 0 is accepted.
std::expected<Address, std::string> parse_address(std::string_view text);

// "10.0.0.0/8", "2001:db8::/32", or one address. Bits beyond the prefix must be 0.
std::expected<Network, std::string> parse_network(std::string_view text);

// True for "name:port" with a host name: well-formed, but not an address.
bool is_name_and_port(std::string_view text);

}  // namespace weir::config
