#pragma once
// The two formats of the access log. Pure. What a peer sent (server name, ALPN, error texts) is
// escaped: a line is always one line, and JSON is always valid.

#include <string>
#include <string_view>

#include "config/config.hpp"
#include "proxy/connection_facts.hpp"

namespace weir::proxy {

// Appends one line with its end.
void append_line(std::string& to, const ConnectionFacts& facts, config::LogFormat format);

// `text` as a JSON string with its quotes; bytes that are not UTF-8 become U+FFFD.
void append_json_text(std::string& to, std::string_view text);

// RFC 3339 in UTC with milliseconds: 2026-01-02T03:04:05.678Z
std::string timestamp(std::chrono::system_clock::time_point time);

}  // namespace weir::proxy
