// The ledger is plain data: connections are bare objects, time is moved by hand, and the actions
// are looked at instead of carried out. `Books` plays the workers.

#include "pool/ledger.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <random>
#include <set>

namespace weir::pool {
namespace {

using namespace std::chrono_literals;

config::Upstream upstream(std::size_t endpoints, config::Pool pool = {}) {
  config::Upstream result;
  result.name = "api";
  result.pool = pool;
  for (std::size_t i = 0; i < endpoints; ++i) {
    config::Endpoint endpoint;
    endpoint.address = {config::Address::Kind::ipv4, "127.0.0.1", static_cast<std::uint16_t>(i + 1)};
    result.endpoints.push_back(endpoint);
  }
  return result;
}

// A ledger with its workers played by the test.
class Books {
 public:
  explicit Books(config::Upstream config, std::size_t workers = 1)
      : config_(std::move(config)), ledger(config_, workers) {}

  Ledger::Asked acquire(WorkerIndex worker = 0) {
    auto asked = ledger.acquire(worker, {}, now, actions);
    settle();
    return asked;
  }

  // Sorts what the ledger asked for into what is open to be answered.
  void settle() {
    for (Action& action : actions) {
      if (auto* open = std::get_if<Open>(&action)) {
        openings.push_back(std::move(open->opening));
      } else if (auto* hand = std::get_if<Hand>(&action)) {
        handed.emplace_back(hand->connection, hand->waiter);
      } else if (auto* fail = std::get_if<Fail>(&action)) {
        failed.push_back(fail->waiter);
      } else if (auto* close = std::get_if<Close>(&action)) {
        closed.emplace_back(close->connection, close->why);
      }
    }
    actions.clear();
    ledger.check_invariants();
  }

  Ledger::Placed succeed(std::size_t index = 0) {
    const std::unique_ptr<Opening> opening = take(index);
    connections.push_back(std::make_unique<Connection>());
    last = connections.back().get();
    auto placed = ledger.opened(*opening, *last, now, actions);
    settle();
    return placed;
  }

  void fail(std::size_t index = 0, Failure failure = Failure::refused) {
    const std::unique_ptr<Opening> opening = take(index);
    ledger.open_failed(*opening, failure, "refused", now, actions);
    settle();
  }

  std::unique_ptr<Opening> take(std::size_t index) {
    auto opening = std::move(openings.at(index));
    openings.erase(openings.begin() + static_cast<std::ptrdiff_t>(index));
    return opening;
  }

 private:
  config::Upstream config_;

 public:
  std::vector<std::unique_ptr<Connection>> connections;
  Ledger ledger;
  TimePoint now{1h};
  Actions actions;
  std::deque<std::unique_ptr<Opening>> openings;
  std::vector<std::pair<Connection*, std::shared_ptr<Waiter>>> handed;
  std::vector<std::shared_ptr<Waiter>> failed;
  std::vector<std::pair<Connection*, Closed>> closed;
  Connection* last = nullptr;
};

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
  books.ledger.warm(books.now, books.actions);
  books.settle();
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

  books.ledger.released(0, Closed::consumed, books.now, books.actions);
  books.settle();

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
  books.ledger.set_healthy(0, false, books.now, books.actions);
  books.settle();

  const auto asked = books.acquire();

