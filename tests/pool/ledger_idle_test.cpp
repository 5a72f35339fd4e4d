// What is kept ready, how many, and for how long.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/books.hpp"

namespace weir::pool {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

TEST(Ledger, LendsAConnectionSoManyTimes) {
  Books books(upstream(1, {.mode = config::PoolMode::reset, .max_uses = 3}));
  Connection& connection = books.lease();
  for (int i = 0; i < 2; ++i) {
    ASSERT_EQ(books.ledger.worn_out(connection, books.now), std::nullopt);
    books.ledger.returned(connection, books.now, books.actions);
    books.settle();
    ASSERT_EQ(books.acquire().connection, &connection);
  }
  EXPECT_EQ(books.ledger.worn_out(connection, books.now), Closed::uses);
}

TEST(Ledger, DoesNotCountALeaseThatNobodyTook) {
  Books books(upstream(1, {.mode = config::PoolMode::reset, .max_uses = 1}));
  const auto asked = books.acquire();
  books.succeed();
  Connection& connection = *books.last;
  books.give_up(asked);

  books.ledger.unwanted(connection, books.now, books.actions);
  books.settle();

  EXPECT_EQ(connection.uses, 0U);
  EXPECT_EQ(books.acquire().connection, &connection);
}

TEST(Ledger, LendsAConnectionAgainUntilItsLifetimeIsOver) {
  Books books(upstream(1, {.mode = config::PoolMode::reset, .max_lifetime = 10min}));
  Connection& connection = books.lease();
  EXPECT_EQ(books.ledger.worn_out(connection, books.now + 9min - 1s), std::nullopt);
  EXPECT_EQ(books.ledger.worn_out(connection, books.now + 10min), Closed::lifetime);
}

TEST(Ledger, LendsNothingAgainThatIsOfNoUse) {
  Books books(upstream(2, {.mode = config::PoolMode::reset}));
  Connection& connection = books.lease();
  books.check(connection.endpoint, false);
  EXPECT_EQ(books.ledger.worn_out(connection, books.now), Closed::unhealthy);
  books.ledger.shut_down(books.actions);
  EXPECT_EQ(books.ledger.worn_out(connection, books.now), Closed::shutdown);
}

TEST(Ledger, KeepsMoreReadyWhileMoreSessionsComeAndThenLess) {
  Books books(upstream(1, {.min_idle = 1, .max_idle = 8, .anticipate = 1.0, .max_opening = 64}));
  books.tick();
  books.now += 100ms;  // that long an opening takes
  books.succeed();
  EXPECT_EQ(books.ledger.idle_target(0, books.now), 1U);

  for (int i = 0; i < 6; ++i) books.acquire();
  EXPECT_EQ(books.ledger.idle_target(0, books.now), 6U);
  for (int i = 0; i < 20; ++i) books.acquire();
  EXPECT_EQ(books.ledger.idle_target(0, books.now), 8U);

  EXPECT_LE(books.ledger.idle_target(0, books.now + 30s), 4U);
  EXPECT_EQ(books.ledger.idle_target(0, books.now + 10min), 1U);
}

TEST(Ledger, CountsASessionOnceHoweverManyDeadConnectionsItFinds) {
  Books books(upstream(1, {.min_idle = 3, .anticipate = 1.0}));
  books.tick();
  while (!books.openings.empty()) books.succeed();
  for (int i = 0; i < 3; ++i) {
    const auto dead = books.acquire();
    ASSERT_NE(dead.connection, nullptr);
    books.ledger.found_dead(*dead.connection, Closed::peer_closed, books.now, books.actions);
    books.settle();
  }

  books.acquire();

  EXPECT_EQ(books.ledger.idle_target(0, books.now), 3U);
}

TEST(Ledger, KeepsMinIdleReadyAloneWhenItIsNotToAnticipate) {
  Books books(upstream(1, {.min_idle = 2, .anticipate = 0}));
  books.tick();
  books.now += 100ms;
  for (int i = 0; i < 50; ++i) books.acquire();
  EXPECT_EQ(books.ledger.idle_target(0, books.now), 2U);
}

TEST(Ledger, ClosesWhatWasOpenedForMoreSessionsWhenTheyAreFewAgain) {
  Books books(upstream(1, {.min_idle = 1, .max_idle = 8, .anticipate = 1.0, .max_opening = 64}));
  books.tick();
  books.now += 100ms;
  books.succeed();
  for (int i = 0; i < 6; ++i) books.acquire();
  while (!books.openings.empty()) books.succeed();
  ASSERT_EQ(books.ledger.counts(0).idle, 6U);

  books.now += 10min;
  for (const auto& each : books.connections) {
    books.ledger.expire(*each, books.now, books.actions);
    books.settle();
  }
  while (!books.openings.empty()) books.succeed();

  EXPECT_EQ(books.ledger.counts(0).idle, 1U);
}

TEST(Ledger, WarmsAnotherEndpointWhenTheTotalAllowsIt) {
  Books books(upstream(2, {.max_total = 2, .min_idle = 1, .anticipate = 0}));
  const EndpointIndex busy = books.lease().endpoint;
  books.lease(0, {1 - busy});
  books.tick();
  ASSERT_THAT(books.openings, IsEmpty());

  books.release(busy);
  books.release(busy);

  ASSERT_EQ(books.openings.size(), 2U);
  EXPECT_NE(books.openings[0]->endpoint, books.openings[1]->endpoint);
}

TEST(Ledger, WarmsAnotherEndpointWhenNoSessionWaitsAnyMore) {
  config::Upstream config = upstream(2, {.max_connections = 1, .min_idle = 1});
  config.endpoints[1].tier = 1;
  Books books(config);
  books.lease();
  books.tick();
  books.succeed();
  Connection* const idle = books.last;
  const auto waiting = books.acquire();
  ASSERT_EQ(books.ledger.waiting(), 1U);
  books.advance(6s);

  // It dies while a session waits for the other endpoint, and that goes first.
  ASSERT_TRUE(books.ledger.idle_lost(*idle, Closed::peer_closed, books.now, books.actions));
  books.settle();
  ASSERT_THAT(books.openings, IsEmpty());

  books.give_up(waiting);
  ASSERT_EQ(books.openings.size(), 1U);
  EXPECT_EQ(books.openings.front()->endpoint, 1U);
}

TEST(Ledger, ReplacesWhatASessionOfTheQueueTakes) {
  Books books(upstream(2, {.min_idle = 1, .anticipate = 0}), 2);
  const auto asked = books.acquire(0);
  books.tick();
  ASSERT_EQ(books.openings.size(), 3U);  // the session's, and one to be idle at each
  ASSERT_EQ(books.openings[2]->endpoint, 1U);
  ASSERT_EQ(books.succeed(2).where, Ledger::Placed::Where::idle);

  ASSERT_EQ(books.openings[0]->waiter, asked.waiter);
  books.fail(0);

  EXPECT_EQ(asked.waiter->state, Waiter::State::granted);
  EXPECT_EQ(books.ledger.counts(1), (EndpointCounts{.opening = 1, .leased = 1}));
}

TEST(Ledger, ShedsWhatHasBeenIdleForLongest) {
  Books books(upstream(2, {.min_idle = 2}));
  books.tick();
  std::vector<Connection*> opened;
  while (!books.openings.empty()) {
    books.now += 1s;
    books.succeed();
    opened.push_back(books.last);
  }
  EXPECT_EQ(books.ledger.oldest_idle(), opened[0]->idle_since);

  EXPECT_EQ(books.ledger.shed(3, books.actions), 3U);
  books.settle();

  EXPECT_THAT(books.closed, ElementsAre(std::pair(opened[0], Closed::descriptors),
                                        std::pair(opened[1], Closed::descriptors),
                                        std::pair(opened[2], Closed::descriptors)));
  EXPECT_EQ(books.ledger.shed(3, books.actions), 1U);
}

TEST(Ledger, WarmsNothingWhileDescriptorsAreShort) {
  Books books(upstream(1, {.min_idle = 2}));
  books.ledger.set_pressure(Pressure::no_warming, books.now, books.actions);
  books.tick();
  EXPECT_THAT(books.openings, IsEmpty());

  books.ledger.set_pressure(Pressure::none, books.now, books.actions);
  books.settle();
  EXPECT_EQ(books.openings.size(), 2U);
}

TEST(Ledger, KeepsNothingAfterItsShutdown) {
  Books books(upstream(1, {.min_idle = 2}));
  books.tick();
  books.succeed();
  books.ledger.shut_down(books.actions);
  books.settle();
  EXPECT_THAT(books.closed, ElementsAre(std::pair(books.last, Closed::shutdown)));

  EXPECT_EQ(books.succeed().where, Ledger::Placed::Where::nobody);

  EXPECT_THAT(books.openings, IsEmpty());
  EXPECT_EQ(books.ledger.total(), 0U);
}

}  // namespace
}  // namespace weir::pool
