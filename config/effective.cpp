#include "config/effective.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <iterator>

#include "config/diagnostic.hpp"
#include "config/file.hpp"
#include "config/schema.hpp"
#include "config/value.hpp"

namespace weir::config {
namespace {

constexpr std::size_t longest_flow = 80;

constexpr std::string_view letters =
    "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_/.";

// Cannot be taken for anything but what it is by any reader of YAML.
bool is_plain(std::string_view text) {
  if (text.empty() || !letters.contains(text.front()) || text.front() == '.') return false;
  const auto is_allowed = [](char c) { return letters.contains(c) || c == '-' || c == '+'; };
  const bool looks_octal = text.size() > 1 && text.front() == '0' && text[1] != '.' &&
                           text.find_first_not_of("0123456789o") == std::string_view::npos;
  const std::string_view nothing[] = {"null", "Null", "NULL"};
  return std::ranges::all_of(text, is_allowed) && !looks_octal &&
         std::ranges::find(nothing, text) == std::end(nothing);
}

std::string in_quotes(std::string_view text) {
  std::string quoted = "\"";
  for (std::size_t i = 0; i < text.size(); ++i) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0U;
    if (byte == '"' || byte == '\\') {
      quoted += '\\';
      quoted += text[i];
    } else if (byte == '\n') {
      quoted += "\\n";
    } else if (byte == '\r') {
      quoted += "\\r";
    } else if (byte == '\t') {
      quoted += "\\t";
    } else if (byte < 0x20U || byte == 0x7FU) {
      quoted += fmt::format("\\x{:02x}", byte);
    } else if (byte == 0xC2U && next < 0xA0U) {  // C1: line breaks and what terminals obey
      quoted += fmt::format("\\x{:02x}", next);
      ++i;
    } else if (text.substr(i).starts_with("${")) {
      quoted += "$$";
    } else {
      quoted += text[i];
    }
  }
  return quoted + '"';
}

// Quotes tell text from a number or a word.
std::string as_yaml(std::string_view text, bool is_text) {
  return is_text || !is_plain(text) ? in_quotes(text) : std::string(text);
}

std::string standard_of(const Key& key) {
  const bool is_yaml = key.standard.starts_with('[') || key.standard.starts_with('"');
  return is_yaml ? std::string(key.standard) : as_yaml(key.standard, false);
}

class Writer {
 public:
  Writer(const Sources& sources, bool with_defaults)
      : sources_(sources), with_defaults_(with_defaults) {}

  // The keys of a section, of which `written` may lack any or be null. False when none has a value.
  bool write_keys(const Node* written, const SchemaNode& schema_node, std::size_t indent);
  std::string take() { return std::move(out_); }

 private:
  bool write_key(const Node* written, const SchemaNode& schema_node, std::size_t indent);
  void write_section(const Node* written, const SchemaNode& schema_node, std::size_t indent);
  void write_named(const Node& written, const SchemaNode& schema_node, std::size_t indent);
  void write_list(const Node& written, const SchemaNode& schema_node, std::size_t indent);
  void write_values(const Node& written, const Key& key, std::size_t indent);
  void write_line(std::size_t indent, std::string_view text, std::string_view origin);
  std::string text_of(const Node& scalar, const Key& key) const;
  std::string origin_of(const Node& node) const;

