#pragma once
// A named group of endpoints as the whole process shares it: the ledger behind one lock. The lock
// is held for the arithmetic of one decision, never for I/O; what a decision asks of workers goes
// to them through Workers. Thread-safe; configure() and set_endpoints() are for one thread.

#include <algorithm>
#include <atomic>
#include <mutex>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "config/config.hpp"
#include "pool/ledger.hpp"
#include "pool/roster.hpp"

namespace weir::pool {

class Upstream;

// How an action reaches the worker that carries it out. Called on any worker's thread, outside the
// lock; it must not call back into the upstream.
class Workers {
 public:
  virtual void perform(Upstream& upstream, Action action) = 0;

 protected:
  ~Workers() = default;
};

class Upstream {
 public:
  Upstream(const config::Upstream& config, std::size_t index, std::size_t worker_count,
           Workers& workers, TimePoint now)
      : name_(config.name),
        index_(index),
        balance_(config.balance),
        workers_(workers),
        ledger_(config, Roster::capacity(config), worker_count, now),
        endpoint_count_(ledger_.endpoint_count()) {}

  // Both stay, whatever else of it is configured anew.
  const std::string& name() const { return name_; }
  std::size_t index() const { return index_; }
  // Every EndpointIndex is below this, until configure() makes room for more.
  std::size_t capacity() const {
    const std::scoped_lock lock(mutex_);
    return ledger_.seat_count();
  }
  std::size_t endpoint_count() const { return endpoint_count_.load(std::memory_order_relaxed); }

  // Runs `decide(ledger, actions)` under the lock, then hands the actions out.
  template <class Decide>
  auto decide(Decide&& decide) {
    Actions actions;
    if constexpr (std::is_void_v<decltype(decide(ledger_, actions))>) {
      {
        const std::scoped_lock lock(mutex_);
        decide(ledger_, actions);
      }
      hand_out(actions);
    } else {
      auto result = [&] {
        const std::scoped_lock lock(mutex_);
        return decide(ledger_, actions);
      }();
      hand_out(actions);
      return result;
    }
  }

  // Reads under the lock: for gauges and tests.
  template <class Look>
  auto look(Look&& look) const {
    const std::scoped_lock lock(mutex_);
    return look(std::as_const(ledger_));
  }

  // Other settings from now on, and seats for their endpoints beside those that have left, but
  // whose connections have not ended. To be followed by set_endpoints().
  void configure(const config::Upstream& config, Generations generations, TimePoint now) {
    balance_ = config.balance;
    decide([&](Ledger& ledger, Actions& actions) {
      const std::size_t capacity =
          std::max(ledger.seat_count(), Roster::capacity(config) + ledger.taken_by_others(config));
      ledger.configure(config, generations, capacity, now, actions);
    });
  }

  // Those are the endpoints from now on. By one thread at a time. What takes long (a table of
  // `balance: hash`) is made outside the lock. `seated` is told, before sessions can get one, which
  // endpoint each seat holds now: null where nobody sits. Returns how many are seated: fewer than
  // wanted where the seats of those who have left are still held by their last connections.
  template <class Seated>
  std::size_t set_endpoints(const std::vector<EndpointPointer>& wanted, TimePoint now,
                            Seated&& seated) {
    std::vector<EndpointPointer> seats =
        look([&](const Ledger& ledger) { return ledger.assign(wanted); });
    std::vector<Balancer::Member> members;
    std::size_t count = 0;
    for (const EndpointPointer& each : seats) {
      if (each == nullptr) {
        members.push_back({.name = {}, .weight = 0, .tier = 0});
      } else {
        members.push_back({each->name, each->weight, each->tier});
        ++count;
      }
    }
    auto balancer = Balancer::make(balance_, members, std::random_device{}());
    seated(seats);
    endpoint_count_ = count;
    decide([&](Ledger& ledger, Actions& actions) {
      ledger.set_endpoints(std::move(seats), std::move(balancer), now, actions);
    });
    return count;
  }

 private:
  void hand_out(Actions& actions) {
    for (Action& action : actions) workers_.perform(*this, std::move(action));
  }

  std::string name_;
  std::size_t index_;
  config::Balance balance_;
  Workers& workers_;
  mutable std::mutex mutex_;
  Ledger ledger_;
  std::atomic<std::size_t> endpoint_count_;
};

}  // namespace weir::pool
