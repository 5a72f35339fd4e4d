#pragma once
// What the tests of config/ share: reading a text, and looking at the problems of it.

#include <gmock/gmock.h>

#include <algorithm>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <ostream>
#include <regex>
#include <stdexcept>
#include <string>
#include <vector>

#include "config/reader.hpp"

namespace weir::config {

inline constexpr const char* file_name = "weir.yaml";

// The smallest configuration without a problem.
inline const std::string smallest = R"(version: 1
listeners:
  web:
    bind: "127.0.0.1:8443"
    upstream: api
upstreams:
  api:
    endpoints:
      - { address: "10.0.0.5:9000" }
)";

// How a failed expectation shows a problem.
inline void PrintTo(const Problem& problem, std::ostream* out) {
  *out << render({problem}, false);
}

inline LoadResult load(std::string text) {
  return load_text(std::move(text), file_name);
}

inline std::vector<Problem> problems_of(std::string text) {
  return load(std::move(text)).problems;
}

// The configuration of a text that must be free of errors and warnings.
inline Config config_of(std::string text) {
  LoadResult result = load(std::move(text));
  EXPECT_EQ(render(result.problems, false), "");
  EXPECT_TRUE(result.config.has_value());
  return result.config.value_or(Config{});
}

inline std::string replaced(std::string text, const std::string& what, const std::string& by) {
  const std::size_t at = text.find(what);
  EXPECT_NE(at, std::string::npos) << what;
  return at == std::string::npos ? text : text.replace(at, what.size(), by);
}

MATCHER_P4(IsProblem, severity, line, column, text, "") {
  *result_listener << arg.place.line << ":" << arg.place.column << " " << arg.message;
  return arg.severity == severity && arg.place.line == line && arg.place.column == column &&
         arg.message.find(text) != std::string::npos;
}

inline auto error_at(int line, int column, const std::string& text) {
  return IsProblem(Problem::Severity::error, line, column, text);
}

inline auto warning_at(int line, int column, const std::string& text) {
  return IsProblem(Problem::Severity::warning, line, column, text);
}

// The example configurations, with certificates that are there.
inline std::vector<std::string> example_texts() {
  std::vector<std::filesystem::path> paths;
  for (const auto& entry : std::filesystem::directory_iterator(WEIR_ROOT "/deploy/examples")) {
    if (entry.path().extension() == ".yaml") paths.push_back(entry.path());
  }
  std::ranges::sort(paths);
  std::vector<std::string> texts;
  for (const auto& path : paths) {
    std::ifstream file(path);
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    texts.push_back(std::regex_replace(text, std::regex("certs/[\\w.-]+"), "/dev/null"));
  }
  return texts;
}

// A file that exists while the test runs.
class TemporaryFile {
 public:
  explicit TemporaryFile(const std::string& name, const std::string& text = "")
      : path_(testing::TempDir() + "weir_config_" + name) {
    FILE* file = std::fopen(path_.c_str(), "w");
    if (file == nullptr) throw std::runtime_error("cannot write " + path_);
    std::fputs(text.c_str(), file);
    std::fclose(file);
  }
  ~TemporaryFile() { std::remove(path_.c_str()); }
  TemporaryFile(const TemporaryFile&) = delete;
  TemporaryFile& operator=(const TemporaryFile&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

}  // namespace weir::config
