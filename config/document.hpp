#pragma once
// A YAML document as a plain tree in which every key and every value knows where it was written.
// Reading it refuses what YAML parsers let pass in silence: duplicate keys, alias cycles and
// explosions, merge keys, second documents, octal-looking numbers, tabs as indentation, quotes that
// are never closed. It knows nothing about which keys exist: that is schema.hpp. Plain data.

#include <initializer_list>
#include <optional>
#include <string>
#include <vector>

#include "config/diagnostic.hpp"
#include "config/source.hpp"

namespace weir::config {

struct Entry;

struct Node {
  enum class Kind { null, scalar, sequence, map };
  Kind kind = Kind::null;
  bool is_text = false;    // a scalar in quotes or a block: not a number, a boolean or `off`
  bool is_faulty = false;  // already reported: not to be reported again
  Mark mark;
  std::string text;
  std::vector<Node> items;
  std::vector<Entry> entries;

  const Entry* find(std::string_view key) const;
  // The entry at the end of a path of keys.
  const Entry* find(std::initializer_list<std::string_view> path) const;
};

struct Entry {
  std::string key;
  Mark key_mark;
  Node value;
};

// True when anything in the value was reported as an error.
bool has_fault(const Node& node);

inline constexpr std::size_t largest_file = 4U << 20U;
inline constexpr int deepest_nesting = 64;
inline constexpr std::size_t most_nodes = 1'000'000;
// What aliases may add to the document: nodes, and bytes of text.
inline constexpr std::size_t most_copied_nodes = 100'000;
inline constexpr std::size_t most_copied_bytes = 4U << 20U;

// The one document of the source. Nothing when its syntax is broken; otherwise the tree, which may
// lack what was reported as an error. Time is linear in the length of the text.
std::optional<Node> read_document(const Source& source, Report& report);

}  // namespace weir::config
