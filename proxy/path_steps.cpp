#include "proxy/path_steps.hpp"

#include <unistd.h>

#include <array>
#include <cerrno>
#include <climits>
#include <string_view>

#include "config/file.hpp"

namespace weir::proxy {
namespace {

std::string join(const std::string& directory, const std::string& name) {
  return directory.ends_with('/') ? directory + name : directory + '/' + name;
}

std::string parent(const std::string& directory) {
  const std::size_t slash = directory.rfind('/');
  return slash == 0 || slash == std::string::npos ? "/" : directory.substr(0, slash);
}

// The names of a path, the first one last.
void push_names(std::vector<std::string>& names, std::string_view path) {
  while (!path.empty()) {
    const std::size_t slash = path.rfind('/');
    const std::size_t begin = slash == std::string_view::npos ? 0 : slash + 1;
    if (const std::string_view name = path.substr(begin); !name.empty() && name != ".") {
      names.emplace_back(name);
    }
    path = path.substr(0, slash == std::string_view::npos ? 0 : slash);
  }
}

}  // namespace

PathSteps PathWalk::steps_to(const std::string& path) {
  PathSteps found{{}, "/"};
  std::vector<std::string> names;
  push_names(names, config::absolute_path(path));
  std::size_t links = 0;
  while (!names.empty() && found.steps.size() < most_steps) {
    const std::string name = std::move(names.back());
    names.pop_back();
    if (name == "..") {
      found.end = parent(found.end);
      continue;
    }
    found.steps.push_back({found.end, name});
    const Entry& here = entry(found.steps.back());
    if (here.link.empty()) {
      found.end = join(found.end, name);
      if (here.is_missing) break;
      continue;
    }
    if (++links > most_links) break;
    if (here.link.starts_with('/')) found.end = "/";
    push_names(names, here.link);
  }
  return found;
}

const PathWalk::Entry& PathWalk::entry(const PathStep& step) {
  const auto [known, is_new] = entries_.try_emplace(step);
  if (!is_new) return known->second;
  std::array<char, PATH_MAX> target{};
  const ssize_t size =
      ::readlink(join(step.directory, step.name).c_str(), target.data(), target.size());
  if (size > 0) {
    known->second.link.assign(target.data(), static_cast<std::size_t>(size));
  } else {
    known->second.is_missing = errno != EINVAL;  // EINVAL: it is there, and no link
  }
  return known->second;
}

}  // namespace weir::proxy
