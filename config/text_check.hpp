#pragma once
// What can be said about a configuration file before its YAML is parsed: its size and its encoding;
// and about its lines afterwards. No state.

#include <cstddef>
#include <optional>
#include <string_view>

#include "config/diagnostic.hpp"
#include "config/source.hpp"

namespace weir::config {

// The length of the UTF-8 sequence at the start of `text`, which is not empty; 0 when it is not
// one.
std::size_t utf8_length(std::string_view text);

// False when the text is too large or no plain UTF-8, which is then reported.
bool check_text(const Source& source, std::size_t largest, Report& report);

// The first tab in the indentation of the line of `mark`, if it stands before `mark` or there.
std::optional<Mark> tab_before(const Source& source, Mark mark);

}  // namespace weir::config
