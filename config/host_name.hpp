#pragma once
// Reads host names as they appear in TLS: letters, digits, hyphens and underscores in dotted
// labels. Names come back in lower case. No look-ups; errors are sentences for the operator.

#include <expected>
#include <string>
#include <string_view>

namespace weir::config {

// "api.example.com", or an IP address without brackets.
std::expected<std::string, std::string> parse_host_name(std::string_view text);

// A host name, or "*." before one.
std::expected<std::string, std::string> parse_server_name_pattern(std::string_view text);

}  // namespace weir::config
