// Endpoints that fail, come, leave and recover, and what the ledger makes of them.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <set>

#include "tests/support/books.hpp"

namespace weir::pool {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

config::Upstream ejecting(std::size_t endpoints, std::uint32_t max_percent) {
  config::Upstream config = upstream(endpoints, {.mode = config::PoolMode::off});
  config.ejection = {.failures = 2, .duration = 10s, .max_percent = max_percent};
  config.attempts = 1;
  return config;
}

// Sessions that cannot connect to that endpoint, each on its own.
void fail_sessions_of(Books& books, EndpointIndex endpoint, int times, std::size_t endpoints) {
  std::vector<EndpointIndex> others;
  for (EndpointIndex i = 0; i < endpoints; ++i) {
    if (i != endpoint) others.push_back(i);
  }
  for (int i = 0; i < times; ++i) {
    books.acquire(0, 0, others);
    books.fail(books.openings.size() - 1);
    books.advance(20s);  // its pause is over
  }
}

// By two sessions that cannot connect to it.
void eject_first_of_two(Books& books) {
  books.acquire(0, 0, {1});
  books.acquire(0, 0, {1});
  while (!books.openings.empty()) books.fail();
}

TEST(Ledger, TriesAFailingEndpointWithOneConnectionAtATime) {
  Books books(upstream(1));
  books.acquire();
  books.fail();
  books.advance(1s);

  books.acquire();
  books.acquire();
  ASSERT_EQ(books.openings.size(), 1U);

  books.succeed();
  EXPECT_EQ(books.openings.size(), 1U);
  books.acquire();
  EXPECT_EQ(books.openings.size(), 2U);
}

TEST(Ledger, PassesAFailingEndpointOverWhileAnotherOneIsFine) {
  Books books(upstream(2, {.max_connections = 1, .backoff = {.first = 10s, .most = 10s}}));
  const auto first = books.acquire();
  const EndpointIndex failing = books.openings.front()->endpoint;
  books.fail();
  books.succeed();
  ASSERT_EQ(books.last->endpoint, 1 - failing);

  // The other one is full, and better all the same.
  const auto waiting = books.acquire();
  EXPECT_THAT(books.openings, IsEmpty());
  ASSERT_LE(books.wake, books.now + 10s);

  books.advance(10s);
  ASSERT_EQ(books.openings.size(), 1U);
  EXPECT_EQ(books.openings.front()->endpoint, failing);
  EXPECT_EQ(books.openings.front()->waiter, waiting.waiter);
}

TEST(Ledger, OpensNoFasterThanItsRateAndWakesThoseWhoWait) {
  Books books(upstream(1, {.max_opening = 100, .open_rate = 20}));
  for (int i = 0; i < 10; ++i) books.acquire();
  ASSERT_EQ(books.openings.size(), 2U);  // a tenth of a second's worth

  books.advance(110ms);
  EXPECT_EQ(books.openings.size(), 4U);

  books.advance(1s);
  EXPECT_EQ(books.openings.size(), 10U);
}

TEST(Ledger, EjectsAnEndpointThatSessionsCannotReach) {
  Books books(ejecting(2, 50));
  fail_sessions_of(books, 0, 1, 2);
  EXPECT_FALSE(books.ledger.ejected(0));
  // Not yet over when it is looked at.
  books.acquire(0, 0, {1});
  books.fail();
  ASSERT_TRUE(books.ledger.ejected(0));

  for (int i = 0; i < 4; ++i) {
    books.acquire();
    EXPECT_EQ(books.openings.back()->endpoint, 1U);
  }

  books.advance(10s);
  EXPECT_FALSE(books.ledger.ejected(0));
}

TEST(Ledger, DoesNotEjectForWhatWarmingMeets) {
  config::Upstream config = ejecting(2, 100);
  config.pool = {.min_idle = 1};
  Books books(config);
  books.tick();
  for (int i = 0; i < 20; ++i) {
    while (!books.openings.empty()) books.fail();
    books.advance(20s);
  }
  EXPECT_FALSE(books.ledger.ejected(0));
  EXPECT_FALSE(books.ledger.ejected(1));
}

TEST(Ledger, EjectsNoLargerShareThanItMay) {
  Books books(ejecting(4, 25));
  books.acquire(0, 0, {1, 2, 3});
  books.acquire(0, 0, {1, 2, 3});
  books.acquire(0, 0, {0, 2, 3});
  books.acquire(0, 0, {0, 2, 3});
  while (!books.openings.empty()) books.fail();
  EXPECT_TRUE(books.ledger.ejected(0));
  EXPECT_FALSE(books.ledger.ejected(1));
}

TEST(Ledger, NeverEjectsTheOnlyEndpoint) {
  Books books(ejecting(1, 100));
  fail_sessions_of(books, 0, 10, 1);
  EXPECT_FALSE(books.ledger.ejected(0));
}

TEST(Ledger, NeverEjectsTheLastOneThatIsLeft) {
  Books books(ejecting(2, 100));
  books.check(1, false);
  for (int i = 0; i < 5; ++i) {
    books.acquire();
    books.fail();
    books.advance(1s);
  }
  EXPECT_FALSE(books.ledger.ejected(0));
}

TEST(Ledger, TakesAnEjectedEndpointBackWhenItIsTheLastOne) {
  Books books(ejecting(2, 50));
  eject_first_of_two(books);
  ASSERT_TRUE(books.ledger.ejected(0));

  books.check(1, false);

  EXPECT_FALSE(books.ledger.ejected(0));
}

TEST(Ledger, WarmsAnEndpointThatItTakesBackFromItsEjection) {
  config::Upstream config = ejecting(2, 50);
  config.ejection.duration = 60s;
  config.pool = {.min_idle = 1, .backoff = {.first = 10ms, .most = 10ms}};
  Books books(config);
  eject_first_of_two(books);
  ASSERT_TRUE(books.ledger.ejected(0));
  books.advance(1s);
  const auto of_first = [&] { return books.ledger.counts(0).total(); };
  ASSERT_EQ(of_first(), 0U);

  books.check(1, false);

  EXPECT_EQ(of_first(), 1U);
}

TEST(Ledger, EndsAnEjectionWhenACheckPasses) {
  Books books(ejecting(2, 50));
  eject_first_of_two(books);
  ASSERT_TRUE(books.ledger.ejected(0));

  books.check(0, true);

  EXPECT_FALSE(books.ledger.ejected(0));
}

TEST(Ledger, EndsAWaiterWhoseLastEndpointIsEjected) {
  Books books(ejecting(2, 50));
  fail_sessions_of(books, 0, 1, 2);
  books.acquire(0, 0, {1});
  const auto waiting = books.acquire(0, 0, {1});
  ASSERT_EQ(waiting.waiter->opening, nullptr);

  books.fail();

  ASSERT_TRUE(books.ledger.ejected(0));
  EXPECT_EQ(waiting.waiter->state, Waiter::State::failed);
  EXPECT_EQ(waiting.waiter->failure, Failure::no_healthy_endpoint);
}

TEST(Ledger, WarmsARecoveredEndpointBeforeItGetsSessions) {
  Books books(upstream(2, {.min_idle = 2, .anticipate = 0}));
  books.check(0, false);
  books.tick();
  while (!books.openings.empty()) books.succeed();

  books.check(0, true);
  ASSERT_EQ(books.openings.size(), 2U);
  for (int i = 0; i < 4; ++i) {
    const auto asked = books.acquire();
    if (asked.connection != nullptr) {
      EXPECT_EQ(asked.connection->endpoint, 1U);
    }
  }
  EXPECT_EQ(books.ledger.counts(0), (EndpointCounts{.opening = 2}));

  while (books.ledger.counts(0).opening > 0) {
    for (std::size_t i = 0; i < books.openings.size(); ++i) {
      if (books.openings[i]->endpoint == 0) books.succeed(i);
    }
  }
  std::set<EndpointIndex> used;
  for (int i = 0; i < 2; ++i) {
    const auto asked = books.acquire();
    used.insert(asked.connection ? asked.connection->endpoint : books.openings.back()->endpoint);
  }
  EXPECT_TRUE(used.contains(0));
}

TEST(Ledger, WaitsNoLongerThanFiveSecondsForAnEndpointToBeWarm) {
  Books books(upstream(2, {.max_connections = 1, .min_idle = 1}));
  books.check(0, false);
  books.tick();
  books.lease();
  books.check(0, true);
  const auto waiting = books.acquire();
  ASSERT_EQ(waiting.waiter->opening, nullptr);

  // What is opened for it, a session that waits gets; but it does not come.
  ASSERT_EQ(books.openings.size(), 1U);
  books.advance(5s);

  EXPECT_EQ(books.ledger.counts(0).total(), 1U);
}

TEST(Ledger, UsesTheNextTierWhileThisOneIsBeingWarmed) {
  config::Upstream config = upstream(2, {.min_idle = 1, .anticipate = 0});
  config.endpoints[1].tier = 1;
  Books books(config);
  books.check(0, false);
  books.tick();
  books.succeed();
  books.check(0, true);

  EXPECT_EQ(books.acquire().connection->endpoint, 1U);

  books.succeed();
  ASSERT_EQ(books.last->endpoint, 0U);
  EXPECT_EQ(books.acquire().connection->endpoint, 0U);
}

TEST(Ledger, WarmsWhoIsCatchingUpAlthoughSessionsWait) {
  config::Upstream config = upstream(2, {.max_connections = 1, .min_idle = 1});
  config.endpoints[1].tier = 1;
  Books books(config);
  books.check(0, false);
  books.lease();
  const auto waiting = books.acquire();
  ASSERT_EQ(books.ledger.waiting(), 1U);

  books.check(0, true);
  ASSERT_EQ(books.openings.size(), 1U);
  ASSERT_EQ(books.openings.front()->endpoint, 0U);
  books.succeed();

  // It is warm: now its tier is the one that sessions go to.
  EXPECT_EQ(waiting.waiter->state, Waiter::State::granted);
}

TEST(Ledger, RaisesTheShareOfWhoHasComeSlowly) {
  config::Upstream config = upstream(2, {.mode = config::PoolMode::off});
  config.slow_start = 10s;
  Books books(config);
  books.check(0, false);
  books.check(0, true);
  const auto share = [&] {
    int of_first = 0;
    for (int i = 0; i < 40; ++i) {
      books.acquire();
      books.succeed();
      of_first += books.last->endpoint == 0 ? 1 : 0;
      books.release(books.last->endpoint);
    }
    return of_first;
  };

  const int at_first = share();
  books.advance(5s);
  const int halfway = share();
  books.advance(6s);
  share();
  const int in_the_end = share();

  EXPECT_NEAR(at_first, 4, 2);
  EXPECT_NEAR(halfway, 13, 2);
  EXPECT_EQ(in_the_end, 20);
  EXPECT_EQ(books.wake, TimePoint::max());  // and then nothing is left to do
}

TEST(Ledger, ClosesTheIdleConnectionsOfWhoLeavesAndKeepsItsLeases) {
  Books books(upstream(2, {.min_idle = 1, .anticipate = 0}));
  books.tick();
  while (!books.openings.empty()) books.succeed();
  Connection* const lent = books.acquire().connection;
  const EndpointIndex leaving = lent->endpoint;
  while (!books.openings.empty()) books.succeed();
  ASSERT_EQ(books.ledger.counts(leaving), (EndpointCounts{.idle = 1, .leased = 1}));

  books.set_endpoints({books.ledger.endpoint(1 - leaving)});

  ASSERT_EQ(books.closed.size(), 1U);
  EXPECT_EQ(books.closed[0].second, Closed::removed);
  EXPECT_EQ(books.ledger.counts(leaving), (EndpointCounts{.leased = 1}));
  EXPECT_FALSE(books.ledger.is_present(leaving));
  EXPECT_EQ(books.ledger.worn_out(*lent, books.now), Closed::removed);
  books.release(leaving);
  EXPECT_EQ(books.ledger.counts(leaving).total(), 0U);
  EXPECT_THAT(books.openings, IsEmpty());
}

TEST(Ledger, WarmsWhoHasCome) {
  Books books(upstream(1, {.min_idle = 2}), 1, 2);
  books.tick();
  while (!books.openings.empty()) books.succeed();

  books.set_endpoints({endpoint_at(1), endpoint_at(77)});

  ASSERT_EQ(books.openings.size(), 2U);
  EXPECT_EQ(books.openings[0]->target->name, "127.0.0.1:77");
  EXPECT_THAT(books.closed, IsEmpty());
}

TEST(Ledger, ClosesNothingWhenTheEndpointsStayTheSame) {
  Books books(upstream(3, {.min_idle = 2}));
  books.tick();
  while (!books.openings.empty()) books.succeed();
  const auto before = books.ledger.closed();

  books.set_endpoints({endpoint_at(3), endpoint_at(1), endpoint_at(2)});

  EXPECT_EQ(books.ledger.closed(), before);
  EXPECT_THAT(books.closed, IsEmpty());
  EXPECT_THAT(books.openings, IsEmpty());
  for (EndpointIndex i = 0; i < 3; ++i) {
    EXPECT_EQ(books.ledger.endpoint(i)->name, "127.0.0.1:" + std::to_string(i + 1));
  }
}

TEST(Ledger, GivesASeatAwayOnlyWhenItsLastConnectionIsGone) {
  Books books(upstream(1), 1, 1);
  books.lease();

  books.set_endpoints({endpoint_at(9)});
  EXPECT_FALSE(books.ledger.is_present(0));

  books.release(0);
  books.set_endpoints({endpoint_at(9)});
  ASSERT_TRUE(books.ledger.is_present(0));
  EXPECT_EQ(books.ledger.endpoint(0)->name, "127.0.0.1:9");
}

TEST(Ledger, TakesAChangedWeightAndTierOver) {
  Books books(upstream(2, {.mode = config::PoolMode::off}));
  books.set_endpoints({endpoint_at(1, 0), endpoint_at(2, 1, 3)});
  books.lease();
  EXPECT_EQ(books.last->endpoint, 1U);

  books.set_endpoints({endpoint_at(1, 1), endpoint_at(2, 1, 3)});
  books.lease();
  EXPECT_EQ(books.last->endpoint, 0U);
}

TEST(Ledger, LetsSessionsWaitForNamesThatAreNotFoundYet) {
  config::Upstream config = upstream(0);
  config::Endpoint& name = config.endpoints.emplace_back();
  name.kind = config::Endpoint::Kind::name;
  name.address.host = "db.internal";
  Books books(config);

  const auto early = books.acquire();
  ASSERT_EQ(early.waiter->state, Waiter::State::waiting);
  books.set_endpoints({endpoint_at(5)});
  ASSERT_EQ(books.openings.size(), 1U);
  EXPECT_EQ(books.openings.front()->waiter, early.waiter);
}

TEST(Ledger, EndsThoseWhoWaitForANameThatCannotBeFound) {
  config::Upstream config = upstream(0);
  config::Endpoint& name = config.endpoints.emplace_back();
  name.kind = config::Endpoint::Kind::name;
  name.address.host = "db.internal";
  Books books(config);
  const auto early = books.acquire();

  books.ledger.expect_endpoints(false, "db.internal: no such name", books.now, books.actions);
  books.settle();

  EXPECT_THAT(books.failed, ElementsAre(early.waiter));
  EXPECT_EQ(early.waiter->failure, Failure::no_healthy_endpoint);
  EXPECT_EQ(early.waiter->detail, "db.internal: no such name");
  const auto late = books.acquire();
  EXPECT_TRUE(late.failed);
  EXPECT_EQ(late.waiter->detail, "db.internal: no such name");
}

TEST(Ledger, EndsSessionsOfARemovedEndpointOnlyWhenItIsTold) {
  for (const auto when : {config::WhenRemoved::drain, config::WhenRemoved::close}) {
    config::Upstream config = upstream(2);
    config.when_endpoint_removed = when;
    Books books(config);
    const EndpointIndex leaving = books.lease().endpoint;

    books.set_endpoints({books.ledger.endpoint(1 - leaving)});

    EXPECT_EQ(books.ended.size(), when == config::WhenRemoved::close ? 1U : 0U);
  }
}

}  // namespace
}  // namespace weir::pool