  EXPECT_EQ(asked.waiter->state, Waiter::State::failed);
  EXPECT_EQ(asked.waiter->failure, Failure::no_healthy_endpoint);
}

TEST(Ledger, EndsThoseWhoWaitWhenTheLastEndpointFails) {
  Books books(upstream(1, {.max_connections = 1}));
  books.acquire();
  books.succeed();
  const auto waiting = books.acquire();

  books.ledger.set_healthy(0, false, books.now, books.actions);
  books.settle();

  EXPECT_EQ(waiting.waiter->failure, Failure::no_healthy_endpoint);
}

TEST(Ledger, UsesTheNextTierOnlyWithoutAHealthyOne) {
  config::Upstream config = upstream(2);
  config.endpoints[1].tier = 1;
  Books books(config);
  books.acquire();
  EXPECT_EQ(books.openings.back()->endpoint, 0U);

  books.ledger.set_healthy(0, false, books.now, books.actions);
  books.settle();
  books.acquire();
  EXPECT_EQ(books.openings.back()->endpoint, 1U);

  books.ledger.set_healthy(0, true, books.now, books.actions);
  books.settle();
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
  books.ledger.warm(books.now, books.actions);
  books.settle();

  for (int i = 0; i < 5; ++i) {
    ASSERT_LE(books.openings.size(), 2U);
    books.succeed();
    books.ledger.warm(books.now, books.actions);
    books.settle();
  }

  EXPECT_EQ(books.ledger.counts(0), (EndpointCounts{.idle = 5}));
}

TEST(Ledger, PausesWarmingAfterAFailureAndProbesWithOne) {
  Books books(upstream(1, {.min_idle = 4}));
  books.ledger.warm(books.now, books.actions);
  books.settle();
  ASSERT_EQ(books.openings.size(), 4U);
  while (!books.openings.empty()) books.fail();

  books.ledger.warm(books.now, books.actions);
  books.settle();
  EXPECT_TRUE(books.openings.empty());

  books.now += 1s;
  books.ledger.warm(books.now, books.actions);
  books.settle();
  EXPECT_EQ(books.openings.size(), 1U);
}

TEST(Ledger, SpreadsIdleConnectionsOverTheWorkers) {
  Books books(upstream(1, {.min_idle = 4}), 2);
  books.ledger.warm(books.now, books.actions);
  books.settle();

  std::array<int, 2> of_worker{};
  for (const auto& opening : books.openings) ++of_worker.at(opening->worker);

  EXPECT_THAT(of_worker, testing::ElementsAre(2, 2));
}

TEST(Ledger, HandsOverAnIdleConnectionOfAnotherWorker) {
  Books books(upstream(1, {.max_connections = 1, .min_idle = 1}), 2);
  books.ledger.warm(books.now, books.actions);
  books.settle();
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
  books.ledger.warm(books.now, books.actions);
  books.settle();
  books.succeed();
  const auto asked = books.acquire(1 - books.last->worker);

  books.ledger.hand_failed(0, asked.waiter, Closed::peer_closed, books.now, books.actions);
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
  books.ledger.warm(books.now, books.actions);
  books.settle();
  books.succeed();
  Connection* const old = books.last;
  books.now += 25s;

  const auto again =
      books.ledger.expire(*old, Ledger::Expiry::fresh_age, books.now, books.actions);
  books.settle();

  EXPECT_TRUE(again.has_value());
  EXPECT_EQ(books.ledger.counts(0).idle, 1U);
  ASSERT_EQ(books.openings.size(), 1U);
  books.succeed();
  EXPECT_THAT(books.closed, testing::ElementsAre(std::pair(old, Closed::fresh_age)));
  EXPECT_EQ(books.ledger.counts(0), (EndpointCounts{.idle = 1}));
}

TEST(Ledger, KeepsMinIdleFromTheIdleTimeout) {
  Books books(upstream(1, {.min_idle = 1}));
  books.ledger.warm(books.now, books.actions);
  books.settle();
  books.succeed();

  const auto again =
      books.ledger.expire(*books.last, Ledger::Expiry::idle_timeout, books.now, books.actions);

  EXPECT_TRUE(again.has_value());
  EXPECT_TRUE(books.closed.empty());
}

TEST(Ledger, KeepsNothingIdleWhenThePoolIsOff) {
  Books books(upstream(1, {.mode = config::PoolMode::off}));
  const auto asked = books.acquire();
  books.ledger.give_up(*asked.waiter, books.now, books.actions);
  books.settle();

  EXPECT_EQ(books.succeed().where, Ledger::Placed::Where::nobody);
}

// Random sessions, endpoints and failures on several workers: the invariants hold after each step,
// every waiter ends exactly once, and at the end the books are empty.
class Storm {
 public:
  explicit Storm(unsigned seed)
      : random_(seed),
        books_(upstream(3, {.max_connections = 4,
                            .max_total = 10,
                            .min_idle = 2,
                            .max_idle = 3,
                            .max_opening = 2,
                            .max_waiting = 6}),
               workers) {}

