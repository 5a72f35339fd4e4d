#include "proxy/problem_list.hpp"

#include <gtest/gtest.h>

namespace weir::proxy {
namespace {

TEST(ProblemList, IsOneObject) {
  EXPECT_EQ(problems_as_json(true, {}), "{\"good\":true,\"problems\":[]}\n");
  const config::Problem error{config::Problem::Severity::error,
                              {"a/weir.yaml", 3, 5},
                              "unknown key `x`",
                              "did you mean \"y\"?",
                              "    x: 1",
                              1};
  config::Problem warning;
  warning.severity = config::Problem::Severity::warning;
  warning.place.file = "a";
  EXPECT_EQ(problems_as_json(false, {error, warning}),
            R"({"good":false,"problems":[)"
            R"({"severity":"error","file":"a/weir.yaml","line":3,"column":5,)"
            R"("message":"unknown key `x`","hint":"did you mean \"y\"?","source_line":"    x: 1"},)"
            R"({"severity":"warning","file":"a","line":0,"column":0,)"
            R"("message":"","hint":"","source_line":""}]})"
            "\n");
}

TEST(ProblemList, IsAlwaysValidUtf8) {
  config::Problem problem;
  problem.message = "a\xFF\xC3\xA9\x01";
  EXPECT_NE(problems_as_json(false, {problem}).find("\"a\xEF\xBF\xBD\xC3\xA9\\u0001\""),
            std::string::npos);
}

}  // namespace
}  // namespace weir::proxy
