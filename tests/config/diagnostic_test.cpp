#include "config/diagnostic.hpp"

#include <gtest/gtest.h>

#include "tests/config/load.hpp"

namespace weir::config {
namespace {

Problem problem_at(int column, std::string source_line) {
  return {Problem::Severity::error, {"weir.yaml", 3, column},
          "what is wrong",          "a hint",
          std::move(source_line),   1};
}

TEST(Diagnostic, ShowsPlaceLineCaretAndHint) {
  EXPECT_EQ(render({problem_at(5, "web: x")}, false),
            "weir.yaml:3:5: error: what is wrong\n"
            "  web: x\n"
            "      ^\n"
            "  help: a hint\n");
}

TEST(Diagnostic, KeepsTheCaretUnderATab) {
  EXPECT_EQ(render({problem_at(4, "\tx\ty: 1")}, false),
            "weir.yaml:3:4: error: what is wrong\n"
            "  \tx\ty: 1\n"
            "  \t \t^\n"
            "  help: a hint\n");
}

TEST(Diagnostic, CountsCharactersNotBytes) {
  const auto problems = problems_of("version: 1\n\"\xC3\xA9\xC3\xA9\": {a: 1, a: 2}\n");
  EXPECT_THAT(problems, testing::Contains(error_at(2, 14, "`a` is already written")));
}

TEST(Diagnostic, ShowsNoExcerptWithoutALine) {
  Problem problem = problem_at(0, "");
  problem.place.line = 0;
  problem.hint.clear();
  problem.severity = Problem::Severity::warning;
  EXPECT_EQ(render({problem}, false), "weir.yaml: warning: what is wrong\n");
}

TEST(Diagnostic, ColoursOnlyWhenAsked) {
  EXPECT_EQ(render({problem_at(1, "x")}, false).find('\033'), std::string::npos);
  EXPECT_NE(render({problem_at(1, "x")}, true).find("\033[1;31merror:\033[0m"), std::string::npos);
}

TEST(Diagnostic, LetsNoFileDriveTheTerminal) {
  Problem problem = problem_at(1, "\033[2J\xC2\x9B\xFF");
  problem.message = "\033]0;title\007";
  const std::string shown = render({problem}, false);
  EXPECT_EQ(shown.find('\033'), std::string::npos);
  EXPECT_NE(shown.find("?[2J??"), std::string::npos);
}

TEST(Diagnostic, CutsLongLinesAroundTheProblem) {
  const std::string text = "version: 1\nx: [" + std::string(100'000, 'a') + ", {b: 1, b: 2}]\n";
  const auto problems = problems_of(text);
  const auto found = std::ranges::find(problems, 100'014,
                                       [](const Problem& problem) { return problem.place.column; });
  ASSERT_NE(found, problems.end()) << render(problems, false);
  EXPECT_LE(found->source_line.size(), 160U);
  const auto inside = static_cast<std::size_t>(found->place.column - found->source_line_start);
  EXPECT_EQ(found->source_line.substr(inside), "b: 2}]");
}

TEST(Diagnostic, SuggestsTheNearestName) {
  const std::vector<std::string_view> keys{"endpoints", "balance", "pool", "tls", "max_idle"};
  EXPECT_EQ(nearest("endpoint", keys), "endpoints");
  EXPECT_EQ(nearest("enpoints", keys), "endpoints");
  EXPECT_EQ(nearest("Max-Idle", keys), "max_idle");
  EXPECT_EQ(nearest("pol", keys), "pool");
  EXPECT_EQ(nearest("tsl", keys), "tls");
  EXPECT_EQ(nearest("polo", keys), "pool");
  EXPECT_EQ(nearest("log", keys), "");
  EXPECT_EQ(nearest("something", keys), "");
  EXPECT_EQ(nearest("", keys), "");
  EXPECT_EQ(nearest(std::string(1'000'000, 'x'), keys), "");
  EXPECT_EQ(did_you_mean("endpoint", keys), "did you mean `endpoints`?");
  EXPECT_EQ(did_you_mean("nothing", keys), "");
}

TEST(Report, SortsKeepsAFewHundredAndCountsTheRest) {
  Sources sources;
  sources.add("a\nb\n", "weir.yaml");
  Report report(sources);
  report.error(Mark{2, 1}, "second");
  report.warning(Place{"weir.yaml", 1, 1}, "first");
  for (int i = 0; i < 1000; ++i) report.error(Mark{3, i + 1}, "more");
  EXPECT_TRUE(report.has_error());
  const auto problems = report.take();
  ASSERT_EQ(problems.size(), Report::most_kept + 1);
  EXPECT_EQ(problems[0].message, "first");
  EXPECT_EQ(problems[0].source_line, "a");
  EXPECT_EQ(problems[1].message, "second");
  EXPECT_EQ(problems.back().message, "502 more problems are not shown");
}

}  // namespace
}  // namespace weir::config
