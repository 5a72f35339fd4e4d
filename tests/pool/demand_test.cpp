#include "pool/demand.hpp"

#include <gtest/gtest.h>

namespace weir::pool {
namespace {

using namespace std::chrono_literals;

constexpr TimePoint start{std::chrono::hours(1)};

// Sessions that come at that moment.
void arrive(Demand& demand, int sessions, TimePoint now) {
  for (int i = 0; i < sessions; ++i) demand.arrived(now);
}

TEST(Demand, ExpectsNothingBeforeAnybodyHasCome) {
  const Demand demand;
  EXPECT_EQ(demand.value(start), 0.0);
  EXPECT_EQ(demand.time_to_open(), 0ns);
}

TEST(Demand, IsTheSessionsThatComeWhileOneIsOpened) {
  Demand demand;
  demand.opened(100ms);
  for (int i = 0; i < 10; ++i) demand.arrived(start + i * 10ms);
  EXPECT_DOUBLE_EQ(demand.value(start + 90ms), 10.0);
}

TEST(Demand, IsThatOfTheBusiestOfRecentSpans) {
  Demand demand;
  demand.opened(10ms);
  arrive(demand, 7, start);
  for (int i = 1; i <= 5; ++i) arrive(demand, 1, start + i * 10ms);
  EXPECT_DOUBLE_EQ(demand.value(start + 50ms), 7.0);
}

TEST(Demand, IsForgottenByHalfEveryTenSeconds) {
  Demand demand;
  demand.opened(10ms);
  arrive(demand, 8, start);

  EXPECT_NEAR(demand.value(start + 10s), 4.0, 0.1);
  EXPECT_NEAR(demand.value(start + 20s), 2.0, 0.1);
  EXPECT_NEAR(demand.value(start + 100s), 0.0, 0.1);
}

TEST(Demand, IsForgottenAlsoWhileAFewComeStill) {
  Demand demand;
  demand.opened(10ms);
  arrive(demand, 32, start);
  for (int second = 1; second <= 60; ++second) demand.arrived(start + second * 1s);
  EXPECT_LT(demand.value(start + 60s), 2.0);
  EXPECT_GE(demand.value(start + 60s), 0.5);
}

TEST(Demand, CountsABunchWholeHoweverQuicklyConnectionsOpen) {
  Demand demand;
  demand.opened(1us);
  for (int i = 0; i < 20; ++i) demand.arrived(start + i * 10us);
  EXPECT_GE(demand.value(start + 200us), 20.0);
}

TEST(Demand, TakesTheNinetyFifthPercentileOfTheTimesToOpen) {
  Demand demand;
  for (int i = 1; i <= 64; ++i) demand.opened(i * 1ms);
  EXPECT_EQ(demand.time_to_open(), 61ms);
}

TEST(Demand, LooksAtTheLastTimesOnly) {
  Demand demand;
  for (int i = 0; i < 64; ++i) demand.opened(1s);
  for (int i = 0; i < 64; ++i) demand.opened(1ms);
  EXPECT_EQ(demand.time_to_open(), 1ms);
}

}  // namespace
}  // namespace weir::pool
