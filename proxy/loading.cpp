#include "proxy/loading.hpp"

#include <algorithm>
#include <fstream>
#include <map>
#include <utility>

#include "config/reader.hpp"

namespace weir::proxy {

void add_source_lines(std::vector<config::Problem>& problems) {
  std::map<std::string, std::vector<std::string>> files;
  for (config::Problem& problem : problems) {
    const auto [lines, is_new] = files.try_emplace(problem.place.file);
    std::ifstream file(is_new ? problem.place.file : "");
    for (std::string line; std::getline(file, line);) lines->second.push_back(line);
    const auto number = static_cast<std::size_t>(problem.place.line);
    if (number > 0 && number <= lines->second.size()) {
      problem.source_line = lines->second[number - 1];
    }
  }
}

bool is_error(const config::Problem& problem) {
  return problem.severity == config::Problem::Severity::error;
}

Loaded load(const std::string& path, const TlsStore& before) {
  config::LoadResult read = config::load_file(path);
  Loaded loaded;
  loaded.problems = std::move(read.problems);
  loaded.configuration_files = contents_of(read);
  if (!read.config) return loaded;
  loaded.tls_files = contents_now(tls_files(*read.config));
  std::vector<config::Problem> problems;
  loaded.tls = TlsStore::make(*read.config, problems, before);
  add_source_lines(problems);
  loaded.problems.insert(loaded.problems.end(), problems.begin(), problems.end());
  if (std::ranges::none_of(problems, is_error)) {
    loaded.config = std::make_shared<config::Config>(std::move(*read.config));
  }
  return loaded;
}

}  // namespace weir::proxy
