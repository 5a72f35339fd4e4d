#include "config/escapes.hpp"

#include <gtest/gtest.h>

namespace weir::config {
namespace {

TEST(Escapes, StandForTheirBytes) {
  EXPECT_EQ(parse_escapes("PING\\r\\n\\t\\\\\\x00\\xfF."), std::string("PING\r\n\t\\\0\xff.", 11));
  EXPECT_EQ(parse_escapes(""), "");
}

TEST(Escapes, ThatNobodyKnowsAreRefused) {
  for (const char* text : {"\\", "a\\q", "\\x", "\\x1", "\\xg0", "\\x-1", "\\x 1"}) {
    EXPECT_FALSE(parse_escapes(text).has_value()) << text;
  }
}

}  // namespace
}  // namespace weir::config
