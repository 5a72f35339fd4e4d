#pragma once
// What texts of each type look like, as regular expressions of the dialect of JSON Schema (ECMA
// 262). They let pass all that the reader takes, and a little more where an expression would have
// to count: a duration above its range, a path that is too long. Pure.

#include <string>

#include "config/schema.hpp"

namespace weir::config {

// Of whole texts; empty for types whose texts are free. Words and 0 are not part of it.
std::string pattern_of(Type type);

// A duration that is not 0.
std::string pattern_of_positive_duration();

// Of booleans, and of words that YAML may read as one: `off`, `no`, `false` in upper or lower case.
std::string pattern_of_on();
std::string pattern_of_off();

}  // namespace weir::config
