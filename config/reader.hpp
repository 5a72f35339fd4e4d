#pragma once
// Reads a configuration: YAML text in, a Config or the list of everything that is wrong with it
// out. It decides no rule itself: document.hpp knows YAML, include.hpp how files become one,
// schema.hpp the keys, validate.hpp what must hold between them. Apart from reading files and the
// environment it has no effects.

#include <optional>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "config/diagnostic.hpp"
#include "config/include.hpp"

namespace weir::config {

struct LoadResult {
  std::optional<Config> config;   // set when there is no error; there may be warnings
  std::vector<Problem> problems;  // sorted by file and place
  // What the configuration comes from, for who wants to know when that changes: the file itself
  // and all it includes, whether they could be read or not, and the patterns that were looked up.
  std::vector<FileRead> files;
  std::vector<PatternRead> patterns;
};

LoadResult load_file(const std::string& path);

// `file_name` is what problems show, and its directory is what relative paths are relative to.
LoadResult load_text(std::string text, const std::string& file_name);

// The same for a text that was the Wording of a configuration without errors: what holds between
// keys, and whether files can be read, is not looked at again.
LoadResult load_checked(std::string text, const std::string& file_name);

struct ShowResult {
  std::optional<std::string> text;  // set when there is no error
  std::vector<Problem> problems;
};

// What is in force as YAML that loads again to the same configuration: effective.hpp.
ShowResult show_file(const std::string& path, bool with_defaults);
ShowResult show_text(std::string text, const std::string& file_name, bool with_defaults);

}  // namespace weir::config
