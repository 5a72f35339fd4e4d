#pragma once
// Builds the tree of document.hpp from the events of the YAML parser, and refuses at each event
// what document.hpp promises to refuse. Only document.cpp uses it. It throws Stop after reporting
// what leaves no sense in going on.

#include <cstddef>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "config/document.hpp"

namespace weir::config {

class DocumentBuilder {
 public:
  struct Stop {};
  using Anchor = std::size_t;  // 0 = none

  DocumentBuilder(const Source& source, Report& report) : source_(source), report_(report) {}

  // The finished tree; null when the document is empty.
  Node take_root() { return std::move(root_); }

  void start_document(Mark mark);
  void add_null(Mark mark, Anchor anchor);
  void add_alias(Mark mark, Anchor anchor);
  void add_scalar(Mark mark, const std::string& tag, Anchor anchor, const std::string& value);
  void open(Node::Kind kind, Mark mark, const std::string& tag, Anchor anchor);
  void close();

 private:
  // A sequence or map that is still being read.
  struct Open {
    Node node;
    Anchor anchor = 0;
    std::optional<Entry> waiting;  // a key whose value is still to come
    bool waiting_is_faulty = false;
  };

  [[noreturn]] void stop(Mark mark, std::string message, std::string hint = {});
  void add(Node node, Anchor anchor);
  void add_key(Open& map, Node node);
  void check_tag(Node& node, const std::string& tag);
  void check_scalar(Node& node);
  void check_quote_closed(Mark mark);
  void check_tab(Mark mark);
  void count_node(Mark mark);
  void drop_duplicate_keys(Node& map);
  Node copy(const Node& original, std::size_t depth, Mark alias);

  const Source& source_;
  Report& report_;
  std::vector<Open> open_;
  std::unordered_map<Anchor, Node> anchored_;
  Node root_;
  bool started_ = false;
  int tab_line_ = 0;  // the last line whose tab was reported
  std::size_t nodes_ = 0;
  std::size_t copied_nodes_ = 0;
  std::size_t copied_bytes_ = 0;
};

}  // namespace weir::config