  void run() {
    for (int i = 0; i < 400; ++i) step();
    finish();
  }

 private:
  static constexpr std::size_t workers = 3;

  std::size_t below(std::size_t count) { return random_() % count; }

  void step() {
    books_.now += std::chrono::milliseconds(below(300));
    switch (below(9)) {
      case 0:
      case 1:
      case 2:
        ask();
        break;
      case 3:
      case 4:
        if (!books_.openings.empty()) place(books_.succeed(below(books_.openings.size())));
        break;
      case 5:
        if (!books_.openings.empty()) books_.fail(below(books_.openings.size()));
        break;
      case 6:
        release();
        break;
      case 7:
        give_up();
        break;
      default:
        books_.ledger.set_healthy(static_cast<EndpointIndex>(below(3)), below(4) != 0, books_.now,
                                  books_.actions);
        books_.ledger.warm(books_.now, books_.actions);
    }
    settle();
  }

  void ask() {
    const auto asked = books_.acquire(static_cast<WorkerIndex>(below(workers)));
    if (asked.connection != nullptr) leased_.push_back(asked.connection);
    if (asked.waiter && asked.waiter->state == Waiter::State::waiting) waiting_.insert(asked.waiter);
    if (asked.waiter && asked.waiter->state == Waiter::State::granted) waiting_.insert(asked.waiter);
  }

  void place(const Ledger::Placed& placed) {
    if (placed.where != Ledger::Placed::Where::waiter) return;
    ASSERT_EQ(waiting_.erase(placed.waiter), 1U);
    leased_.push_back(books_.last);
  }

  void settle() {
    books_.settle();
    while (!books_.handed.empty()) {
      const auto [connection, waiter] = books_.handed.back();
      books_.handed.pop_back();
      if (below(4) == 0) {
        books_.ledger.hand_failed(connection->endpoint, waiter, Closed::peer_closed, books_.now,
                                  books_.actions);
      } else {
        ASSERT_EQ(waiting_.erase(waiter), 1U);
        connection->worker = waiter->worker;
        leased_.push_back(connection);
      }
      books_.settle();
    }
    for (const auto& waiter : books_.failed) ASSERT_EQ(waiting_.erase(waiter), 1U);
    books_.failed.clear();
  }

  void release() {
    if (leased_.empty()) return;
    const std::size_t index = below(leased_.size());
    const EndpointIndex endpoint = leased_[index]->endpoint;
    leased_.erase(leased_.begin() + static_cast<std::ptrdiff_t>(index));
    books_.ledger.released(endpoint, Closed::consumed, books_.now, books_.actions);
  }

  void give_up() {
    if (waiting_.empty()) return;
    const std::shared_ptr<Waiter> waiter = *waiting_.begin();
    if (books_.ledger.give_up(*waiter, books_.now, books_.actions)) waiting_.erase(waiter);
  }

  void finish() {
    for (int i = 0; i < 1000 && (!waiting_.empty() || !leased_.empty() || !books_.openings.empty());
         ++i) {
      give_up();
      settle();
      release();
      settle();
      if (!books_.openings.empty()) books_.fail();
      settle();
    }
    books_.ledger.shut_down(books_.actions);
    books_.settle();
    EXPECT_TRUE(waiting_.empty());
    for (EndpointIndex i = 0; i < 3; ++i) {
      EXPECT_EQ(books_.ledger.counts(i).idle + books_.ledger.counts(i).leased, 0U);
    }
    EXPECT_EQ(books_.ledger.queue_length(), 0U);
  }

  std::mt19937 random_;
  Books books_;
  std::set<std::shared_ptr<Waiter>> waiting_;
  std::vector<Connection*> leased_;
};

TEST(Ledger, HoldsItsInvariantsInAnyStorm) {
  for (unsigned seed = 0; seed < 2000; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Storm(seed).run();
    if (testing::Test::HasFailure()) return;
  }
}

}  // namespace
}  // namespace weir::pool
