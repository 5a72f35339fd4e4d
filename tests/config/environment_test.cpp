#include "config/environment.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/config/load.hpp"

namespace weir::config {
namespace {

class Environment : public testing::Test {
 protected:
  void SetUp() override {
    ::setenv("WEIR_TEST_PORT", "8443", 1);
    ::setenv("WEIR_TEST_EMPTY", "", 1);
    ::setenv("WEIR_TEST_NESTED", "${WEIR_TEST_PORT}", 1);
    ::unsetenv("WEIR_TEST_UNSET");
  }
};

TEST_F(Environment, ReplacesReferences) {
  EXPECT_EQ(substitute("127.0.0.1:${WEIR_TEST_PORT}"), "127.0.0.1:8443");
  EXPECT_EQ(substitute("${WEIR_TEST_PORT}${WEIR_TEST_PORT}"), "84438443");
  EXPECT_EQ(substitute("${WEIR_TEST_UNSET:-7}"), "7");
  EXPECT_EQ(substitute("${WEIR_TEST_UNSET:-}"), "");
  EXPECT_EQ(substitute("${WEIR_TEST_EMPTY:-7}"), "7");
  EXPECT_EQ(substitute("${WEIR_TEST_EMPTY}"), "");
}

TEST_F(Environment, LeavesOtherTextAlone) {
  EXPECT_EQ(substitute("$${WEIR_TEST_PORT}"), "${WEIR_TEST_PORT}");
  EXPECT_EQ(substitute("$5 $HOME $ {x} }"), "$5 $HOME $ {x} }");
  EXPECT_EQ(substitute("${WEIR_TEST_NESTED}"), "${WEIR_TEST_PORT}");
}

TEST_F(Environment, RefusesWhatItCannotReplace) {
  for (const char* text : {"${WEIR_TEST_UNSET}", "${}", "${9}", "${A B}", "${A", "${:-x}"}) {
    EXPECT_FALSE(substitute(text)) << text;
  }
}

TEST_F(Environment, NamesTheUnsetVariableAtItsPlace) {
  const auto problems = problems_of(replaced(smallest, "\"127.0.0.1:8443\"", "${WEIR_TEST_UNSET}"));
  EXPECT_THAT(problems, testing::ElementsAre(error_at(4, 11, "`WEIR_TEST_UNSET` is not set")));
}

TEST_F(Environment, MakesNumbersOfQuotedReferences) {
  const Config config = config_of(
      "workers: \"${WEIR_TEST_UNSET:-3}\"\nadmin: \"${WEIR_TEST_UNSET:-off}\"\n" + smallest);
  EXPECT_EQ(config.workers, 3U);
  EXPECT_FALSE(config.admin.bind);
}

TEST_F(Environment, LeavesKeysAlone) {
  const auto problems = problems_of("${WEIR_TEST_PORT}: 1\n" + smallest);
  EXPECT_THAT(problems, testing::ElementsAre(error_at(1, 1, "`${WEIR_TEST_PORT}`")));
}

}  // namespace
}  // namespace weir::config
