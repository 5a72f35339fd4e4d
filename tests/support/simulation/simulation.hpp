#pragma once
// A world in which a ledger lives from its cold start to its shutdown: a random configuration, its
// clients, workers, servers, health checks and DNS, over virtual hours, all from one seed. Nothing
// in it does I/O or knows what time it is. After each event the observer looks at everything; the
// first promise that is broken ends the simulation with the words and the last events.

#include <cstdint>
#include <optional>
#include <string>

#include "tests/support/simulation/reloads.hpp"
#include "tests/support/simulation/sessions.hpp"
#include "tests/support/simulation/surroundings.hpp"

namespace weir::pool {

class Simulation {
 public:
  explicit Simulation(std::uint64_t seed, bool aloud = false)
      : world_(seed, aloud),
        sessions_(world_),
        weather_(world_, sessions_.shell()),
        checks_(world_, sessions_.shell()),
        resolver_(world_, sessions_.shell(), checks_),
        descriptors_(world_, sessions_.shell()),
        reloads_(world_, sessions_.shell(), checks_, resolver_, seed) {}

  // Nothing: all promises were kept.
  std::optional<std::string> run() {
    try {
      start();
      storm();
      recover();
      if (world_.chance.percent(30)) survive_outage();
      shut_down();
      return std::nullopt;
    } catch (const Broken& broken) {
      return broken.what + '\n' + words(world_.scenario) + '\n' +
             world_.observer.text(world_.now()) + world_.trace.text();
    }
  }

  std::uint64_t events() const { return world_.events.happened(); }
  Nanoseconds time() const { return world_.now() - world_.begin; }

 private:
  // Enough for a storm; one that takes more is cut short.
  static constexpr std::uint64_t most_events = 4000;
  static constexpr std::uint32_t most_at_once = 1000;

  void start() {
    world_.observer.starts();
    sessions_.shell().ring(world_.now());
    resolver_.start();
    if (!world_.scenario.calm_start) return;
    // A cold start without clients.
    run_for(world_.scenario.recovery * 3 / 2);
    world_.observer.check_minimum(world_.begin, world_.now());
  }

  void storm() {
    world_.note("the storm begins");
    weather_.start();
    descriptors_.start();
    reloads_.start();
    plan_clients();
    const TimePoint end = world_.now() + world_.scenario.storm;
    const std::uint64_t last = world_.events.happened() + most_events;
    while (world_.events.next() <= end && world_.events.happened() < last) step();
    is_stormy_ = false;
  }

  void plan_clients() {
    const Scenario& scenario = world_.scenario;
    const auto bunch = world_.chance.percent(60) ? 1U : world_.chance.between(2U, 20U);
    const Nanoseconds gap =
        scenario.storm * bunch / static_cast<Nanoseconds::rep>(scenario.clients);
    world_.events.after(world_.chance.exponential(gap), [this, bunch] {
      if (!is_stormy_) return;
      for (std::uint32_t i = 0; i < bunch; ++i) {
        const Nanoseconds within = world_.chance.exponential(std::chrono::milliseconds(3));
        world_.events.after(i == 0 ? Nanoseconds(0) : within, [this] { sessions_.arrive(); });
      }
      plan_clients();
    });
  }

  // The servers are well again, the last clients go, and everything is as at the beginning.
  void recover() {
    world_.note("the weather clears up");
    weather_.clear_up();
    descriptors_.stop();
    reloads_.stop();
    resolver_.stop();
    sessions_.send_home();
    look();
    run_until_quiet();
    const TimePoint since = world_.now();
    run_for(world_.scenario.recovery);
    demand(world_.observer.queue().queue().empty(), "somebody waits still");
    world_.observer.check_minimum(since, world_.now());
  }

  void survive_outage() {
    world_.note("all servers go");
    const Nanoseconds lasts =
        world_.chance.between(std::chrono::milliseconds(10), world_.scenario.recovery);
    weather_.outage(lasts);
    run_for(lasts);
    const TimePoint since = world_.now();
    run_for(world_.scenario.recovery);
    world_.observer.check_minimum(since, world_.now());
  }

  void shut_down() {
    for (std::uint32_t i = world_.chance.between(0U, 6U); i > 0; --i) {
      sessions_.arrive();
      look();
    }
    run_for(world_.chance.exponential(std::chrono::milliseconds(50)));
    world_.note("it shuts down");
    sessions_.shell().decide(world_.now(), [&](TimePoint, Actions& actions) {
      world_.observer.shuts_down();
      world_.ledger.shut_down(actions);
    });
    look();
    run_until_quiet();
    checks_.stop();
    while (!world_.events.empty()) step();
    world_.observer.check_end();
    demand(world_.connections.open() == 0, "% connections are never closed",
           world_.connections.open());
  }

  void run_until_quiet() {
    const TimePoint latest = world_.now() + 25 * world_.scenario.use +
                             4 * world_.scenario.recovery + std::chrono::seconds(60);
    while (sessions_.present() > 0) {
      demand(world_.events.next() <= latest, "% sessions never end", sessions_.present());
      step();
    }
  }
  void run_for(Nanoseconds time) {
    const TimePoint end = world_.now() + time;
    while (world_.events.next() <= end) step();
    world_.events.advance_to(end);
  }

  void step() {
    const TimePoint before = world_.now();
    world_.events.run_next();
    standstill_ = world_.now() == before ? standstill_ + 1 : 0;
    demand(standstill_ < most_at_once, "time stands still");
    look();
  }
  void look() { world_.observer.look(world_.ledger, world_.now()); }

  World world_;
  Sessions sessions_;
  Weather weather_;
  HealthChecks checks_;
  Resolver resolver_;
  Descriptors descriptors_;
  Reloads reloads_;
  bool is_stormy_ = true;
  std::uint32_t standstill_ = 0;  // so many events have happened at this moment
};

}  // namespace weir::pool
