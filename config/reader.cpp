#include "config/reader.hpp"

#include <fmt/format.h>

#include <utility>

#include "config/document.hpp"
#include "config/file.hpp"
#include "config/include.hpp"
#include "config/section_reader.hpp"
#include "config/source.hpp"
#include "config/validate.hpp"

namespace weir::config {

LoadResult load_file(const std::string& path) {
  auto text = read_file(path, largest_file);
  if (text) return load_text(std::move(*text), path);
  Problem problem;
  problem.place.file = path;
  problem.message = fmt::format("cannot read the configuration: {}", text.error());
  return {std::nullopt, {std::move(problem)}, {absolute_path(path)}};
}

LoadResult load_text(std::string text, const std::string& file_name) {
  Sources sources;
  Report report(sources);
  Includer includer(sources, report);
  LoadResult result;
  std::vector<Node> documents = includer.read_all(std::move(text), file_name);
  if (!documents.empty()) {
    Config config;
    SectionReader sections(sources, report, config);
    for (std::size_t i = 1; i < documents.size(); ++i) sections.check_included(documents[i]);
    merge_documents(documents, includer.is_complete(), sources, report);
    sections.read_all(documents.front());
    // Where a file is missing, what refers to it is no mistake.
    if (includer.is_complete()) validate(config, documents.front(), report);
    if (!report.has_error()) result.config = std::move(config);
  }
  result.problems = report.take();
  result.files = includer.take_files();
  return result;
}

}  // namespace weir::config
