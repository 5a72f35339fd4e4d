#pragma once
// Walks a document along the schema and fills a Config. Whatever does not fit is reported and
// skipped, so that one mistake hides no other; what is named in the file exists afterwards even
// when its contents are faulty, so that references to it hold. Used by reader.cpp alone.

#include <string>
#include <string_view>
#include <vector>

#include "config/document.hpp"
#include "config/schema.hpp"
#include "config/value.hpp"

namespace weir::config {

class SectionReader {
 public:
  SectionReader(const Sources& sources, Report& report, Config& config)
      : sources_(sources), report_(report), target_{config} {}

  void read_all(Node& root);
  // Checks the top level of a file that another one includes: which keys may stand there, and that
  // those whose contents read_all() will meet in the merged document are maps.
  void check_included(Node& root);

 private:
  void read(Node& node, const SchemaNode& schema_node, Mark key_mark);
  void read_section(Node& node, const SchemaNode& schema_node, Mark key_mark);
  void read_keys(Node& node, const SchemaNode& schema_node, Mark key_mark);
  void read_named(Node& node, const SchemaNode& schema_node, Mark key_mark);
  void read_list(Node& node, const SchemaNode& schema_node, Mark key_mark);
  void read_values(Node& node, const SchemaNode& schema_node, Mark key_mark);
  void read_member(Node& node, bool has_keys, const SchemaNode& schema_node, Mark key_mark);
  void read_scalar(Node& node, const Key& key);
  void read_unsupported(Node& node, const Key& key, Mark key_mark);
  bool is_harmless(const Node& node, const Key& key);
  void check_name(const Entry& entry, const SchemaNode& schema_node);
  void enter(const SchemaNode& schema_node, std::string_view name, Mark mark);
  // The key that was probably meant, or "".
  std::string report_unknown(const Entry& entry, const SchemaNode& schema_node);
  void report_misplaced(const Entry& entry);
  void report_wrong_kind(Node& node, const Key& key, Mark key_mark);
  void report_no_value(const Key& key, Mark key_mark);
  // "`upstreams.api`", or "the file" at the top.
  std::string here() const;

  const Sources& sources_;
  Report& report_;
  Target target_;
  std::vector<std::string> path_;  // where the walk is, for messages
};

}  // namespace weir::config
