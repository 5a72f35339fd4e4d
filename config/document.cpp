#include "config/document.hpp"

#include <fmt/format.h>
#include <yaml-cpp/eventhandler.h>
#include <yaml-cpp/exceptions.h>
#include <yaml-cpp/mark.h>
#include <yaml-cpp/parser.h>

#include <algorithm>
#include <sstream>

#include "config/document_builder.hpp"
#include "config/indentation.hpp"
#include "config/text_check.hpp"

namespace weir::config {
namespace {

struct PlainWords {
  std::string_view parser_says;
  std::string_view message;
  std::string_view hint;
};

constexpr PlainWords plain_words[] = {
    {"illegal map value", "this `:` is not expected here",
     "is the line indented as its neighbours are? text with `: ` in it needs quotes"},
    {"illegal map key", "a key is not expected here",
     "is the line indented as its neighbours are?"},
    {"illegal block entry", "this `-` is not expected here",
     "is the line indented as its neighbours are?"},
    {"end of map not found", "the indentation of this line fits no key above it",
     "keys of one map start in the same column"},
    {"end of sequence not found", "the indentation of this line fits no list above it",
     "the `-` of one list start in the same column"},
    {"end of map flow not found", "a `{` is not closed here: `,` or `}` is expected",
     "text with `{`, `}`, `[`, `]` or `,` in it needs quotes"},
    {"end of sequence flow not found", "a `[` is not closed here: `,` or `]` is expected",
     "text with `{`, `}`, `[`, `]` or `,` in it needs quotes"},
    {"illegal flow end", "this bracket closes nothing",
     "text with `{`, `}`, `[` or `]` in it needs quotes"},
    {"unknown token", "a value cannot start with this character", "write the value in quotes"},
    {"the referenced anchor is not defined", "this alias refers to no anchor above it",
     "text that starts with `*` needs quotes: \"*.example.com\""},
    {"alias not found after *", "`*` starts an alias, and no name follows it",
     "text that starts with `*` needs quotes: \"*.example.com\""},
    {"illegal character found while scanning alias", "`*` starts an alias, and this is no name",
     "text that starts with `*` needs quotes: \"*.example.com\""},
    {"anchor not found after &", "`&` starts an anchor, and no name follows it",
     "text that starts with `&` needs quotes"},
    {"illegal EOF in scalar", "the file ends inside a quoted text", "close the quote"},
    {"illegal document indicator in scalar", "a document ends inside a quoted text",
     "close the quote"},
    {"bad file", "values are nested too deeply", ""},
};

// Hands what the parser finds on to the builder.
class Events : public YAML::EventHandler {
 public:
  Events(const Source& source, DocumentBuilder& builder) : source_(source), builder_(builder) {}

  void OnDocumentStart(const YAML::Mark& mark) override {
    builder_.start_document(from_parser(mark));
  }
  void OnDocumentEnd() override {}
  void OnNull(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    builder_.add_null(from_parser(mark), anchor);
  }
  void OnAlias(const YAML::Mark& mark, YAML::anchor_t anchor) override {
    builder_.add_alias(from_parser(mark), anchor);
  }
  void OnScalar(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                const std::string& value) override {
    builder_.add_scalar(from_parser(mark), tag, anchor, value);
  }
  void OnSequenceStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                       YAML::EmitterStyle::value) override {
    builder_.open(Node::Kind::sequence, from_parser(mark), tag, anchor);
  }
  void OnSequenceEnd() override { builder_.close(); }
  void OnMapStart(const YAML::Mark& mark, const std::string& tag, YAML::anchor_t anchor,
                  YAML::EmitterStyle::value) override {
    builder_.open(Node::Kind::map, from_parser(mark), tag, anchor);
  }
  void OnMapEnd() override { builder_.close(); }

 private:
  Mark from_parser(const YAML::Mark& mark) const {
    return source_.mark(mark.line + 1, mark.column + 1);
  }

  const Source& source_;
  DocumentBuilder& builder_;
};

void report_syntax(const YAML::Exception& exception, const Source& source, Report& report) {
  const bool has_place = !exception.mark.is_null();
  const Mark mark = source.mark(has_place ? exception.mark.line + 1 : 0,
                                has_place ? exception.mark.column + 1 : 0);
  if (const auto tab = tab_before(source, mark)) {
    report.error(*tab, "a tab is used as indentation", "indent with spaces");
    return;
  }
  const bool is_end_of_block = exception.msg.starts_with("end of map not found") ||
                               exception.msg.starts_with("end of sequence not found");
  if (is_end_of_block && report_indentation(source, mark, report)) return;
  for (const PlainWords& words : plain_words) {
    if (exception.msg.starts_with(words.parser_says)) {
      report.error(mark, std::string(words.message), std::string(words.hint));
      return;
    }
  }
  report.error(mark, fmt::format("this is not valid YAML: {}", exception.msg));
}

}  // namespace

const Entry* Node::find(std::string_view key) const {
  const auto found = std::ranges::find(entries, key, &Entry::key);
  return found == entries.end() ? nullptr : &*found;
}

const Entry* Node::find(std::initializer_list<std::string_view> path) const {
  const Node* node = this;
  const Entry* entry = nullptr;
  for (const std::string_view key : path) {
    entry = node->find(key);
    if (entry == nullptr) return nullptr;
    node = &entry->value;
  }
  return entry;
}

bool has_fault(const Node& node) {
  return node.is_faulty || std::ranges::any_of(node.items, has_fault) ||
         std::ranges::any_of(node.entries,
                             [](const Entry& entry) { return has_fault(entry.value); });
}

std::optional<Node> read_document(const Source& source, Report& report) {
  if (!check_text(source, largest_file, report)) return std::nullopt;
  DocumentBuilder builder(source, report);
  Events events(source, builder);
  try {
    std::istringstream stream(source.text());
    YAML::Parser parser(stream);
    // The second call is for the second document, which the builder refuses.
    if (parser.HandleNextDocument(events)) parser.HandleNextDocument(events);
  } catch (const DocumentBuilder::Stop&) {
    return std::nullopt;
  } catch (const YAML::Exception& exception) {
    report_syntax(exception, source, report);
    return std::nullopt;
  }
  return builder.take_root();
}

}  // namespace weir::config
