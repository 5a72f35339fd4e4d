// The ledger in random weather: thousands of seeds, the invariants after each step.

#include <gtest/gtest.h>

#include <random>
#include <set>

#include "tests/support/books.hpp"

namespace weir::pool {
namespace {

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
        books_.check(static_cast<EndpointIndex>(below(3)), below(4) != 0);
        books_.tick();
    }
    settle();
  }

  void ask() {
    const auto asked = books_.acquire(static_cast<WorkerIndex>(below(workers)));
    if (asked.connection != nullptr) leased_.push_back(asked.connection);
    if (asked.waiter && asked.waiter->state == Waiter::State::waiting)
      waiting_.insert(asked.waiter);
    if (asked.waiter && asked.waiter->state == Waiter::State::granted)
      waiting_.insert(asked.waiter);
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
        books_.ledger.hand_failed(*connection, waiter, Closed::peer_closed, books_.now,
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
