#include "config/schema.hpp"

#include <algorithm>

namespace weir::config {
namespace {

// "a.*.c[].d" as a, *, c, [], d.
std::vector<std::string_view> split_path(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty()) {
    if (path.front() == '.') path.remove_prefix(1);
    const std::size_t length =
        path.starts_with("[]") ? 2 : std::min(path.find_first_of(".["), path.size());
    parts.push_back(path.substr(0, length));
    path.remove_prefix(length);
  }
  return parts;
}

SchemaNode build_tree() {
  SchemaNode root;
  for (const Key& key : all_keys()) {
    SchemaNode* at = &root;
    for (const std::string_view part : split_path(key.path)) {
      auto found = std::ranges::find(at->children, part, &SchemaNode::name);
      if (found == at->children.end()) {
        at->children.push_back({part, nullptr, {}});
        found = std::prev(at->children.end());
      }
      at = &*found;
    }
    at->key = &key;
  }
  return root;
}

}  // namespace

std::string_view Key::last_name() const {
  return path.substr(path.find_last_of('.') + 1);
}

const SchemaNode* SchemaNode::child(std::string_view child_name) const {
  const auto found = std::ranges::find(children, child_name, &SchemaNode::name);
  return found == children.end() ? nullptr : &*found;
}

std::vector<std::string_view> SchemaNode::child_names() const {
  std::vector<std::string_view> names;
  for (const SchemaNode& node : children) names.push_back(node.name);
  return names;
}

const std::vector<Key>& all_keys() {
  static const std::vector<Key> keys = [] {
    std::vector<Key> joined;
    for (const auto part : {process_keys(), tls_keys(), listener_keys(), upstream_keys(),
                            pool_keys(), health_keys()}) {
      joined.insert(joined.end(), part.begin(), part.end());
    }
    return joined;
  }();
  return keys;
}

const SchemaNode& schema() {
  static const SchemaNode root = build_tree();
  return root;
}

std::vector<std::string_view> split_words(std::string_view words) {
  std::vector<std::string_view> parts;
  while (!words.empty()) {
    const std::size_t end = std::min(words.find('|'), words.size());
    parts.push_back(words.substr(0, end));
    words.remove_prefix(std::min(end + 1, words.size()));
  }
  return parts;
}

}  // namespace weir::config
