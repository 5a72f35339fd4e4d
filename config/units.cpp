#include "config/units.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <limits>
#include <span>

#include "config/diagnostic.hpp"

namespace weir::config {
namespace {

struct Unit {
  std::string_view name;
  std::uint64_t factor;
};

struct Quantity {
  std::string_view what;     // "a duration"
  std::string_view example;  // the unit to suggest
  std::string_view units;    // the list to show
  std::span<const Unit> known;
};

constexpr Unit duration_units[] = {{"ms", 1}, {"s", 1000}, {"m", 60'000}, {"h", 3'600'000}};
constexpr Unit size_units[] = {
    {"B", 1},     {"KiB", 1ULL << 10}, {"MiB", 1ULL << 20}, {"GiB", 1ULL << 30},
    {"kB", 1000}, {"KB", 1000},        {"MB", 1'000'000},   {"GB", 1'000'000'000}};
constexpr Unit rate_units[] = {{"/s", 3600}, {"/m", 60}, {"/h", 1}};

std::expected<std::uint64_t, std::string> parse(std::string_view text, const Quantity& quantity) {
  const auto fail = [&](std::string_view why) {
    return std::unexpected(fmt::format("{} is not {}: {}", in_backticks(text), quantity.what, why));
  };
  const std::string_view digits = text.substr(0, text.find_first_not_of("0123456789"));
  const std::string_view unit = text.substr(digits.size());
  if (digits.empty())
    return fail(fmt::format("write a whole number and a unit, {}", quantity.units));
  if (unit.starts_with('.')) return fail("write a whole number, in a smaller unit");
  if (unit.empty() && digits != "0") {
    return fail(
        fmt::format("it needs a unit, write `{0}{1}`, not `{0}`", digits, quantity.example));
  }
  constexpr std::uint64_t most = std::numeric_limits<std::int64_t>::max();
  std::uint64_t number = 0;
  const auto parsed = std::from_chars(digits.data(), digits.data() + digits.size(), number);
  if (parsed.ec != std::errc{} || number > most) return fail("the number is too large");
  if (unit.empty()) return 0;
  const auto found = std::ranges::find(quantity.known, unit, &Unit::name);
  if (found == quantity.known.end()) {
    return fail(fmt::format("the unit must be {}", quantity.units));
  }
  if (number > most / found->factor) return fail("the number is too large");
  return number * found->factor;
}

}  // namespace

std::expected<Duration, std::string> parse_duration(std::string_view text) {
  const auto count = parse(text, {"a duration", "s", "`ms`, `s`, `m` or `h`", duration_units});
  if (!count) return std::unexpected(count.error());
  return Duration{*count};
}

std::expected<std::uint64_t, std::string> parse_size(std::string_view text) {
  return parse(text, {"a size", "KiB", "`B`, `KiB`, `MiB`, `GiB`, `kB`, `MB` or `GB`", size_units});
}

std::expected<double, std::string> parse_rate(std::string_view text) {
  const auto per_hour = parse(text, {"a rate", "/s", "`/s`, `/m` or `/h`", rate_units});
  if (!per_hour) return std::unexpected(per_hour.error());
  return static_cast<double>(*per_hour) / 3600.0;
}

}  // namespace weir::config
