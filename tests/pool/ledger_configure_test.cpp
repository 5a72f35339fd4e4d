// Other settings while the ledger is in use.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/books.hpp"

namespace weir::pool {
namespace {

using namespace std::chrono_literals;
using testing::IsEmpty;

// A ledger whose settings are changed.
class Configured : public Books {
 public:
  explicit Configured(config::Upstream settings, std::size_t workers = 1)
      : Books(settings, workers), config(std::move(settings)) {}

  void configure(Generations generations = {}, std::size_t capacity = 0) {
    ledger.configure(config, generations, std::max(capacity, ledger.seat_count()), now, actions);
    settle();
    std::vector<EndpointPointer> wanted;
    for (EndpointIndex i = 0; i < ledger.seat_count(); ++i) {
      if (ledger.is_present(i)) wanted.push_back(ledger.endpoint(i));
    }
    set_endpoints(wanted);
  }
  void warm() {
    tick();
    while (!openings.empty()) succeed();
  }

  config::Upstream config;
};

TEST(LedgerConfigure, ChangesNothingWhereNothingHasChanged) {
  Configured books(upstream(2, {.min_idle = 2}));
  books.warm();
  books.configure();
  EXPECT_THAT(books.closed, IsEmpty());
  EXPECT_THAT(books.openings, IsEmpty());
  EXPECT_EQ(books.ledger.counts(0).idle + books.ledger.counts(1).idle, 4U);
}

TEST(LedgerConfigure, ServesWhoWaitsWhenALimitRises) {
  Configured books(upstream(1, {.max_connections = 1}));
  books.lease();
  const auto asked = books.acquire();
  EXPECT_THAT(books.openings, IsEmpty());
  books.config.pool.max_connections = 2;
  books.configure();
  ASSERT_EQ(books.openings.size(), 1U);
  books.succeed();
  EXPECT_EQ(asked.waiter->state, Waiter::State::granted);
}

TEST(LedgerConfigure, ServesWhoWaitsAlsoWhereTheEndpointsAreNotSetAgain) {
  Configured books(upstream(1, {.max_connections = 1}));
  books.lease();
  books.acquire();
  books.config.pool.max_connections = 2;
  books.ledger.configure(books.config, {}, 1, books.now, books.actions);
  books.settle();
  EXPECT_EQ(books.openings.size(), 1U);
}

TEST(LedgerConfigure, ClosesNothingAtTheEndOfATimeThatItHadBefore) {
  Configured books(
      upstream(1, {.min_idle = 1, .idle_timeout = 10s, .fresh_max_age = 0s, .max_lifetime = 0s}));
  books.warm();
  Connection& idle = *books.last;
  books.config.pool.min_idle = 0;
  books.config.pool.idle_timeout = 0s;
  books.configure();
  books.now = idle.due;
  books.ledger.expire(idle, books.now, books.actions);
  books.settle();
  EXPECT_THAT(books.closed, IsEmpty());
  EXPECT_EQ(idle.due, TimePoint::max());
}

TEST(LedgerConfigure, LetsLeasesBeWhenALimitFalls) {
  Configured books(upstream(1, {.max_connections = 3}));
  for (int i = 0; i < 3; ++i) books.lease();
  books.config.pool.max_connections = 1;
  books.configure();
  EXPECT_THAT(books.closed, IsEmpty());
  const auto asked = books.acquire();
  books.release(0);
  books.release(0);
  EXPECT_THAT(books.openings, IsEmpty());
  books.release(0);
  EXPECT_EQ(books.openings.size(), 1U);
}

TEST(LedgerConfigure, ClosesIdleOnesThatDoNotFitAnyMore) {
  Configured books(upstream(2, {.min_idle = 4}));
  books.warm();
  books.config.pool.min_idle = 0;
  books.config.pool.max_idle = 3;
  books.configure();
  EXPECT_EQ(books.closed.size(), 2U);
  books.config.pool.max_total = 2;
  books.configure();
  EXPECT_EQ(books.closed.size(), 6U);
  EXPECT_EQ(books.closed.back().second, Closed::surplus);
  books.config.pool.mode = config::PoolMode::off;
  books.configure();
  EXPECT_EQ(books.closed.size(), 8U);
}

TEST(LedgerConfigure, LendsNothingThatWasOpenedUnderSettingsThatDoNotHold) {
  Configured books(upstream(1, {.min_idle = 1}));
  books.warm();
  const auto opened_before = books.acquire();  // takes the idle one
  ASSERT_NE(opened_before.connection, nullptr);
  ASSERT_EQ(books.openings.size(), 1U);  // another one is warmed
  const auto waits = books.acquire();
  books.configure({.newest = 1, .oldest_lent = 1});
  // What was on its way is opened under the old settings, and closed.
  const auto placed = books.succeed();
  EXPECT_EQ(placed.where, Ledger::Placed::Where::nobody);
  EXPECT_EQ(waits.waiter->state, Waiter::State::waiting);
  EXPECT_FALSE(books.openings.empty());
  EXPECT_EQ(books.ledger.closed()[static_cast<std::size_t>(Closed::removed)], 1U);
}

TEST(LedgerConfigure, ReplacesWhatIsOnlyOlder) {
  Configured books(upstream(1, {.min_idle = 1}));
  books.warm();
  Connection& old = *books.last;
  books.configure({.newest = 1, .oldest_lent = 0});
  EXPECT_THAT(books.closed, IsEmpty());
  books.ledger.reconsider(old, books.now, books.actions);
  books.settle();
  EXPECT_THAT(books.closed, IsEmpty()) << "it stays until the other one is there";
  ASSERT_EQ(books.openings.size(), 1U);
  books.generation = 1;
  books.succeed();
  ASSERT_EQ(books.closed.size(), 1U);
  EXPECT_EQ(books.closed[0].first, &old);
  EXPECT_EQ(books.closed[0].second, Closed::removed);
  EXPECT_EQ(books.ledger.counts(0).idle, 1U);
}

TEST(LedgerConfigure, TakesNothingBackThatIsOlder) {
  Configured books(upstream(1, {.mode = config::PoolMode::reset}));
  books.config.pool.reset = config::Reset{"a", "b", 1s};
  Connection& connection = books.lease();
  books.configure({.newest = 1, .oldest_lent = 0});
  EXPECT_EQ(books.ledger.worn_out(connection, books.now), Closed::removed);
}

TEST(LedgerConfigure, GivesIdleOnesOtherTimes) {
  Configured books(upstream(1, {.min_idle = 1, .idle_timeout = 60s}));
  books.warm();
  Connection& idle = *books.last;
  books.config.pool.min_idle = 0;
  books.config.pool.idle_timeout = 1s;
  books.now += 500ms;
  books.configure();
  books.ledger.reconsider(idle, books.now, books.actions);
  books.settle();
  EXPECT_THAT(books.closed, IsEmpty());
  EXPECT_LE(idle.due, books.now + 500ms);
  books.config.pool.idle_timeout = 100ms;
  books.configure();
  books.ledger.reconsider(idle, books.now, books.actions);
  books.settle();
  EXPECT_EQ(books.closed.size(), 1U);
}

TEST(LedgerConfigure, KeepsWhatChecksHaveFoundOut) {
  Configured books(upstream(2));
  books.check(1, false);
  books.config.health_check->unhealthy_after = 7;
  books.configure();
  EXPECT_FALSE(books.ledger.healthy(1));
  books.config.health_check.reset();
  books.configure();
  EXPECT_TRUE(books.ledger.healthy(1));
  EXPECT_EQ(books.ledger.check_words(1), "");
  books.config.health_check.emplace();
  books.configure();
  EXPECT_TRUE(books.ledger.healthy(1));
}

TEST(LedgerConfigure, ServesWhoWaitedForAnEndpointThatNobodyChecksAnyMore) {
  Configured books(upstream(1));
  books.ledger.expect_endpoints(true, "", books.now, books.actions);
  books.check(0, false);
  const auto asked = books.acquire();
  EXPECT_THAT(books.openings, IsEmpty());
  books.config.health_check.reset();
  books.configure();
  EXPECT_EQ(books.openings.size(), 1U);
}

TEST(LedgerConfigure, HasSeatsForMore) {
  Configured books(upstream(1));
  books.lease();
  books.configure({}, 5);
  EXPECT_EQ(books.ledger.seat_count(), 5U);
  books.set_endpoints({endpoint_at(2), endpoint_at(3), endpoint_at(4)});
  EXPECT_EQ(books.ledger.endpoint_count(), 3U);
  EXPECT_EQ(books.ledger.counts(0).leased, 1U);
  books.release(0);
}

TEST(LedgerConfigure, CountsTheSeatsThatOthersHold) {
  Configured books(upstream(3));
  config::Upstream other = upstream(1);  // 127.0.0.1:1 is in both
  EXPECT_EQ(books.ledger.taken_by_others(other), 2U);
  EXPECT_EQ(books.ledger.taken_by_others(upstream(3)), 0U);
  books.lease();  // at the first
  books.set_endpoints({endpoint_at(2), endpoint_at(3)});
  EXPECT_EQ(books.ledger.taken_by_others(upstream(3)), 0U);
  EXPECT_EQ(books.ledger.taken_by_others({}), 3U);
}

TEST(LedgerConfigure, ForgetsASlowStartThatIsSwitchedOff) {
  config::Upstream settings = upstream(2);
  settings.slow_start = 10s;
  Configured books(settings);
  books.check(1, false);
  books.check(1, true);
  books.config.slow_start = 0s;
  books.configure();
  int of_second = 0;
  for (int i = 0; i < 10; ++i) of_second += books.lease().endpoint == 1 ? 1 : 0;
  EXPECT_EQ(of_second, 5);
}

}  // namespace
}  // namespace weir::pool
