#pragma once
// Finds the files that a pattern such as `conf.d/*.yaml` stands for. Reads directories, no files.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace weir::config {

inline constexpr std::size_t most_matches = 1000;

// True when the path has a `*`, a `?` or a `[`.
bool is_pattern(std::string_view path);

struct Matches {
  std::vector<std::string> files;        // sorted; empty when there is a fault
  std::vector<std::string> directories;  // where the files were looked for
  std::string fault;                     // why they cannot be found; a sentence for the operator
};

// `directory` is what a relative pattern is relative to: "" or a path that ends in `/`. As in a
// shell, a pattern finds no name that starts with a dot, unless it says so, and `*` no `/`.
Matches find_matches(std::string_view directory, std::string_view pattern);

}  // namespace weir::config
