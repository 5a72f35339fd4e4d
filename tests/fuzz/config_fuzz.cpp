// Whatever text comes in, the reader comes back within its time, and its answer holds together: a
// configuration or an error, never both, and every problem at a place that the text has.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>

#include "config/diagnostic.hpp"
#include "config/reader.hpp"

namespace {

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "not so: %s\n", what);
  std::abort();
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  using weir::config::Problem;
  const std::string text(reinterpret_cast<const char*>(data), size);
  // Which files there are on a machine is nothing that a run could repeat.
  if (text.find("include") != std::string::npos) return -1;
  const auto result = weir::config::load_text(text, "weir.yaml");
  const bool has_error = std::ranges::any_of(result.problems, [](const Problem& problem) {
    return problem.severity == Problem::Severity::error;
  });
  require(result.config.has_value() != has_error, "a configuration or an error");
  const auto lines = std::ranges::count(text, '\n') + 1;
  for (const Problem& problem : result.problems) {
    require(!problem.message.empty(), "a problem has a message");
    require(problem.place.file == "weir.yaml", "a problem is in the file");
    require(problem.place.line >= 0 && problem.place.line <= lines, "a problem has a line");
    require(problem.place.column >= 0, "a problem has a column");
  }
  const std::string shown = weir::config::render(result.problems, true);
  require(shown.empty() == result.problems.empty(), "problems are shown");
  return 0;
}
