#include "config/units.hpp"

#include <gtest/gtest.h>

namespace weir::config {
namespace {

TEST(Units, ReadDurations) {
  EXPECT_EQ(parse_duration("250ms"), Duration(250));
  EXPECT_EQ(parse_duration("10s"), Duration(10'000));
  EXPECT_EQ(parse_duration("5m"), Duration(300'000));
  EXPECT_EQ(parse_duration("12h"), Duration(43'200'000));
  EXPECT_EQ(parse_duration("0"), Duration(0));
  EXPECT_EQ(parse_duration("0s"), Duration(0));
}

TEST(Units, ReadSizes) {
  EXPECT_EQ(parse_size("64KiB"), 65536U);
  EXPECT_EQ(parse_size("1MiB"), 1048576U);
  EXPECT_EQ(parse_size("10MB"), 10'000'000U);
  EXPECT_EQ(parse_size("512B"), 512U);
  EXPECT_EQ(parse_size("0"), 0U);
}

TEST(Units, ReadRates) {
  EXPECT_EQ(parse_rate("100/s"), 100.0);
  EXPECT_EQ(parse_rate("30/m"), 0.5);
  EXPECT_EQ(parse_rate("0"), 0.0);
}

TEST(Units, NameTheUnitABareNumberLacks) {
  EXPECT_EQ(parse_duration("10").error(),
            "`10` is not a duration: it needs a unit, write `10s`, not `10`");
  EXPECT_EQ(parse_size("64").error(),
            "`64` is not a size: it needs a unit, write `64KiB`, not `64`");
  EXPECT_EQ(parse_rate("5").error(), "`5` is not a rate: it needs a unit, write `5/s`, not `5`");
}

TEST(Units, RefuseWhatTheyDoNotKnow) {
  for (const char* text : {"", "s", "ten", "-1s", "1.5s", "1d", "10 s", "10S", "1m30s", "0x10s",
                           "99999999999999999999s", "9223372036854775807h"}) {
    EXPECT_FALSE(parse_duration(text)) << text;
  }
  for (const char* text : {"", "KiB", "1kib", "1 MiB", "1Mib", "9223372036854775807GiB"}) {
    EXPECT_FALSE(parse_size(text)) << text;
  }
  for (const char* text : {"", "/s", "1/d", "1s"}) EXPECT_FALSE(parse_rate(text)) << text;
}

}  // namespace
}  // namespace weir::config
