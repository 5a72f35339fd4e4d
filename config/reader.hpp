#pragma once
// Reads a configuration: YAML text in, a Config or the list of everything that is wrong with it
// out. It decides no rule itself: document.hpp knows YAML, schema.hpp the keys, validate.hpp what
// must hold between them. Apart from reading files and the environment it has no effects.

#include <optional>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "config/diagnostic.hpp"

namespace weir::config {

struct LoadResult {
  std::optional<Config> config;   // set when there is no error; there may be warnings
  std::vector<Problem> problems;  // sorted by place
};

LoadResult load_file(const std::string& path);

// `file_name` is what problems show, and its directory is what relative paths are relative to.
LoadResult load_text(std::string text, const std::string& file_name);

}  // namespace weir::config
