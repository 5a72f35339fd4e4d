#include "pool/backoff.hpp"

#include <gtest/gtest.h>

namespace weir::pool {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint start{std::chrono::hours(1)};
constexpr config::Backoff limits{.first = 100ms, .most = 1s};

TEST(Backoff, WaitsForAShareOfItsFirstPause) {
  Backoff backoff;
  EXPECT_FALSE(backoff.waits(start));

  backoff.fail(limits, start, 0.5);

  EXPECT_TRUE(backoff.waits(start + 49ms));
  EXPECT_FALSE(backoff.waits(start + 50ms));
  EXPECT_EQ(backoff.until(), start + 50ms);
}

TEST(Backoff, DoublesItsPauseWithEachStepUpToTheLongest) {
  Backoff backoff;
  TimePoint now = start;
  for (const config::Duration pause : {100ms, 200ms, 400ms, 800ms, 1000ms, 1000ms}) {
    backoff.fail(limits, now, 0.5);
    EXPECT_EQ(backoff.until(), now + pause / 2);
    now += 2s;
  }
}

TEST(Backoff, TakesFailuresOfTheSameMomentForOneStep) {
  Backoff backoff;
  for (const config::Duration after : {0ms, 1ms, 20ms, 99ms}) {
    backoff.fail(limits, start + after, 0.0);
  }
  EXPECT_EQ(backoff.steps(), 1U);

  backoff.fail(limits, start + 100ms, 0.0);
  EXPECT_EQ(backoff.steps(), 2U);
}

TEST(Backoff, IsNotProlongedByAFailureWithinItsPause) {
  Backoff backoff;
  backoff.fail(limits, start, 0.9);

  backoff.fail(limits, start + 10ms, 0.9);

  EXPECT_EQ(backoff.until(), start + 90ms);
}

TEST(Backoff, TriesOneAtATimeUntilAConnectionIsOpened) {
  Backoff backoff;
  EXPECT_FALSE(backoff.failing());

  backoff.fail(limits, start, 0.5);
  EXPECT_TRUE(backoff.failing());

  backoff.open();
  EXPECT_FALSE(backoff.failing());
  // That one may be closed as soon as it is open.
  EXPECT_TRUE(backoff.waits(start + 10ms));
}

TEST(Backoff, StartsAnewWhenAConnectionHasProvedItself) {
  Backoff backoff;
  backoff.fail(limits, start, 0.5);
  backoff.fail(limits, start + 1s, 0.5);
  ASSERT_EQ(backoff.steps(), 2U);

  backoff.prove(start + 1001ms);

  EXPECT_EQ(backoff.steps(), 0U);
  EXPECT_FALSE(backoff.waits(start + 1001ms));
  backoff.fail(limits, start + 2s, 0.5);
  EXPECT_EQ(backoff.until(), start + 2050ms);
}

TEST(Backoff, IsNotProvedByWhatWasOpenedBeforeTheLastFailure) {
  Backoff backoff;
  backoff.fail(limits, start, 0.5);

  backoff.prove(start - 1s);

  EXPECT_EQ(backoff.steps(), 1U);
  EXPECT_TRUE(backoff.waits(start));
}

TEST(Backoff, OverflowsNowhere) {
  Backoff backoff;
  const config::Backoff longest{.first = 24h, .most = 24h * 365};
  TimePoint now = start;
  for (int i = 0; i < 200; ++i) {
    backoff.fail(longest, now, 0.999);
    EXPECT_GE(backoff.until(), now);
    EXPECT_LE(backoff.until(), now + longest.most);
    now += 24h * 365;
  }
}

}  // namespace
}  // namespace weir::pool
