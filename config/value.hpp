#pragma once
// Reads one scalar as the type its key has in the schema: syntax, range, known words, and whether
// this build supports the value. It knows nothing of other keys. Pure.

#include <cstdint>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "config/schema.hpp"

namespace weir::config {

// What numbers without a range of their own may be.
constexpr std::int64_t largest_count = 10'000'000;
constexpr std::int64_t longest_duration = std::int64_t{365} * 24 * 3'600'000;  // milliseconds

struct Mistake {
  std::string message;
  std::string hint;
};

struct Scalar {
  std::string_view text;
  bool is_text = false;        // quoted: not a number, a boolean or `off`
  std::string_view directory;  // what relative paths are relative to; may be empty
};

// The value without its place.
std::expected<Value, Mistake> parse_value(const Key& key, const Scalar& scalar);

// True when both mean the same to a key of a type that is no free text.
bool same_meaning(const Value& a, const Value& b);

// "a duration such as `10s`": what the key's values look like.
std::string describe(const Key& key);

// "`a`, `b` or `c`"
std::string word_list(const std::vector<std::string_view>& words);

// "90m" rather than 5400000: the largest unit that loses nothing.
std::string duration_text(std::int64_t milliseconds);

bool is_valid_name(std::string_view text);

}  // namespace weir::config
