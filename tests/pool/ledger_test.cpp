// The ledger is plain data: `Books` plays the workers.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>

#include "tests/support/books.hpp"

namespace weir::pool {
namespace {

using namespace std::chrono_literals;

TEST(Ledger, OpensAConnectionForTheFirstSession) {
  Books books(upstream(1));

  const auto asked = books.acquire();

  ASSERT_EQ(books.openings.size(), 1U);
  const auto placed = books.succeed();
  EXPECT_EQ(placed.where, Ledger::Placed::Where::waiter);
  EXPECT_EQ(placed.waiter, asked.waiter);
  EXPECT_EQ(books.ledger.counts(0), (EndpointCounts{.leased = 1}));
}

TEST(Ledger, LendsAnIdleConnectionAtOnceAndReplacesIt) {
  Books books(upstream(1, {.min_idle = 1}));
  books.tick();
  ASSERT_EQ(books.succeed().where, Ledger::Placed::Where::idle);
  Connection* const idle = books.last;

  const auto asked = books.acquire();

  EXPECT_EQ(asked.connection, idle);
  EXPECT_EQ(books.openings.size(), 1U);
  EXPECT_EQ(books.openings.front()->waiter, nullptr);
}

TEST(Ledger, ServesWaitersInTheOrderTheyCame) {
  Books books(upstream(1, {.max_connections = 1}));
  const auto first = books.acquire();
  books.succeed();
  const auto second = books.acquire();
  const auto third = books.acquire();
  ASSERT_TRUE(books.openings.empty());

  books.release(0, Closed::consumed);

  ASSERT_EQ(books.openings.size(), 1U);
  EXPECT_EQ(books.succeed().waiter, second.waiter);
  EXPECT_EQ(third.waiter->state, Waiter::State::waiting);
}

TEST(Ledger, GivesWhatIsReadyToWhoWaitedLongest) {
  Books books(upstream(1));
  const auto first = books.acquire();
  const auto second = books.acquire();
  ASSERT_EQ(books.openings.size(), 2U);

  // The second one's connection is ready first.
  const auto placed = books.succeed(1);

  EXPECT_EQ(placed.waiter, first.waiter);
  EXPECT_EQ(books.openings.front()->waiter, second.waiter);
  EXPECT_EQ(books.succeed().waiter, second.waiter);
}

TEST(Ledger, KeepsTheConnectionOfASessionThatGaveUp) {
  Books books(upstream(1));
  const auto asked = books.acquire();

  EXPECT_TRUE(books.ledger.give_up(*asked.waiter, books.now, books.actions));
  books.settle();

  EXPECT_EQ(books.succeed().where, Ledger::Placed::Where::idle);
  EXPECT_EQ(books.ledger.counts(0).idle, 1U);
}

TEST(Ledger, TriesAnotherEndpointAfterAFailure) {
  Books books(upstream(2));
  const auto asked = books.acquire();
  const EndpointIndex first = books.openings.front()->endpoint;

  books.fail();

  ASSERT_EQ(books.openings.size(), 1U);
  EXPECT_NE(books.openings.front()->endpoint, first);
  EXPECT_EQ(asked.waiter->state, Waiter::State::waiting);
}

TEST(Ledger, EndsWithTheCauseWhenThereIsNoOtherEndpoint) {
  Books books(upstream(1));
  const auto asked = books.acquire();

  books.fail(0, Failure::timeout);

  EXPECT_EQ(asked.waiter->state, Waiter::State::failed);
  EXPECT_EQ(asked.waiter->failure, Failure::timeout);
  EXPECT_THAT(books.failed, testing::ElementsAre(asked.waiter));
}

TEST(Ledger, TriesNoMoreEndpointsThanAttempts) {
  config::Upstream config = upstream(5);
  config.attempts = 2;
  Books books(config);
  const auto asked = books.acquire();

  books.fail();
  books.fail();

  EXPECT_EQ(asked.waiter->state, Waiter::State::failed);
  EXPECT_TRUE(books.openings.empty());
}

TEST(Ledger, RefusesAtOnceWhenNoEndpointIsHealthy) {
  Books books(upstream(1));
  books.check(0, false);

  const auto asked = books.acquire();

  EXPECT_EQ(asked.waiter->state, Waiter::State::failed);
  EXPECT_EQ(asked.waiter->failure, Failure::no_healthy_endpoint);
}

TEST(Ledger, EndsThoseWhoWaitWhenTheLastEndpointFails) {
  Books books(upstream(1, {.max_connections = 1}));
  books.acquire();
  books.succeed();
  const auto waiting = books.acquire();

  books.check(0, false);

  EXPECT_EQ(waiting.waiter->failure, Failure::no_healthy_endpoint);
}

TEST(Ledger, UsesTheNextTierOnlyWithoutAHealthyOne) {
  config::Upstream config = upstream(2);
  config.endpoints[1].tier = 1;
  Books books(config);
  books.acquire();
  EXPECT_EQ(books.openings.back()->endpoint, 0U);

  books.check(0, false);
  books.acquire();
  EXPECT_EQ(books.openings.back()->endpoint, 1U);

  books.check(0, true);
  books.acquire();
  EXPECT_EQ(books.openings.back()->endpoint, 0U);
}

TEST(Ledger, RefusesOneMoreThanMayWait) {
  Books books(upstream(1, {.max_connections = 1, .max_waiting = 1}));
  books.acquire();
  books.acquire();

  const auto refused = books.acquire();

  EXPECT_EQ(refused.waiter->failure, Failure::pool_full);
}

TEST(Ledger, DoesNotQueueASessionWithoutPatience) {
  Books books(upstream(1, {.max_connections = 1, .acquire_timeout = 0s}));
  books.acquire();

  const auto refused = books.acquire();

  EXPECT_EQ(refused.waiter->failure, Failure::acquire_timeout);
}

TEST(Ledger, WarmsToMinIdleWithAtMostMaxOpeningInFlight) {
  Books books(upstream(1, {.min_idle = 5, .max_opening = 2}));
  books.tick();

  for (int i = 0; i < 5; ++i) {
    ASSERT_LE(books.openings.size(), 2U);
    books.succeed();
    books.tick();
  }

  EXPECT_EQ(books.ledger.counts(0), (EndpointCounts{.idle = 5}));
}

TEST(Ledger, PausesWarmingAfterAFailureAndProbesWithOne) {
  Books books(upstream(1, {.min_idle = 4}));
  books.tick();
  ASSERT_EQ(books.openings.size(), 4U);
  while (!books.openings.empty()) books.fail();

  books.tick();
  EXPECT_TRUE(books.openings.empty());

  books.now += 1s;
  books.tick();
  EXPECT_EQ(books.openings.size(), 1U);
}

TEST(Ledger, PausesWarmingWhenWhatItOpensDiesAtOnce) {
  Books books(upstream(1, {.min_idle = 1}));
  const TimePoint end = books.now + 60s;
  for (; books.now < end; books.now += 10ms) {
    books.tick();
    while (!books.openings.empty()) {
      ASSERT_EQ(books.succeed().where, Ledger::Placed::Where::idle);
      EXPECT_TRUE(
          books.ledger.idle_lost(*books.last, Closed::peer_closed, books.now, books.actions));
      books.settle();
    }
  }
  // 100 ms doubled up to 15 s, each times 0 to 1: 13 s for the first 8 steps, then 7.5 s apart.
  EXPECT_LE(books.ledger.opened_count(), 30U);
  EXPECT_GE(books.ledger.opened_count(), 8U);
}

TEST(Ledger, WarmsAllAtOnceAgainWhenOneHasProvedItself) {
  Books books(upstream(1, {.min_idle = 4}));
  books.tick();
  while (!books.openings.empty()) books.fail();
  books.now += 1s;
  books.tick();
  ASSERT_EQ(books.openings.size(), 1U);
  books.succeed();

  books.now += 1s;
  books.tick();

  EXPECT_EQ(books.openings.size(), 3U);
}

TEST(Ledger, PausesWarmingAfterADeathAtTheLease) {
  Books books(upstream(1, {.min_idle = 1}));
  books.tick();
  books.succeed();
  ASSERT_NE(books.acquire().connection, nullptr);
  while (!books.openings.empty()) books.fail();

  books.release(0, Closed::peer_closed);

  EXPECT_TRUE(books.openings.empty());
}

TEST(Ledger, EndsAWaiterWhoseEndpointBecameUnhealthyWhileItOpened) {
  Books books(upstream(1));
  const auto asked = books.acquire();
  books.check(0, false);
  ASSERT_EQ(asked.waiter->state, Waiter::State::waiting);

  EXPECT_EQ(books.succeed().where, Ledger::Placed::Where::nobody);

  EXPECT_EQ(asked.waiter->failure, Failure::no_healthy_endpoint);
  EXPECT_THAT(books.failed, testing::ElementsAre(asked.waiter));
}

TEST(Ledger, EndsASessionWithoutPatienceWhenTheOtherEndpointsAreFull) {
  Books books(upstream(2, {.max_connections = 1, .acquire_timeout = 0s}));
  books.acquire();
  books.succeed();
  const auto second = books.acquire();
  ASSERT_EQ(books.openings.size(), 1U);

  books.fail();

  EXPECT_EQ(second.waiter->state, Waiter::State::failed);
  EXPECT_EQ(second.waiter->failure, Failure::refused);
}

TEST(Ledger, SpreadsIdleConnectionsOverTheWorkers) {
  Books books(upstream(1, {.min_idle = 4}), 2);
  books.tick();

  std::array<int, 2> of_worker{};
  for (const auto& opening : books.openings) ++of_worker.at(opening->worker);

  EXPECT_THAT(of_worker, testing::ElementsAre(2, 2));
}

TEST(Ledger, HandsOverAnIdleConnectionOfAnotherWorker) {
  Books books(upstream(1, {.max_connections = 1, .min_idle = 1}), 2);
  books.tick();
  books.succeed();
  Connection* const idle = books.last;
  const WorkerIndex other = 1 - idle->worker;

  const auto asked = books.acquire(other);

  ASSERT_EQ(books.handed.size(), 1U);
  EXPECT_EQ(books.handed[0].first, idle);
  EXPECT_EQ(books.handed[0].second, asked.waiter);
  EXPECT_EQ(asked.waiter->state, Waiter::State::granted);
}

TEST(Ledger, ServesAWaiterAgainWhenItsHandOverFails) {
  Books books(upstream(1, {.max_connections = 1, .min_idle = 1}), 2);
  books.tick();
  books.succeed();
  const auto asked = books.acquire(1 - books.last->worker);

  books.ledger.hand_failed(*books.handed[0].first, asked.waiter, Closed::peer_closed, books.now,
                           books.actions);
  books.settle();

  ASSERT_FALSE(books.openings.empty());
  EXPECT_EQ(books.succeed().waiter, asked.waiter);
}

TEST(Ledger, ClosesTheSurplusOldestFirst) {
  Books books(upstream(1, {.max_idle = 1}));
  const auto one = books.acquire();
  const auto two = books.acquire();
  for (const auto& asked : {one, two}) {
    books.ledger.give_up(*asked.waiter, books.now, books.actions);
    books.settle();
  }
  books.succeed();
  Connection* const oldest = books.last;
  books.now += 1s;

  books.succeed();

  EXPECT_THAT(books.closed, testing::ElementsAre(std::pair(oldest, Closed::surplus)));
}

TEST(Ledger, ReplacesAnAgeingConnectionBeforeItCloses) {
  Books books(upstream(1, {.min_idle = 1}));
  books.tick();
  books.succeed();
  Connection* const old = books.last;
  EXPECT_GE(old->due, books.now + 20s);
  EXPECT_LE(old->due, books.now + 25s);
  books.now = old->due;

  books.ledger.expire(*old, books.now, books.actions);
  books.settle();

  EXPECT_GT(old->due, books.now);
  EXPECT_EQ(books.ledger.counts(0).idle, 1U);
  ASSERT_EQ(books.openings.size(), 1U);
  books.succeed();
  EXPECT_THAT(books.closed, testing::ElementsAre(std::pair(old, Closed::fresh_age)));
  EXPECT_EQ(books.ledger.counts(0), (EndpointCounts{.idle = 1}));
}

TEST(Ledger, KeepsMinIdleFromTheIdleTimeout) {
  Books books(upstream(1, {.min_idle = 1, .idle_timeout = 5s}));
  books.tick();
  books.succeed();
  books.now = books.last->due;

  books.ledger.expire(*books.last, books.now, books.actions);
  books.settle();

  EXPECT_GT(books.last->due, books.now);
  EXPECT_TRUE(books.closed.empty());
}

TEST(Ledger, ClosesWhatHasBeenIdleForTooLongAboveMinIdle) {
  Books books(upstream(1, {.idle_timeout = 5s}));
  const auto asked = books.acquire();
  books.ledger.give_up(*asked.waiter, books.now, books.actions);
  books.succeed();
  EXPECT_GE(books.last->due, books.now + 4500ms);
  EXPECT_LE(books.last->due, books.now + 5s);
  books.now = books.last->due;

  books.ledger.expire(*books.last, books.now, books.actions);
  books.settle();

  EXPECT_THAT(books.closed, testing::ElementsAre(std::pair(books.last, Closed::idle_timeout)));
}

TEST(Ledger, KeepsNothingIdleWhenThePoolIsOff) {
  Books books(upstream(1, {.mode = config::PoolMode::off}));
  const auto asked = books.acquire();
  books.ledger.give_up(*asked.waiter, books.now, books.actions);
  books.settle();

  EXPECT_EQ(books.succeed().where, Ledger::Placed::Where::nobody);
}

}  // namespace
}  // namespace weir::pool
