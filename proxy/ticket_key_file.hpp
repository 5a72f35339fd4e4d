#pragma once
// The file of session ticket keys that a fleet shares: text, each key 80 random bytes in base64
// (which may be broken into lines), the newest last; `#` begins a line that is a comment. It is the
// format of HAProxy's tls-ticket-keys. Reads it and says what is wrong; never shows a key.

#include <expected>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "config/diagnostic.hpp"
#include "proxy/ticket_keys.hpp"

namespace weir::proxy {

// The keys that count, the oldest first: the last three. A sentence when any of the text is wrong.
std::expected<std::vector<TicketKeys::Key>, std::string> parse_ticket_keys(std::string_view text);

// Nothing when there is a problem; a file that anybody may read is a warning.
std::optional<std::vector<TicketKeys::Key>> read_ticket_keys(
    const config::SessionTickets& settings, std::vector<config::Problem>& problems);

}  // namespace weir::proxy
