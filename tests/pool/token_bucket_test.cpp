#include "pool/token_bucket.hpp"

#include <gtest/gtest.h>

namespace weir::pool {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint start{std::chrono::hours(1)};

// How many come through at once.
int burst(TokenBucket& bucket, TimePoint now) {
  int taken = 0;
  for (; bucket.has_one(now) && taken < 10'000; ++taken) bucket.take(now);
  return taken;
}

TEST(TokenBucket, LetsEverythingThroughWithoutARate) {
  TokenBucket bucket(0, start);
  EXPECT_EQ(burst(bucket, start), 10'000);
  EXPECT_EQ(bucket.next(start), start);
}

TEST(TokenBucket, HasABurstOfATenthOfASecond) {
  TokenBucket bucket(100, start);
  EXPECT_EQ(burst(bucket, start), 10);
}

TEST(TokenBucket, LetsOneThroughHoweverLowItsRate) {
  TokenBucket bucket(0.01, start);
  EXPECT_EQ(burst(bucket, start), 1);
  EXPECT_FALSE(bucket.has_one(start + 99s));
  EXPECT_TRUE(bucket.has_one(start + 101s));
}

TEST(TokenBucket, IsNeverFullerThanItsBurst) {
  TokenBucket bucket(100, start);
  burst(bucket, start);
  EXPECT_EQ(burst(bucket, start + 1h), 10);
}

TEST(TokenBucket, SaysWhenTheNextOneComes) {
  TokenBucket bucket(20, start);
  EXPECT_EQ(bucket.next(start), start);
  burst(bucket, start);

  const TimePoint next = bucket.next(start);

  EXPECT_TRUE(bucket.has_one(next));
  EXPECT_FALSE(bucket.has_one(next - 1ms));
  EXPECT_LE(next, start + 51ms);
}

TEST(TokenBucket, KeepsToItsRateInTheLongRun) {
  TokenBucket bucket(50, start);
  int taken = 0;
  for (TimePoint now = start; now < start + 60s; now = std::max(now + 1us, bucket.next(now))) {
    if (!bucket.has_one(now)) continue;
    bucket.take(now);
    ++taken;
  }
  EXPECT_NEAR(taken, 50 * 60 + 5, 2);
}

TEST(TokenBucket, GivesNothingForATimeThatGoesBack) {
  TokenBucket bucket(10, start);
  burst(bucket, start);
  for (int i = 0; i < 100; ++i) {
    EXPECT_FALSE(bucket.has_one(start - 5ms));
    EXPECT_FALSE(bucket.has_one(start + 5ms));
  }
}

}  // namespace
}  // namespace weir::pool
