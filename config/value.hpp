#pragma once
// Reads one scalar as the type its key has in the schema: syntax, range, known words, and whether
// this build supports the value. It knows nothing of other keys. Pure.

#include <expected>
#include <string>
#include <string_view>

#include "config/schema.hpp"

namespace weir::config {

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

bool is_valid_name(std::string_view text);

}  // namespace weir::config
