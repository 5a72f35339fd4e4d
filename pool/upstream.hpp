#pragma once
// A named group of endpoints as the whole process shares it: the ledger behind one lock. The lock
// is held for the arithmetic of one decision, never for I/O; what a decision asks of workers goes
// to them through Workers. Thread-safe.

#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "config/config.hpp"
#include "pool/ledger.hpp"

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
           Workers& workers)
      : config_(config), index_(index), workers_(workers), ledger_(config, worker_count) {}

  const config::Upstream& config() const { return config_; }
  std::size_t index() const { return index_; }

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

 private:
  void hand_out(Actions& actions) {
    for (Action& action : actions) workers_.perform(*this, std::move(action));
  }

  const config::Upstream& config_;
  std::size_t index_;
  Workers& workers_;
  mutable std::mutex mutex_;
  Ledger ledger_;
};

}  // namespace weir::pool
