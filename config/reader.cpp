#include "config/reader.hpp"

#include <fmt/format.h>

#include <utility>

#include "config/document.hpp"
#include "config/effective.hpp"
#include "config/file.hpp"
#include "config/include.hpp"
#include "config/section_reader.hpp"
#include "config/source.hpp"
#include "config/validate.hpp"

namespace weir::config {
namespace {

// Everything that a configuration becomes on its way.
struct Reading {
  Sources sources;
  std::vector<Node> documents;  // the first holds everything; empty when there is no sense in it
  LoadResult result;

  void read(std::string text, const std::string& file_name, bool is_checked = false);
};

void Reading::read(std::string text, const std::string& file_name, bool is_checked) {
  Report report(sources);
  Includer includer(sources, report);
  documents = includer.read_all(std::move(text), file_name);
  if (!documents.empty()) {
    Config config;
    SectionReader sections(sources, report, config);
    for (std::size_t i = 1; i < documents.size(); ++i) sections.check_included(documents[i]);
    merge_documents(documents, includer.is_complete(), sources, report);
    sections.read_all(documents.front());
    // Where a file is missing, what refers to it is no mistake.
    if (includer.is_complete() && !is_checked) validate(config, documents.front(), report);
    if (!report.has_error()) {
      config.wording.yaml = write_effective(documents.front(), sources, false);
      result.config = std::move(config);
    }
  }
  result.problems = report.take();
  result.files = includer.take_files();
  result.patterns = includer.take_patterns();
}

Problem cannot_read(const std::string& path, const std::string& why) {
  Problem problem;
  problem.place.file = path;
  problem.message = fmt::format("cannot read the configuration: {}", why);
  return problem;
}

}  // namespace

LoadResult load_file(const std::string& path) {
  auto text = read_file(path, largest_file);
  if (text) return load_text(std::move(*text), path);
  return {std::nullopt, {cannot_read(path, text.error())}, {{absolute_path(path), nullptr}}, {}};
}

LoadResult load_text(std::string text, const std::string& file_name) {
  Reading reading;
  reading.read(std::move(text), file_name);
  return std::move(reading.result);
}

LoadResult load_checked(std::string text, const std::string& file_name) {
  Reading reading;
  reading.read(std::move(text), file_name, true);
  return std::move(reading.result);
}

ShowResult show_file(const std::string& path, bool with_defaults) {
  auto text = read_file(path, largest_file);
  if (text) return show_text(std::move(*text), path, with_defaults);
  return {std::nullopt, {cannot_read(path, text.error())}};
}

ShowResult show_text(std::string text, const std::string& file_name, bool with_defaults) {
  Reading reading;
  reading.read(std::move(text), file_name);
  ShowResult shown;
  shown.problems = std::move(reading.result.problems);
  if (reading.result.config) {
    shown.text = with_defaults ? write_effective(reading.documents.front(), reading.sources, true)
                               : std::move(reading.result.config->wording.yaml);
  }
  return shown;
}

}  // namespace weir::config
