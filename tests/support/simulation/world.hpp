#pragma once
// What the parts of a simulation share: the ledger, its observer, time, chance, and the workers'
// mail. Mail takes a while, and arrives in the order in which it was sent, each worker's own; each
// worker has the time of its last turn, which may be a little old.

#include <algorithm>
#include <memory>
#include <utility>
#include <vector>

#include "tests/support/simulation/events.hpp"
#include "tests/support/simulation/observer.hpp"
#include "tests/support/simulation/scenario.hpp"
#include "tests/support/simulation/servers.hpp"
#include "tests/support/simulation/trace.hpp"

namespace weir::pool {

struct World {
  static constexpr TimePoint start{std::chrono::hours(1)};

  World(std::uint64_t seed, bool aloud)
      : chance(seed),
        scenario(ScenarioDraw::draw(chance)),
        begin(start + Nanoseconds(seed)),
        trace(seed, begin, aloud),
        events(begin),
        servers(scenario),
        ledger(scenario.upstream, scenario.capacity, scenario.workers, begin),
        observer(scenario, begin),
        clocks_(scenario.workers, begin),
        mail_(scenario.workers, begin) {}

  TimePoint now() const { return events.now(); }

  // What a worker takes for the present: not before `least`, which is why it acts.
  TimePoint clock(WorkerIndex worker, TimePoint least = {}) {
    TimePoint& clock = clocks_[worker];
    const Nanoseconds age(static_cast<Nanoseconds::rep>(chance.below(2'000'000)));
    return clock = std::max({clock, now() - age, least});
  }

  void post(WorkerIndex worker, Events::Happen happen) {
    Nanoseconds delay(static_cast<Nanoseconds::rep>(chance.below(500'000)));
    if (chance.below(16) == 0) delay *= 40;
    mail_[worker] = std::max(mail_[worker], now() + delay);
    events.at(mail_[worker], std::move(happen));
  }

  template <class... Numbers>
  void note(std::string_view words, Numbers... numbers) {
    trace.note(now(), words, numbers...);
  }

  Chance chance;
  Scenario scenario;  // its settings change with a reload
  Generations generations;
  TimePoint configured_at = never;
  const TimePoint begin;  // the ledger's own chance follows from it
  Trace trace;
  Events events;
  Servers servers;
  Connections connections;  // outlive the ledger that lists them
  Ledger ledger;
  Observer observer;

 private:
  std::vector<TimePoint> clocks_;
  std::vector<TimePoint> mail_;  // when the last of it arrives
};

}  // namespace weir::pool
