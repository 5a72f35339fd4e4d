#pragma once
// What a key means, in sentences for people: for the JSON Schema and the reference page. Code and
// words stand in `backticks`. Pure.

#include <string>

#include "config/schema.hpp"

namespace weir::config {

// The help, what 0 means, and what of the key is not supported yet.
std::string meaning(const Key& key);

// "a duration such as `10s`, at least 10ms": what may be written.
std::string type_text(const Key& key);

// The words of the key that this build supports.
std::vector<std::string_view> supported_words(const Key& key);

}  // namespace weir::config
