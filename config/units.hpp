#pragma once
// Reads durations, sizes and rates from text. A unit is never guessed: a bare number is an error
// that shows how to write it. Whether 0 or `off` means anything is the caller's to know. Pure
// functions; errors are sentences for the operator.

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>

#include "config/config.hpp"

namespace weir::config {

// "250ms", "10s", "5m", "12h". A bare "0" is zero; no other number goes without a unit.
std::expected<Duration, std::string> parse_duration(std::string_view text);

// "512B", "64KiB", "1MiB", "1GiB", "10kB", "10MB", "1GB" in bytes. A bare "0" is zero.
std::expected<std::uint64_t, std::string> parse_size(std::string_view text);

// "100/s", "30/m", "10/h" in events per second. A bare "0" is zero.
std::expected<double, std::string> parse_rate(std::string_view text);

}  // namespace weir::config
