#include "config/section_reader.hpp"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

namespace weir::config {
namespace {

std::string_view kind_of(const Node& node) {
  switch (node.kind) {
    case Node::Kind::null:
      return "nothing";
    case Node::Kind::scalar:
      return "a single value";
    case Node::Kind::sequence:
      return "a list";
    case Node::Kind::map:
      return "a map";
  }
  return "something else";
}

bool is_empty(const Node& node) {
  return node.kind == Node::Kind::null || (node.items.empty() && node.entries.empty());
}

}  // namespace

void SectionReader::read_all(Node& root) {
  if (root.is_faulty) return;
  if (root.kind == Node::Kind::null) {
    report_.error(Mark{}, "the file is empty", "it starts with `version: 1`");
  } else if (root.kind != Node::Kind::map) {
    report_.error(root.mark, fmt::format("the file must be a map of keys, not {}", kind_of(root)),
                  "write `key: value`, with a space after the colon");
  } else {
    read_keys(root, schema(), root.mark);
  }
}

void SectionReader::check_included(Node& root) {
  if (root.is_faulty || root.kind == Node::Kind::null) return;
  if (root.kind != Node::Kind::map) {
    report_.error(root.mark,
                  fmt::format("an included file must be a map of keys, not {}", kind_of(root)));
    return;
  }
  for (Entry& entry : root.entries) {
    const SchemaNode* child = schema().child(entry.key);
    path_.push_back(entry.key);
    if (child == nullptr) {
      path_.clear();
      report_unknown(entry, schema());
    } else if (entry.key == "include" || entry.key == "version") {
      read(entry.value, *child, entry.key_mark);
    } else if (child->key->type != Type::named) {
      report_misplaced(entry);
    } else if (entry.value.kind != Node::Kind::map && entry.value.kind != Node::Kind::null &&
               !entry.value.is_faulty) {
      report_wrong_kind(entry.value, *child->key, entry.key_mark);
    }
    path_.clear();
  }
}

void SectionReader::read(Node& node, const SchemaNode& schema_node, Mark key_mark) {
  const Key& key = *schema_node.key;
  if (node.is_faulty) return;
  if (!key.supported) {
    read_unsupported(node, key, key_mark);
    return;
  }
  switch (key.type) {
    case Type::section:
      read_section(node, schema_node, key_mark);
      break;
    case Type::named:
      read_named(node, schema_node, key_mark);
      break;
    case Type::list:
      read_list(node, schema_node, key_mark);
      break;
    default:
      read_values(node, schema_node, key_mark);
  }
}

void SectionReader::read_section(Node& node, const SchemaNode& schema_node, Mark key_mark) {
  const Key& key = *schema_node.key;
  if (node.kind == Node::Kind::scalar && !key.off_is.empty()) {
    const SchemaNode& child = *schema_node.child(key.off_is);
    const auto value =
        parse_value(*child.key, {node.text, node.is_text, sources_.of(node.mark).directory()});
    if (value && split_words(child.key->words).at(0) == value->text) {
      read(node, child, key_mark);
      return;
    }
  }
  if (node.kind != Node::Kind::map && node.kind != Node::Kind::null) {
    report_wrong_kind(node, key, key_mark);
    return;
  }
  // With nothing after it, a section whose presence has a meaning may be an oversight.
  const bool chosen_by_presence = key.set != nullptr && schema_node.name != "*";
  if (node.kind == Node::Kind::null && chosen_by_presence) {
    report_.error(
        key_mark, fmt::format("{} has no value", here()),
        fmt::format("write `{}: {{}}` for the defaults, or leave it out", key.last_name()));
    return;
  }
  enter(schema_node, {}, key_mark);
  read_keys(node, schema_node, key_mark);
}

void SectionReader::read_keys(Node& node, const SchemaNode& schema_node, Mark key_mark) {
  std::vector<std::string> meant;
  for (Entry& entry : node.entries) {
    const SchemaNode* child = schema_node.child(entry.key);
    if (child == nullptr) {
      meant.push_back(report_unknown(entry, schema_node));
      continue;
    }
    path_.push_back(entry.key);
    read(entry.value, *child, entry.key_mark);
    path_.pop_back();
  }
  for (const SchemaNode& child : schema_node.children) {
    // A required key that is only misspelt is one mistake, not two.
    if (!child.key->required || node.find(child.name) != nullptr) continue;
    if (std::ranges::find(meant, child.name) != meant.end()) continue;
    report_.error(key_mark, fmt::format("{} has no `{}`", here(), child.name),
                  std::string(child.key->help));
  }
}

void SectionReader::read_named(Node& node, const SchemaNode& schema_node, Mark key_mark) {
  if (node.kind != Node::Kind::map && node.kind != Node::Kind::null) {
    report_wrong_kind(node, *schema_node.key, key_mark);
    return;
  }
  if (is_empty(node) && schema_node.key->required) {
    report_.error(key_mark, fmt::format("{} is empty", here()), "at least one is needed");
  }
  const SchemaNode& each = *schema_node.child("*");
  for (Entry& entry : node.entries) {
    check_name(entry, schema_node);
    path_.push_back(entry.key);
    enter(each, entry.key, entry.key_mark);
    const bool has_keys =
        entry.value.kind == Node::Kind::map || entry.value.kind == Node::Kind::null;
    read_member(entry.value, has_keys, each, entry.key_mark);
    path_.pop_back();
  }
}

void SectionReader::read_list(Node& node, const SchemaNode& schema_node, Mark key_mark) {
  const Key& key = *schema_node.key;
  if (node.kind != Node::Kind::sequence && node.kind != Node::Kind::null) {
    report_wrong_kind(node, key, key_mark);
    return;
  }
  if (is_empty(node) && key.required) {
    report_.error(key_mark, fmt::format("{} is empty", here()), "at least one is needed");
  }
  const SchemaNode& each = *schema_node.child("[]");
  for (std::size_t i = 0; i < node.items.size(); ++i) {
    Node& item = node.items[i];
    path_.back() += fmt::format("[{}]", i);
    enter(each, {}, item.mark);
    read_member(item, item.kind == Node::Kind::map, each, item.mark);
    path_.back().resize(path_.back().rfind('['));
  }
}

void SectionReader::read_member(Node& node, bool has_keys, const SchemaNode& schema_node,
                                Mark key_mark) {
  if (node.is_faulty) return;
  if (has_keys) {
    read_keys(node, schema_node, key_mark);
  } else {
    report_wrong_kind(node, *schema_node.key, key_mark);
  }
}

void SectionReader::read_values(Node& node, const SchemaNode& schema_node, Mark key_mark) {
  const Key& key = *schema_node.key;
  if (node.kind == Node::Kind::null) {
    node.is_faulty = true;
    report_no_value(key, key_mark);
  } else if (key.many != Many::one && node.kind == Node::Kind::sequence) {
    if (node.items.empty() && key.required) {
      report_.error(key_mark, fmt::format("{} is empty", here()), "at least one is needed");
    }
    for (Node& item : node.items) {
      if (item.is_faulty) continue;
      if (item.kind != Node::Kind::scalar) item.is_faulty = true;
      if (item.kind == Node::Kind::null) {
        report_.error(item.mark, fmt::format("an item of {} has no value", here()));
      } else if (item.kind != Node::Kind::scalar) {
        report_.error(item.mark, fmt::format("an item of {} must be {}, not {}", here(),
                                             describe(key), kind_of(item)));
      } else {
        read_scalar(item, key);
      }
    }
  } else if (node.kind == Node::Kind::scalar && key.many != Many::list) {
    read_scalar(node, key);
  } else {
    report_wrong_kind(node, key, key_mark);
  }
}

void SectionReader::read_scalar(Node& node, const Key& key) {
  auto value = parse_value(key, {node.text, node.is_text, sources_.of(node.mark).directory()});
  if (!value) {
    node.is_faulty = true;
    report_.error(node.mark, value.error().message, value.error().hint);
    return;
  }
  if (key.set == nullptr) return;
  value->place = sources_.place(node.mark);
  key.set(target_, *value);
}

void SectionReader::read_unsupported(Node& node, const Key& key, Mark key_mark) {
  if (is_harmless(node, key)) return;
  node.is_faulty = true;
  const std::string hint = key.harmless.empty() ? std::string("leave it out")
                                                : fmt::format("leave it out, or write `{}: {}`",
                                                              key.last_name(), key.harmless);
  report_.error(key_mark, fmt::format("{} is not supported yet", in_backticks(key.last_name())),
                hint);
}

bool SectionReader::is_harmless(const Node& node, const Key& key) {
  if (key.harmless.empty()) return false;
  if (key.harmless == "[]") return node.kind == Node::Kind::sequence && node.items.empty();
  if (node.kind != Node::Kind::scalar) return false;
  const auto written = parse_value(key, {node.text, node.is_text, {}});
  const auto harmless = parse_value(key, {key.harmless, false, {}});
  return written && harmless && same_meaning(*written, *harmless);
}

void SectionReader::check_name(const Entry& entry, const SchemaNode& schema_node) {
  if (!is_valid_name(entry.key)) {
    report_.error(entry.key_mark, fmt::format("{} is not a valid name", in_backticks(entry.key)),
                  "a name has up to 63 of a-z, 0-9, `_` and `-`, the first a letter or a digit");
  } else if (schema_node.name == "tls" && (entry.key == "off" || entry.key == "passthrough")) {
    report_.error(entry.key_mark, fmt::format("a TLS setting cannot be called {}: for listeners "
                                              "this word has another meaning",
                                              in_backticks(entry.key)));
  }
}

void SectionReader::enter(const SchemaNode& schema_node, std::string_view name, Mark mark) {
  if (schema_node.key->set == nullptr) return;
  Value value;
  value.text = name;
  value.place = sources_.place(mark);
  schema_node.key->set(target_, value);
}

std::string SectionReader::report_unknown(const Entry& entry, const SchemaNode& schema_node) {
  if (report_.full()) {
    report_.error(entry.key_mark, {});
    return {};
  }
  const auto known = schema_node.child_names();
  const std::string meant = nearest(entry.key, known);
  const auto elsewhere = std::ranges::find(all_keys(), entry.key, &Key::last_name);
  std::string hint;
  if (!meant.empty()) {
    hint = fmt::format("did you mean {}?", in_backticks(meant));
  } else if (elsewhere == all_keys().end()) {
    hint = fmt::format("known here: {}", fmt::join(known, ", "));
  } else {
    const std::size_t dot = elsewhere->path.rfind('.');
    hint = dot == std::string_view::npos
               ? std::string("this key belongs at the top of the file")
               : fmt::format("this key belongs in `{}`", elsewhere->path.substr(0, dot));
  }
  report_.error(entry.key_mark,
                fmt::format("unknown key {} in {}", in_backticks(entry.key), here()), hint);
  return meant;
}

void SectionReader::report_misplaced(const Entry& entry) {
  report_.error(entry.key_mark,
                fmt::format("{} cannot stand in an included file", in_backticks(entry.key)),
                fmt::format("this key belongs in {}", in_backticks(sources_.at(0).file_name())));
}

void SectionReader::report_wrong_kind(Node& node, const Key& key, Mark key_mark) {
  node.is_faulty = true;
  if (node.kind == Node::Kind::null) {
    report_no_value(key, key_mark);
    return;
  }
  const bool is_list = key.type == Type::list || key.many == Many::list;
  std::string wanted = describe(key);
  if (key.many == Many::list) wanted = fmt::format("a list, each item {}", wanted);
  std::string hint;
  if (is_list && node.kind == Node::Kind::scalar && key.type != Type::list) {
    hint = fmt::format("write `{}: [{}]`", key.last_name(), node.text.substr(0, 60));
  } else if (is_list) {
    hint = "start each item with `- `";
  } else if (key.path.ends_with("[]") && node.kind == Node::Kind::scalar) {
    const auto first = std::ranges::find_if(all_keys(), [&](const Key& candidate) {
      return candidate.required && candidate.path.starts_with(key.path) && &candidate != &key;
    });
    if (first != all_keys().end()) {
      hint = fmt::format("write `- {}: {}`", first->last_name(), node.text.substr(0, 60));
    }
  }
  report_.error(node.mark, fmt::format("{} must be {}, not {}", here(), wanted, kind_of(node)),
                hint);
}

void SectionReader::report_no_value(const Key& key, Mark key_mark) {
  report_.error(key_mark, fmt::format("{} has no value", here()),
                key.standard.empty()
                    ? fmt::format("it must be {}", describe(key))
                    : fmt::format("leave the key out for the default, `{}`", key.standard));
}

std::string SectionReader::here() const {
  return path_.empty() ? "the file" : in_backticks(fmt::format("{}", fmt::join(path_, ".")));
}

}  // namespace weir::config
