#include "pool/ejection.hpp"

#include <gtest/gtest.h>

namespace weir::pool {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint start{std::chrono::hours(1)};
constexpr config::Ejection limits{.failures = 3, .duration = 30s, .max_percent = 50};

TEST(Ejection, IsDueAfterSoManyFailuresInARow) {
  Ejection ejection;
  EXPECT_FALSE(ejection.fail(limits));
  EXPECT_FALSE(ejection.fail(limits));
  EXPECT_TRUE(ejection.fail(limits));
}

TEST(Ejection, StartsToCountAnewAfterASuccess) {
  Ejection ejection;
  ejection.fail(limits);
  ejection.fail(limits);
  ejection.succeed();
  EXPECT_FALSE(ejection.fail(limits));
  EXPECT_FALSE(ejection.fail(limits));
  EXPECT_TRUE(ejection.fail(limits));
}

TEST(Ejection, StaysDueAsLongAsItMayNotBegin) {
  Ejection ejection;
  for (int i = 0; i < 3; ++i) ejection.fail(limits);
  EXPECT_TRUE(ejection.fail(limits));
}

TEST(Ejection, IsNeverDueWhenItIsOff) {
  Ejection ejection;
  config::Ejection off = limits;
  off.failures = 0;
  for (int i = 0; i < 100; ++i) EXPECT_FALSE(ejection.fail(off));
}

TEST(Ejection, LastsItsDuration) {
  Ejection ejection;
  ejection.begin(limits, start);
  EXPECT_TRUE(ejection.ejected());
  EXPECT_EQ(ejection.until(), start + 30s);
  EXPECT_FALSE(ejection.fail(limits));
}

TEST(Ejection, LastsTwiceAsLongEachTimeUpToTenTimes) {
  Ejection ejection;
  TimePoint now = start;
  for (const int times : {1, 2, 4, 8, 10, 10}) {
    ejection.begin(limits, now);
    EXPECT_EQ(ejection.until(), now + times * 30s);
    now = ejection.until();
    ejection.end(now);
    now += 299s;
  }
}

TEST(Ejection, LastsItsDurationAgainAfterTenOfThemWithoutOne) {
  Ejection ejection;
  ejection.begin(limits, start);
  ejection.end(start + 30s);

  ejection.begin(limits, start + 330s);

  EXPECT_EQ(ejection.until(), start + 360s);
}

TEST(Ejection, CountsFromItsRealEndWhenThatWasEarlier) {
  Ejection ejection;
  ejection.begin(limits, start);
  ejection.end(start + 1s);
  EXPECT_EQ(ejection.until(), start + 1s);

  ejection.begin(limits, start + 302s);

  EXPECT_EQ(ejection.until(), start + 332s);
}

TEST(Ejection, NeedsAllFailuresAgainAfterItsEnd) {
  Ejection ejection;
  for (int i = 0; i < 3; ++i) ejection.fail(limits);
  ejection.begin(limits, start);
  ejection.end(start + 30s);

  EXPECT_FALSE(ejection.ejected());
  EXPECT_FALSE(ejection.fail(limits));
  EXPECT_FALSE(ejection.fail(limits));
  EXPECT_TRUE(ejection.fail(limits));
}

}  // namespace
}  // namespace weir::pool
