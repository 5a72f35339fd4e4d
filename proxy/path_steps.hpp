#pragma once
// How the kernel gets from a path to a file: every name that it looks up, and the directory in
// which it does, through all symbolic links. Whoever watches these directories for these names sees
// everything that may make the path lead elsewhere. Reads links, no files; single-threaded.

#include <compare>
#include <map>
#include <string>
#include <vector>

namespace weir::proxy {

// Paths beyond these, which the kernel refuses too or nearly, are followed up to there.
inline constexpr std::size_t most_links = 40;
inline constexpr std::size_t most_steps = 1000;

struct PathStep {
  std::string directory;  // from the root, without links
  std::string name;
  auto operator<=>(const PathStep&) const = default;
};

struct PathSteps {
  std::vector<PathStep> steps;  // the last one is the file, or the first name that is missing
  std::string end;              // where they lead: from the root, without links
};

// Remembers the links that it has seen: make one for each pass over the paths.
class PathWalk {
 public:
  PathSteps steps_to(const std::string& path);

 private:
  struct Entry {
    bool is_missing = false;
    std::string link;  // where it leads; empty for what is no link
  };
  const Entry& entry(const PathStep& step);

  std::map<PathStep, Entry> entries_;
};

}  // namespace weir::proxy
