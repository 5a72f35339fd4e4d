// Who gets what, in which order, and that nobody is forgotten.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/books.hpp"

namespace weir::pool {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

using Where = Ledger::Placed::Where;

TEST(Ledger, PassesNobodyMoreOftenThanItMay) {
  Books books(upstream(1), 2);
  const auto first = books.acquire(0);
  std::vector<Ledger::Asked> others;
  for (int i = 0; i < 6; ++i) others.push_back(books.acquire(1));

  // On the other worker one connection after the other is ready; the first one's is not.
  std::vector<std::shared_ptr<Waiter>> served;
  for (int i = 0; i < 4; ++i) served.push_back(books.succeed(1).waiter);

  EXPECT_THAT(served,
              ElementsAre(others[0].waiter, others[1].waiter, first.waiter, others[2].waiter));
  static_assert(Ledger::most_overtaken == 2);
}

TEST(Ledger, PassesNobodyMoreOftenThanItMayToKeepConnectionsIdle) {
  Books books(upstream(1, {.mode = config::PoolMode::reset}), 2);
  std::vector<Connection*> lent;
  for (int i = 0; i < 3; ++i) lent.push_back(&books.lease(1));
  const auto waiting = books.acquire(0);

  std::vector<Where> placed;
  for (Connection* each : lent) {
    placed.push_back(books.ledger.returned(*each, books.now, books.actions).where);
    books.settle();
  }

  EXPECT_THAT(placed, ElementsAre(Where::idle, Where::idle, Where::waiter));
  EXPECT_EQ(waiting.waiter->state, Waiter::State::granted);
}

TEST(Ledger, ServesWhoMayHaveAnotherEndpointThanThoseBeforeIt) {
  Books books(upstream(2, {.max_connections = 1}));
  books.lease(0, {1});
  const auto first = books.acquire(0, 0, {1});
  ASSERT_EQ(first.waiter->opening, nullptr);

  const auto second = books.acquire();

  ASSERT_EQ(books.openings.size(), 1U);
  EXPECT_EQ(books.openings.front()->endpoint, 1U);
  EXPECT_EQ(books.openings.front()->waiter, second.waiter);
  EXPECT_EQ(first.waiter->state, Waiter::State::waiting);
}

TEST(Ledger, GivesNobodyAConnectionOfAnEndpointThatItHasTried) {
  Books books(upstream(2, {.mode = config::PoolMode::reset, .max_connections = 1}));
  Connection& of_first = books.lease(0, {1});
  Connection& of_second = books.lease(0, {0});
  const auto waiting = books.acquire(0, 0, {0});

  EXPECT_EQ(books.ledger.returned(of_first, books.now, books.actions).where, Where::idle);
  books.settle();
  EXPECT_EQ(waiting.waiter->state, Waiter::State::waiting);

  EXPECT_EQ(books.ledger.returned(of_second, books.now, books.actions).waiter, waiting.waiter);
  books.settle();
}

TEST(Ledger, GivesNobodyAConnectionOfAHigherTier) {
  config::Upstream config = upstream(2, {.min_idle = 1});
  config.endpoints[1].tier = 1;
  Books books(config);
  books.tick();
  ASSERT_EQ(books.openings.size(), 2U);
  const auto waiting = books.acquire();
  ASSERT_EQ(books.openings.size(), 3U);

  // The one of the higher tier is ready first.
  ASSERT_EQ(books.openings[1]->endpoint, 1U);
  EXPECT_EQ(books.succeed(1).where, Where::idle);
  EXPECT_EQ(waiting.waiter->state, Waiter::State::waiting);

  EXPECT_EQ(books.succeed(0).waiter, waiting.waiter);
}

TEST(Ledger, TakesNoOpeningOverThatLeadsToAnEndpointItHasTried) {
  Books books(upstream(2));
  const auto first = books.acquire();
  const EndpointIndex of_first = books.openings[0]->endpoint;
  const auto second = books.acquire(0, 0, {of_first});
  ASSERT_EQ(books.openings.size(), 2U);

  // The second one's is ready, and the first one gets it. What is opened for the first one is
  // nothing for the second: it gets another one of its own.
  EXPECT_EQ(books.succeed(1).waiter, first.waiter);

  ASSERT_NE(second.waiter->opening, nullptr);
  EXPECT_EQ(second.waiter->opening->endpoint, 1 - of_first);
  EXPECT_EQ(books.openings[0]->waiter, nullptr);
}

TEST(Ledger, KeepsWhatWasOpenedForASessionThatMayHaveNothingElse) {
  config::Upstream config = upstream(2);
  config.ejection = {.failures = 1, .duration = 10s, .max_percent = 50};
  Books books(config);
  const auto owner = books.acquire(0, 0, {1});
  books.acquire(0, 0, {1});
  books.fail(1);
  ASSERT_TRUE(books.ledger.ejected(0));
  ASSERT_EQ(owner.waiter->state, Waiter::State::waiting);

  EXPECT_EQ(books.succeed().waiter, owner.waiter);
}

TEST(Ledger, MakesRoomForASessionWhereTheTotalIsTakenByWhatIsIdle) {
  config::Upstream config = upstream(2, {.max_total = 2, .min_idle = 2, .anticipate = 0});
  config.endpoints[1].tier = 1;
  Books books(config);
  books.check(0, false);
  books.tick();
  books.succeed();
  Connection* const oldest = books.last;
  books.now += 1s;
  books.succeed();
  books.check(0, true);
  books.advance(6s);
  ASSERT_EQ(books.ledger.counts(1), (EndpointCounts{.idle = 2}));
  ASSERT_THAT(books.openings, IsEmpty());

  const auto asked = books.acquire();

  EXPECT_THAT(books.closed, ElementsAre(std::pair(oldest, Closed::surplus)));
  ASSERT_EQ(books.openings.size(), 1U);
  EXPECT_EQ(books.openings.front()->endpoint, 0U);
  EXPECT_EQ(books.openings.front()->waiter, asked.waiter);
}

TEST(Ledger, FreesAPlaceWhenTheSocketIsClosedAndNotBefore) {
  Books books(upstream(1, {.max_connections = 1, .min_idle = 1, .fresh_max_age = 5s}));
  books.closes_late = true;
  books.tick();
  books.succeed();
  books.now = books.last->due;
  books.ledger.expire(*books.last, books.now, books.actions);
  books.settle();
  ASSERT_EQ(books.ledger.counts(0), (EndpointCounts{.closing = 1}));

  const auto asked = books.acquire();
  EXPECT_EQ(asked.waiter->state, Waiter::State::waiting);
  EXPECT_THAT(books.openings, IsEmpty());

  books.ledger.gone(0, books.now, books.actions);
  books.settle();
  ASSERT_EQ(books.openings.size(), 1U);
  EXPECT_EQ(books.openings.front()->waiter, asked.waiter);
}

TEST(Ledger, WaitsForRoomThatIsBeingMadeEvenWithoutPatience) {
  Books books(upstream(2, {.max_total = 2, .acquire_timeout = 0s}));
  books.closes_late = true;
  const auto gone = books.acquire(0, 0, {0});
  books.give_up(gone);
  books.succeed();
  books.lease(0, {1});

  const auto first = books.acquire(0, 0, {1});
  const auto second = books.acquire(0, 0, {1});
  EXPECT_EQ(books.closed.size(), 1U);
  EXPECT_EQ(first.waiter->state, Waiter::State::waiting);
  EXPECT_EQ(second.waiter->failure, Failure::acquire_timeout);

  books.ledger.gone(1, books.now, books.actions);
  books.settle();
  ASSERT_EQ(books.openings.size(), 1U);
  EXPECT_EQ(books.openings.front()->waiter, first.waiter);
}

TEST(Ledger, MakesRoomForNoMoreSessionsThanMayOpen) {
  config::Upstream config = upstream(2, {.max_connections = 3, .max_total = 5});
  config.endpoints[1].tier = 1;
  Books books(config);
  for (int i = 0; i < 2; ++i) books.lease();
  for (int i = 0; i < 3; ++i) books.give_up(books.acquire(0, 0, {0}));
  while (!books.openings.empty()) books.succeed();
  ASSERT_EQ(books.ledger.counts(1), (EndpointCounts{.idle = 3}));

  for (int i = 0; i < 6; ++i) books.acquire();

  EXPECT_EQ(books.openings.size(), 1U);
  EXPECT_EQ(books.closed.size(), 1U);
}

TEST(Ledger, WarmsTheTierThatSessionsGetFirstWhereTheTotalIsShort) {
  config::Upstream config = upstream(2, {.max_total = 2, .min_idle = 2, .anticipate = 0});
  config.endpoints[0].tier = 1;
  Books books(config);
  books.tick();
  while (!books.openings.empty()) books.succeed();
  EXPECT_EQ(books.ledger.counts(1), (EndpointCounts{.idle = 2}));
}

TEST(Ledger, MakesNoRoomForASessionThatMayNotWait) {
  config::Upstream config =
      upstream(2, {.max_total = 2, .min_idle = 2, .anticipate = 0, .max_waiting = 0});
  Books books(config);
  const auto gone = books.acquire(0, 0, {0});
  books.give_up(gone);
  books.succeed();
  books.lease(0, {1});

  EXPECT_EQ(books.acquire(0, 0, {1}).waiter->failure, Failure::pool_full);
  EXPECT_THAT(books.closed, IsEmpty());
}

TEST(Ledger, LendsWhatIsReadyAtAnEndpointInTroubleBeforeItClosesIt) {
  Books books(upstream(2, {.max_connections = 1, .max_total = 2, .min_idle = 2}));
  books.check(1, false);
  books.lease();
  books.check(1, true);
  books.succeed();
  ASSERT_EQ(books.ledger.counts(1), (EndpointCounts{.idle = 1}));  // one short: it catches up

  EXPECT_NE(books.acquire().connection, nullptr);
  EXPECT_THAT(books.closed, IsEmpty());
}

TEST(Ledger, MakesNoRoomForASessionThatItWouldNotHelp) {
  config::Upstream config = upstream(2, {.max_connections = 1, .max_total = 2});
  Books books(config);
  books.lease(0, {1});
  const auto gone = books.acquire(0, 0, {0});
  books.give_up(gone);
  books.succeed();
  ASSERT_EQ(books.ledger.counts(1), (EndpointCounts{.idle = 1}));

  books.acquire(0, 0, {1});

  EXPECT_THAT(books.closed, IsEmpty());
  EXPECT_EQ(books.ledger.waiting(), 1U);
}

TEST(Ledger, MakesRoomWithWhatBecomesIdleWhileASessionWaits) {
  Books books(upstream(2, {.max_total = 1}));
  const auto gone = books.acquire(0, 0, {1});
  const auto waiting = books.acquire(0, 0, {0});
  ASSERT_EQ(waiting.waiter->opening, nullptr);
  books.give_up(gone);

  EXPECT_EQ(books.succeed().where, Where::idle);

  ASSERT_EQ(books.openings.size(), 1U);
  EXPECT_EQ(books.openings.front()->waiter, waiting.waiter);
  EXPECT_THAT(books.closed, ElementsAre(std::pair(books.last, Closed::surplus)));
}

TEST(Ledger, DoesNotBlameAnEndpointForAnOldConnectionThatDiesOnItsWay) {
  for (const auto age : {10ms, 10'000ms}) {
    Books books(upstream(1, {.min_idle = 1, .anticipate = 0}), 2);
    books.tick();
    books.succeed();
    books.now += age;
    const auto asked = books.acquire(1 - books.last->worker);
    ASSERT_EQ(books.handed.size(), 1U);
    books.openings.clear();

    books.ledger.hand_failed(*books.handed[0].first, asked.waiter, Closed::peer_closed, books.now,
                             books.actions);
    books.settle();

    // One that dies young makes its endpoint one that fails: with one connection at a time.
    EXPECT_EQ(asked.waiter->opening != nullptr, age > 1s) << age.count();
  }
}

TEST(Ledger, EndsAWaiterWhoseHandOverFailsWhenNobodyIsLeft) {
  Books books(upstream(1, {.max_connections = 1, .min_idle = 1}), 2);
  books.tick();
  books.succeed();
  const auto asked = books.acquire(1 - books.last->worker);
  ASSERT_EQ(books.handed.size(), 1U);
  books.check(0, false);

  books.ledger.hand_failed(*books.last, asked.waiter, Closed::peer_closed, books.now,
                           books.actions);
  books.settle();

  EXPECT_THAT(books.failed, ElementsAre(asked.waiter));
  EXPECT_EQ(asked.waiter->failure, Failure::no_healthy_endpoint);
}

TEST(Ledger, ServesWhoeverWaitsWhenTheTotalFallsAtAnotherEndpoint) {
  Books books(upstream(2, {.max_total = 1}));
  books.lease(0, {1});
  const auto waiting = books.acquire(0, 0, {0});
  ASSERT_THAT(books.openings, IsEmpty());

  books.release(0);

  ASSERT_EQ(books.openings.size(), 1U);
  EXPECT_EQ(books.openings.front()->waiter, waiting.waiter);
}

TEST(Ledger, UsesTheOnlyEndpointEvenInItsPause) {
  Books books(upstream(1, {.max_opening = 1, .backoff = {.first = 4s, .most = 4s}}));
  books.acquire();
  const auto waiting = books.acquire();

  books.fail();

  ASSERT_EQ(books.openings.size(), 1U);
  EXPECT_EQ(books.openings.front()->waiter, waiting.waiter);
}

TEST(Ledger, EndsNobodyTwice) {
  Books books(upstream(1, {.max_connections = 1}), 2);
  const auto lost = books.acquire(0);
  books.check(0, false);
  EXPECT_EQ(books.succeed().where, Where::nobody);
  ASSERT_THAT(books.failed, ElementsAre(lost.waiter));

  // Its session gives up before it hears of that.
  EXPECT_TRUE(books.ledger.give_up(*lost.waiter, books.now, books.actions));
  books.settle();

  EXPECT_EQ(lost.waiter->state, Waiter::State::failed);
  EXPECT_EQ(books.failed.size(), 1U);
}

}  // namespace
}  // namespace weir::pool
