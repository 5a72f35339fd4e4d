#pragma once
// Other settings for the pool while it is in use, as a reload brings them
// (proxy/server_reload.cpp): limits, times, modes, checks, the balancer. The endpoints stay.
// Its chance is its own, so that a seed's world is the same without reloads.

#include <algorithm>

#include "tests/support/simulation/surroundings.hpp"

namespace weir::pool {

class Reloads {
 public:
  Reloads(World& world, Shell& shell, HealthChecks& checks, Resolver& resolver, std::uint64_t seed)
      : world_(world),
        shell_(shell),
        checks_(checks),
        resolver_(resolver),
        chance_(seed ^ 0x5e70ad5) {}

  void start() {
    if (chance_.percent(40)) plan();
  }
  void stop() { is_over_ = true; }

 private:
  void plan() {
    world_.events.after(chance_.exponential(world_.scenario.storm / 6), [this] {
      if (is_over_) return;
      reload();
      plan();
    });
  }

  void reload() {
    const config::Upstream before = world_.scenario.upstream;
    draw();
    const config::Upstream& now = world_.scenario.upstream;
    Generations& generations = world_.generations;
    if (chance_.percent(60) || before.pool.mode != now.pool.mode) ++generations.newest;
    const bool other_reset =
        before.pool.mode == config::PoolMode::reset && now.pool.mode != config::PoolMode::reset;
    if (other_reset || chance_.percent(20)) generations.oldest_lent = generations.newest;
    world_.configured_at = world_.now();
    world_.note("other settings, of generation %, lent from % on", generations.newest,
                generations.oldest_lent);
    checks_.configured();
    shell_.decide(world_.now(), [&](TimePoint time, Actions& actions) {
      world_.observer.configures(generations, time);
      world_.ledger.configure(now, generations, world_.scenario.capacity, time, actions);
    });
    world_.observer.has_configured();
    shell_.reconsider();
    resolver_.configured();
  }

  // All or some of another scenario's.
  void draw() {
    Scenario other = ScenarioDraw::draw(chance_);
    Scenario& scenario = world_.scenario;
    config::Upstream& upstream = scenario.upstream;
    other.upstream.name = upstream.name;
    other.upstream.endpoints = upstream.endpoints;
    other.upstream.dns = upstream.dns;
    other.upstream.proxy_protocol = upstream.proxy_protocol;
    // A header names one client.
    const bool is_named = upstream.proxy_protocol != config::SendProxy::off;
    if (is_named && other.upstream.pool.mode == config::PoolMode::reset) {
      other.upstream.pool.mode = config::PoolMode::fresh;
    }
    if (chance_.percent(30)) other.upstream.pool = upstream.pool;
    if (chance_.percent(30)) other.upstream.health_check = upstream.health_check;
    if (upstream.balance != config::Balance::hash) other.upstream.balance = upstream.balance;
    upstream = other.upstream;
    scenario.recovery = std::max(scenario.recovery, other.recovery);
    if (chance_.percent(25)) scenario.capacity += chance_.between(1U, 3U);
  }

  World& world_;
  Shell& shell_;
  HealthChecks& checks_;
  Resolver& resolver_;
  Chance chance_;
  bool is_over_ = false;
};

}  // namespace weir::pool
