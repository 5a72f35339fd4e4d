#pragma once
// Gathers a configuration from its files: reads the documents that `include` names, and what those
// include, and merges their named settings into the first one. Which keys an included file may have
// is for the section reader to say. Reads files and the environment.

#include <cstddef>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "config/document.hpp"
#include "config/file.hpp"
#include "config/glob.hpp"

namespace weir::config {

inline constexpr std::size_t most_files = 1000;
// Once so many bytes have been included, no further file is.
inline constexpr std::size_t most_included = 16U << 20U;

struct FileRead {
  std::string path;                         // from the root
  std::shared_ptr<const std::string> text;  // as it was read; null when it could not be
};

struct PatternRead {
  std::string directory;  // from the root, with a `/` at the end: what the pattern is relative to
  std::string pattern;
  Matches found;
};

class Includer {
 public:
  Includer(Sources& sources, Report& report) : sources_(sources), report_(report) {}

  // The documents, that of the file itself first; empty when its syntax is broken. References to
  // the environment are replaced.
  std::vector<Node> read_all(std::string text, const std::string& file_name);

  // False when a file could not be read: what it would have defined is missing.
  bool is_complete() const { return is_complete_; }
  // What was read or looked for, each file under every path that named it.
  std::vector<FileRead> take_files() { return std::move(files_); }
  std::vector<PatternRead> take_patterns() { return std::move(patterns_); }

 private:
  void read(std::string text, const std::string& file_name, const FileIdentity& identity);
  void follow(const Node& item);
  void include(const std::string& path, Mark mark);
  // Counts one more file; the first that is too many is reported.
  bool is_too_much(Mark mark);
  void fail(Mark mark, std::string message, std::string hint = {});

  struct Open {
    FileIdentity identity;
    std::string path;
  };

  Sources& sources_;
  Report& report_;
  std::vector<Node> documents_;
  std::vector<FileRead> files_;
  std::vector<PatternRead> patterns_;
  std::map<FileIdentity, std::shared_ptr<const std::string>> texts_;
  std::vector<Open> open_;  // from the first file down to the one that is being read
  std::map<FileIdentity, Place> included_;
  std::size_t included_bytes_ = 0;
  std::size_t tried_ = 0;  // files and patterns, good or not
  bool is_complete_ = true;
};

// Moves the named settings of the included documents behind those of the first, and reports names
// that are defined twice. Without `is_complete`, sections that are missing count as faulty.
void merge_documents(std::vector<Node>& documents, bool is_complete, const Sources& sources,
                     Report& report);

}  // namespace weir::config
