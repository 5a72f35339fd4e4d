#include "config/document_builder.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <numeric>
#include <utility>

#include "config/indentation.hpp"
#include "config/text_check.hpp"

namespace weir::config {
namespace {

bool all_of(std::string_view text, std::string_view allowed) {
  return text.find_first_not_of(allowed) == std::string_view::npos;
}

// YAML 1.1 reads `017` as 15, YAML 1.2 as 17, and both differ on `0o17`.
bool looks_octal(std::string_view text) {
  if (text.starts_with('-') || text.starts_with('+')) text.remove_prefix(1);
  if (text.size() < 2 || text.front() != '0') return false;
  if (text.starts_with("0o") && text.size() > 2) text.remove_prefix(2);
  return all_of(text, "0123456789");
}

std::string decimal(std::string_view octal) {
  const std::string sign = octal.starts_with('-') ? "-" : "";
  if (octal.starts_with('-') || octal.starts_with('+')) octal.remove_prefix(1);
  if (octal.starts_with("0o")) octal.remove_prefix(2);
  octal.remove_prefix(std::min(octal.find_first_not_of('0'), octal.size() - 1));
  return sign + std::string(octal);
}

}  // namespace

void DocumentBuilder::start_document(Mark mark) {
  if (started_) {
    const std::string_view rest = std::string_view(source_.text()).substr(source_.offset(mark));
    if (!rest.starts_with("---") && report_indentation(source_, mark, report_)) throw Stop{};
    stop(mark, "a second document starts here",
         "one file holds one document: remove this `---` and what belongs to it");
  }
  started_ = true;
}

void DocumentBuilder::add_null(Mark mark, Anchor anchor) {
  Node node;
  node.mark = mark;
  count_node(node.mark);
  // The parser gives an absent value the place of whatever follows.
  if (!open_.empty() && open_.back().waiting) {
    node.mark = open_.back().waiting->key_mark;
  } else if (!open_.empty() && open_.back().node.kind == Node::Kind::sequence) {
    const std::string_view before =
        std::string_view(source_.text()).substr(0, source_.offset(mark));
    const std::size_t last = before.find_last_not_of(" \t\r\n");
    const bool is_written = std::string_view("~nN").contains(source_.text()[before.size()]);
    if (!is_written && last != std::string_view::npos && before[last] == '-') {
      node.mark = source_.mark_at(last);
    }
  }
  add(std::move(node), anchor);
}

void DocumentBuilder::add_alias(Mark mark, Anchor anchor) {
  check_tab(mark);
  const auto found = anchored_.find(anchor);
  if (found == anchored_.end()) {
    report_.error(mark, "this alias stands inside the value it refers to",
                  "an alias can only repeat a value that is complete");
    Node faulty;
    faulty.mark = mark;
    faulty.is_faulty = true;
    add(std::move(faulty), 0);
    return;
  }
  Node repeated = copy(found->second, open_.size(), mark);
  repeated.mark = mark;
  add(std::move(repeated), 0);
}

void DocumentBuilder::add_scalar(Mark mark, const std::string& tag, Anchor anchor,
                                 const std::string& value) {
  Node node;
  node.kind = Node::Kind::scalar;
  node.mark = mark;
  node.is_text = tag == "!";
  node.text = value;
  count_node(node.mark);
  check_tab(node.mark);
  check_tag(node, tag);
  check_scalar(node);
  add(std::move(node), anchor);
}

void DocumentBuilder::stop(Mark mark, std::string message, std::string hint) {
  report_.error(mark, std::move(message), std::move(hint));
  throw Stop{};
}

void DocumentBuilder::open(Node::Kind kind, Mark mark, const std::string& tag, Anchor anchor) {
  if (open_.size() >= deepest_nesting) {
    stop(mark, fmt::format("values are nested more than {} levels deep", deepest_nesting));
  }
  count_node(mark);
  check_tab(mark);
  Open opened;
  opened.node.kind = kind;
  opened.node.mark = mark;
  opened.anchor = anchor;
  check_tag(opened.node, tag);
  open_.push_back(std::move(opened));
}

void DocumentBuilder::close() {
  if (open_.back().node.kind == Node::Kind::map) drop_duplicate_keys(open_.back().node);
  Open closed = std::move(open_.back());
  open_.pop_back();
  add(std::move(closed.node), closed.anchor);
}

void DocumentBuilder::add(Node node, Anchor anchor) {
  if (anchor != 0) anchored_[anchor] = copy(node, open_.size(), node.mark);
  if (open_.empty()) {
    root_ = std::move(node);
    return;
  }
  Open& parent = open_.back();
  if (parent.node.kind == Node::Kind::sequence) {
    parent.node.items.push_back(std::move(node));
  } else if (!parent.waiting) {
    add_key(parent, std::move(node));
  } else {
    parent.waiting->value = std::move(node);
    if (!parent.waiting_is_faulty) parent.node.entries.push_back(std::move(*parent.waiting));
    parent.waiting.reset();
  }
}

void DocumentBuilder::add_key(Open& map, Node node) {
  map.waiting.emplace();
  map.waiting->key_mark = node.mark;
  map.waiting_is_faulty = node.is_faulty;
  if (node.is_faulty) return;
  if (node.kind != Node::Kind::scalar) {
    map.waiting_is_faulty = true;
    report_.error(node.mark, "a key must be a name", "write `name: value`");
  } else if (node.text == "<<" && !node.is_text) {
    map.waiting_is_faulty = true;
    report_.error(node.mark, "merge keys (`<<`) are not supported",
                  "an alias can stand for a whole value; otherwise write the keys out");
  }
  map.waiting->key = std::move(node.text);
}

void DocumentBuilder::check_tag(Node& node, const std::string& tag) {
  if (tag.empty() || tag == "?" || tag == "!") return;
  report_.error(node.mark, fmt::format("YAML tags are not supported: {}", in_backticks(tag)),
                "leave the tag out; write text in quotes");
  node.is_faulty = true;
}

void DocumentBuilder::check_scalar(Node& node) {
  if (node.is_text) {
    check_quote_closed(node.mark);
  } else if (!node.is_faulty && looks_octal(node.text)) {
    report_.error(node.mark, fmt::format("{} looks like an octal number", in_backticks(node.text)),
                  fmt::format("write `{}`, or in quotes if it is text", decimal(node.text)));
    node.is_faulty = true;
  }
  if (!node.is_faulty && node.text.find('\0') != std::string::npos) {
    report_.error(node.mark, "the text contains a NUL character");
    node.is_faulty = true;
  }
}

// At the end of the file the parser closes an open quote without a word.
void DocumentBuilder::check_quote_closed(Mark mark) {
  const std::string_view text = source_.text();
  std::size_t at = source_.offset(mark);
  while (at < text.size() && (text[at] == '&' || text[at] == '!')) {
    at = text.find_first_of(" \t\r\n", at);
    at = text.find_first_not_of(" \t\r\n", at);
  }
  if (at >= text.size() || (text[at] != '"' && text[at] != '\'')) return;
  const char quote = text[at];
  for (std::size_t i = at + 1; i < text.size(); ++i) {
    if (quote == '"' && text[i] == '\\') {
      ++i;
    } else if (text[i] == quote) {
      if (quote == '"' || text.substr(i + 1, 1) != "'") return;
      ++i;
    }
  }
  stop(source_.mark_at(at), "this quote is never closed");
}

void DocumentBuilder::check_tab(Mark mark) {
  if (mark.line == tab_line_) return;
  if (const auto tab = tab_before(source_, mark)) {
    tab_line_ = mark.line;
    report_.error(*tab, "a tab is used as indentation", "indent with spaces");
  }
}

void DocumentBuilder::count_node(Mark mark) {
  if (++nodes_ > most_nodes) {
    stop(mark, fmt::format("the file holds more than {} values", most_nodes));
  }
}

void DocumentBuilder::drop_duplicate_keys(Node& map) {
  auto& entries = map.entries;
  std::vector<std::size_t> order(entries.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::ranges::sort(order, {}, [&](std::size_t i) {
    return std::pair<std::string_view, std::size_t>(entries[i].key, i);
  });
  std::vector<bool> dropped(entries.size());
  bool any = false;
  std::size_t first = 0;
  for (std::size_t i = 1; i < order.size(); ++i) {
    const Entry& entry = entries[order[i]];
    if (entry.key != entries[order[first]].key) {
      first = i;
      continue;
    }
    dropped[order[i]] = any = true;
    if (report_.full()) {
      report_.error(entry.key_mark, {});
      continue;
    }
    const Place earlier = source_.place(entries[order[first]].key_mark);
    report_.error(entry.key_mark,
                  fmt::format("the key {} is already written at {}:{}:{}", in_backticks(entry.key),
                              earlier.file, earlier.line, earlier.column));
  }
  if (!any) return;
  std::vector<Entry> kept;
  for (std::size_t i = 0; i < entries.size(); ++i) {
    if (!dropped[i]) kept.push_back(std::move(entries[i]));
  }
  entries = std::move(kept);
}

Node DocumentBuilder::copy(const Node& original, std::size_t depth, Mark alias) {
  if (++copied_nodes_ > most_copied_nodes ||
      (copied_bytes_ += original.text.size()) > most_copied_bytes) {
    stop(alias, "anchors and aliases make this document too large",
         fmt::format("they may repeat at most {} values", most_copied_nodes));
  }
  if (depth > static_cast<std::size_t>(deepest_nesting)) {
    stop(alias, fmt::format("values are nested more than {} levels deep", deepest_nesting));
  }
  Node node;
  node.kind = original.kind;
  node.is_text = original.is_text;
  node.is_faulty = original.is_faulty;
  node.mark = original.mark;
  node.text = original.text;
  for (const Node& item : original.items) node.items.push_back(copy(item, depth + 1, alias));
  for (const Entry& entry : original.entries) {
    copied_bytes_ += entry.key.size();
    node.entries.push_back({entry.key, entry.key_mark, copy(entry.value, depth + 1, alias)});
  }
  return node;
}

}  // namespace weir::config
