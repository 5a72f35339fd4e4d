#include "config/glob.hpp"

#include <dirent.h>
#include <fmt/format.h>
#include <fnmatch.h>
#include <sys/stat.h>

#include <algorithm>
#include <cerrno>
#include <memory>
#include <system_error>

namespace weir::config {
namespace {

struct Close {
  void operator()(DIR* directory) const { ::closedir(directory); }
};

// Adds what the part finds in the directory, which is "" or ends in `/`.
void match_part(const std::string& directory, const std::string& part,
                std::vector<std::string>& found, std::string& fault) {
  const std::string opened = directory.empty() ? "." : directory;
  const std::unique_ptr<DIR, Close> entries(::opendir(opened.c_str()));
  if (entries == nullptr) {
    if (errno != ENOENT && errno != ENOTDIR) {
      fault = fmt::format("cannot read `{}`: {}", opened, std::generic_category().message(errno));
    }
    return;
  }
  while (const dirent* entry = ::readdir(entries.get())) {  // NOLINT(concurrency-mt-unsafe)
    if (::fnmatch(part.c_str(), entry->d_name, FNM_PERIOD) != 0) continue;
    if (found.size() >= most_matches) {
      fault = fmt::format("more than {} files match", most_matches);
      return;
    }
    found.push_back(directory + entry->d_name);
  }
}

bool exists(const std::string& path) {
  struct stat status = {};
  return ::stat(path.c_str(), &status) == 0;
}

}  // namespace

bool is_pattern(std::string_view path) {
  return path.find_first_of("*?[") != std::string_view::npos;
}

Matches find_matches(std::string_view directory, std::string_view pattern) {
  Matches matches;
  std::vector<std::string> paths{pattern.starts_with('/') ? "/" : std::string(directory)};
  while (!pattern.empty() && matches.fault.empty()) {
    const std::size_t begin = std::min(pattern.find_first_not_of('/'), pattern.size());
    const std::size_t end = std::min(pattern.find('/', begin), pattern.size());
    const std::string part(pattern.substr(begin, end - begin));
    pattern.remove_prefix(end);
    std::vector<std::string> longer;
    for (const std::string& path : paths) {
      if (is_pattern(part) || pattern.empty()) {
        matches.directories.push_back(path.empty() ? "./" : path);
      }
      if (is_pattern(part)) {
        match_part(path, part, longer, matches.fault);
      } else {
        longer.push_back(path + part);
      }
      if (!matches.fault.empty()) break;
    }
    paths = std::move(longer);
    if (!pattern.empty()) {
      for (std::string& path : paths) path += '/';
    }
  }
  if (!matches.fault.empty()) return matches;
  std::erase_if(paths, [](const std::string& path) { return !exists(path); });
  std::ranges::sort(paths);
  matches.files = std::move(paths);
  return matches;
}

}  // namespace weir::config
