#include "config/include.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "config/environment.hpp"
#include "config/glob.hpp"

namespace weir::config {
namespace {

constexpr std::string_view merged_sections[] = {"tls", "listeners", "upstreams"};

std::string at(const Place& place) {
  return fmt::format("{}:{}:{}", place.file, place.line, place.column);
}

Entry& section_of(Node& root, std::string_view name, const Entry& included) {
  const auto found = std::ranges::find(root.entries, name, &Entry::key);
  if (found != root.entries.end()) return *found;
  root.entries.push_back({std::string(name), included.key_mark, {}});
  root.entries.back().value.mark = included.value.mark;
  return root.entries.back();
}

// The section of one document after the other, each name once.
class Section {
 public:
  Section(std::string_view name, const Sources& sources, Report& report)
      : name_(name), sources_(sources), report_(report) {}

  void merge(Node& root, Entry& included) {
    Node& target = section_of(root, name_, included).value;
    if (target.is_faulty) return;
    if (target.kind == Node::Kind::null) target.kind = Node::Kind::map;
    if (target.kind != Node::Kind::map) return;
    if (places_.empty()) {
      for (const Entry& entry : target.entries) places_.emplace(entry.key, entry.key_mark);
    }
    for (Entry& entry : included.value.entries) {
      const auto [earlier, is_first] = places_.emplace(entry.key, entry.key_mark);
      if (is_first) {
        target.entries.push_back(std::move(entry));
      } else if (report_.full()) {
        report_.error(entry.key_mark, {});
      } else {
        report_.error(entry.key_mark,
                      fmt::format("{} is already defined in `{}` at {}", in_backticks(entry.key),
                                  name_, at(sources_.place(earlier->second))));
      }
    }
  }

 private:
  std::string_view name_;
  const Sources& sources_;
  Report& report_;
  std::map<std::string, Mark> places_;
};

}  // namespace

std::vector<Node> Includer::read_all(std::string text, const std::string& file_name) {
  const FileIdentity identity = identify_file(file_name).value_or(FileIdentity{});
  open_.push_back({identity, file_name});
  files_.push_back({absolute_path(file_name), nullptr});
  read(std::move(text), file_name, identity);
  open_.pop_back();
  return std::move(documents_);
}

void Includer::read(std::string text, const std::string& file_name, const FileIdentity& identity) {
  files_.back().text = std::make_shared<const std::string>(text);
  if (identity != FileIdentity{}) texts_.emplace(identity, files_.back().text);
  const Source& source = sources_.add(std::move(text), file_name);
  auto root = read_document(source, report_);
  if (!root) {
    is_complete_ = false;
    return;
  }
  if (root->mark.line == 0) root->mark = source.mark(0, 0);
  substitute_all(*root, report_);
  const std::size_t number = documents_.size();
  documents_.push_back(std::move(*root));
  const Entry* written = documents_[number].find("include");
  if (written == nullptr) return;
  // Reading other files moves the documents.
  const std::vector<Node> items = written->value.items;
  for (const Node& item : items) follow(item);
}

void Includer::follow(const Node& item) {
  // What is no path is reported by the section reader.
  if (item.is_faulty || item.kind != Node::Kind::scalar || item.text.empty()) return;
  const std::string_view directory = sources_.of(item.mark).directory();
  if (!is_pattern(item.text)) {
    const bool is_absolute = item.text.starts_with('/');
    include(is_absolute ? item.text : std::string(directory) + item.text, item.mark);
    return;
  }
  if (is_too_much(item.mark)) return;
  patterns_.push_back({absolute_path(directory.empty() ? "." : std::string(directory)), item.text,
                       find_matches(directory, item.text)});
  if (!patterns_.back().directory.ends_with('/')) patterns_.back().directory += '/';
  const Matches matches = patterns_.back().found;
  if (!matches.fault.empty()) {
    fail(item.mark, fmt::format("{}: {}", in_backticks(item.text), matches.fault));
  } else if (matches.files.empty()) {
    report_.warning(item.mark, fmt::format("no file matches {}", in_backticks(item.text)));
  }
  for (const std::string& path : matches.files) include(path, item.mark);
}

void Includer::include(const std::string& path, Mark mark) {
  if (is_too_much(mark)) return;
  files_.push_back({absolute_path(path), nullptr});
  const FileIdentity identity = identify_file(path).value_or(FileIdentity{});
  if (const auto read = texts_.find(identity); read != texts_.end()) {
    files_.back().text = read->second;
  }
  const auto cycle = std::ranges::find(open_, identity, &Open::identity);
  if (identity != FileIdentity{} && cycle != open_.end()) {
    std::string chain;
    for (auto each = cycle; each != open_.end(); ++each) chain += each->path + " -> ";
    fail(mark, fmt::format("the file includes itself: {}{}", chain, path));
    return;
  }
  if (const auto earlier = included_.find(identity); earlier != included_.end()) {
    report_.error(
        mark, fmt::format("{} is already included at {}", in_backticks(path), at(earlier->second)));
    return;
  }
  auto text = read_regular_file(path, largest_file);
  if (!text) {
    fail(mark, fmt::format("cannot read {}: {}", in_backticks(path), text.error()));
    return;
  }
  included_.emplace(identity, sources_.place(mark));
  included_bytes_ += text->size();
  open_.push_back({identity, path});
  read(std::move(*text), path, identity);
  open_.pop_back();
}

bool Includer::is_too_much(Mark mark) {
  if (tried_ > most_files) return true;
  if (++tried_ <= most_files && included_bytes_ <= most_included) return false;
  tried_ = most_files + 1;
  fail(mark, fmt::format("more than {} files are included, or more than {} MiB", most_files,
                         most_included >> 20U));
  return true;
}

void Includer::fail(Mark mark, std::string message, std::string hint) {
  is_complete_ = false;
  report_.error(mark, std::move(message), std::move(hint));
}

void merge_documents(std::vector<Node>& documents, bool is_complete, const Sources& sources,
                     Report& report) {
  Node& root = documents.front();
  if (root.kind != Node::Kind::map) return;
  for (const std::string_view name : merged_sections) {
    Section section(name, sources, report);
    for (std::size_t i = 1; i < documents.size(); ++i) {
      const auto included = std::ranges::find(documents[i].entries, name, &Entry::key);
      if (included != documents[i].entries.end() && !included->value.is_faulty) {
        section.merge(root, *included);
      }
    }
    if (is_complete || root.find(name) != nullptr) continue;
    root.entries.push_back({std::string(name), root.mark, {}});
    root.entries.back().value.is_faulty = true;
  }
}

}  // namespace weir::config