  const Sources& sources_;
  bool with_defaults_;
  std::string out_;
};

bool Writer::write_keys(const Node* written, const SchemaNode& schema_node, std::size_t indent) {
  bool has_value = false;
  std::vector<std::string_view> not_set;
  for (const SchemaNode& child : schema_node.children) {
    // What is included is here already.
    if (child.key->path == "include") continue;
    const Entry* entry = written == nullptr ? nullptr : written->find(child.name);
    const bool is_absent = entry == nullptr || entry->value.kind == Node::Kind::null;
    if (write_key(is_absent ? nullptr : &entry->value, child, indent)) {
      has_value = true;
    } else if (with_defaults_ && child.key->supported) {
      not_set.push_back(child.name);
    }
  }
  // Behind the others: a comment cannot be the first line of a list's item.
  for (const std::string_view name : not_set) {
    out_ += fmt::format("{:{}}# {}: not set\n", "", indent, name);
  }
  return has_value;
}

bool Writer::write_key(const Node* written, const SchemaNode& schema_node, std::size_t indent) {
  const Key& key = *schema_node.key;
  // A section that is chosen by its presence is absent unless it is written.
  const bool has_default =
      key.type == Type::section ? key.set == nullptr : !key.standard.empty() || !key.required;
  if (written == nullptr && (!with_defaults_ || !key.supported || !has_default)) return false;
  if (key.type == Type::section) {
    write_section(written, schema_node, indent);
  } else if (written == nullptr) {
    if (key.type != Type::named && key.standard.empty()) return false;
    const std::string value = key.type == Type::named ? "{}" : standard_of(key);
    write_line(indent, fmt::format("{}: {}", schema_node.name, value), "default");
  } else if (key.type == Type::named) {
    write_named(*written, schema_node, indent);
  } else if (key.type == Type::list) {
    write_list(*written, schema_node, indent);
  } else {
    write_values(*written, key, indent);
  }
  return true;
}

void Writer::write_section(const Node* written, const SchemaNode& schema_node, std::size_t indent) {
  Node expanded;  // `off` for the section is `off` for one of its keys
  if (written != nullptr && written->kind == Node::Kind::scalar) {
    expanded.kind = Node::Kind::map;
    expanded.entries.push_back({std::string(schema_node.key->off_is), written->mark, *written});
    written = &expanded;
  }
  const std::size_t start = out_.size();
  out_ += fmt::format("{:{}}{}:\n", "", indent, schema_node.name);
  const std::size_t body = out_.size();
  if (!write_keys(written, schema_node, indent + 2)) {
    out_.replace(start, body - start, fmt::format("{:{}}{}: {{}}\n", "", indent, schema_node.name));
  }
}

void Writer::write_named(const Node& written, const SchemaNode& schema_node, std::size_t indent) {
  const bool is_empty = written.entries.empty();
  out_ += fmt::format("{:{}}{}:{}\n", "", indent, schema_node.name, is_empty ? " {}" : "");
  for (const Entry& entry : written.entries) {
    out_ += fmt::format("{:{}}{}:\n", "", indent + 2, as_yaml(entry.key, false));
    write_keys(&entry.value, *schema_node.child("*"), indent + 4);
  }
}

void Writer::write_list(const Node& written, const SchemaNode& schema_node, std::size_t indent) {
  const bool is_empty = written.items.empty();
  out_ += fmt::format("{:{}}{}:{}\n", "", indent, schema_node.name, is_empty ? " []" : "");
  for (const Node& item : written.items) {
    const std::size_t start = out_.size();
    write_keys(&item, *schema_node.child("[]"), indent + 4);
    out_[start + indent + 2] = '-';
  }
}

void Writer::write_values(const Node& written, const Key& key, std::size_t indent) {
  const std::string name(key.last_name());
  if (written.kind != Node::Kind::sequence) {
    write_line(indent, fmt::format("{}: {}", name, text_of(written, key)), origin_of(written));
    return;
  }
  std::string flow;
  for (const Node& item : written.items) {
    flow += fmt::format("{}{}", flow.empty() ? "" : ", ", text_of(item, key));
    if (flow.size() > longest_flow) break;
  }
  if (flow.size() <= longest_flow) {
    write_line(indent, fmt::format("{}: [{}]", name, flow), origin_of(written));
    return;
  }
  write_line(indent, name + ":", {});
  for (const Node& item : written.items) {
    write_line(indent + 2, "- " + text_of(item, key), origin_of(item));
  }
}

void Writer::write_line(std::size_t indent, std::string_view text, std::string_view origin) {
  out_ += fmt::format("{:{}}{}", "", indent, text);
  if (with_defaults_ && !origin.empty()) out_ += fmt::format("  # {}", origin);
  out_ += '\n';
}

std::string Writer::text_of(const Node& scalar, const Key& key) const {
  if (key.type == Type::path) {
    const auto value =
        parse_value(key, {scalar.text, scalar.is_text, sources_.of(scalar.mark).directory()});
    if (value && value->word < 0) return as_yaml(absolute_path(value->text), true);
  }
  return as_yaml(scalar.text, scalar.is_text);
}

std::string Writer::origin_of(const Node& node) const {
  const Source& source = sources_.of(node.mark);
  return fmt::format("{}:{}", without_controls(source.file_name()), node.mark.line);
}

}  // namespace

std::string write_effective(const Node& root, const Sources& sources, bool with_defaults) {
  Writer writer(sources, with_defaults);
  writer.write_keys(&root, schema(), 0);
  return writer.take();
}

}  // namespace weir::config
