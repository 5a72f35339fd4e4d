#include "config/reference.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "config/meaning.hpp"
#include "config/schema.hpp"
#include "config/value.hpp"

namespace weir::config {
namespace {

constexpr std::string_view introduction = R"(# The configuration, key by key

Made by `weir schema --reference` from the table that the reader works by: do not edit it.
`weir schema` prints the same as a JSON Schema for editors.

- Durations are `250ms`, `10s`, `5m` or `12h`, up to {}; rates are `100/s`, `30/m` or `10/h`. A bare
  number where a unit belongs is an error, but for `0`. A whole number without a range is at most
  {}.
- NAME is yours to choose: up to 63 of `a-z`, `0-9`, `_` and `-`, the first a letter or a digit.
- `${{NAME}}` and `${{NAME:-default}}` in a value are replaced from the environment; `$${{` is a
  literal `${{`.
- Relative paths are relative to the file that names them.
- What is not supported yet is refused, but for the value that asks for nothing.

[Everything](#everything) is where a file starts.
)";

// Stars and bars as they are, outside of `code`.
std::string escaped(std::string_view text) {
  std::string result;
  bool is_code = false;
  for (const char c : text) {
    if (c == '`') is_code = !is_code;
    if (c == '|' || (!is_code && (c == '*' || c == '<' || c == '['))) result += '\\';
    result += c;
  }
  return result;
}

// "listeners.NAME.routes[]": the keys of a map as an operator would name them.
std::string title_of(const SchemaNode& node) {
  std::string title(node.key->path);
  const std::string_view each = node.key->type == Type::named ? ".NAME" : "[]";
  for (std::size_t at = title.find('*'); at != std::string::npos; at = title.find('*')) {
    title.replace(at, 1, "NAME");
  }
  return node.key->type == Type::section ? title : title.append(each);
}

// The anchor that GitHub and others give a heading.
std::string link_to(const SchemaNode& node) {
  const std::string title = title_of(node);
  std::string anchor;
  for (const char c : title) {
    if (std::isalnum(static_cast<unsigned char>(c)) != 0 || c == '-' || c == '_') {
      anchor += static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
    }
  }
  return fmt::format("[{}](#{})", escaped(title), anchor);
}

bool is_map(const SchemaNode& node) {
  const Type type = node.key->type;
  return type == Type::section || type == Type::named || type == Type::list;
}

std::string type_cell(const SchemaNode& node) {
  if (!is_map(node)) return type_text(*node.key);
  const std::string_view kind = node.key->type == Type::section ? "a map"
                                : node.key->type == Type::named ? "a map of maps"
                                                                : "a list of maps";
  return fmt::format("{}: {}{}", kind, link_to(node), node.key->off_is.empty() ? "" : ", or `off`");
}

std::string default_cell(const Key& key) {
  if (key.required) return "*required*";
  return key.standard.empty() ? "–" : fmt::format("`{}`", key.standard);
}

void add_table(std::string& page, const SchemaNode& node) {
  page += "\n| key | type | default | meaning |\n|---|---|---|---|\n";
  for (const SchemaNode& child : node.children) {
    page += fmt::format("| `{}` | {} | {} | {} |\n", child.name,
                        is_map(child) ? type_cell(child) : escaped(type_cell(child)),
                        default_cell(*child.key), escaped(meaning(*child.key)));
  }
}

void add_maps(std::string& page, const SchemaNode& node) {
  for (const SchemaNode& child : node.children) {
    if (!is_map(child)) continue;
    const bool has_members = child.key->type != Type::section;
    const SchemaNode& keys = has_members ? child.children.front() : child;
    page += fmt::format("\n## {}\n\n{}\n", escaped(title_of(child)), escaped(meaning(*child.key)));
    add_table(page, keys);
    add_maps(page, keys);
  }
}

}  // namespace

std::string reference_page() {
  std::string page = fmt::format(introduction, duration_text(longest_duration), largest_count);
  page += "\n## Everything\n";
  add_table(page, schema());
  add_maps(page, schema());
  return page;
}

}  // namespace weir::config
