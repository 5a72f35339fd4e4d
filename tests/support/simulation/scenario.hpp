#pragma once
// What one seed is about: a configuration over all keys of an upstream and its pool, as the
// validation would let it pass, and how rough the weather is. Times are drawn to fit each other: a
// scenario of hours has slow clocks, so that each takes about as many events. Pure.

#include <algorithm>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "tests/support/simulation/chance.hpp"

namespace weir::pool {

struct Scenario {
  config::Upstream upstream;
  std::size_t workers = 1;
  std::size_t capacity = 1;       // seats
  std::uint16_t written = 0;      // addresses: the ports from 1 on
  std::uint16_t servers = 0;      // all there may ever be; those above `written` DNS may find
  Nanoseconds storm{};            // how long there is weather
  std::size_t clients = 0;        // in that time
  Nanoseconds use{};              // of a connection, on average
  Nanoseconds round_trip{};       // to a server, on average
  bool calm_start = false;        // time to warm up before the first client
  bool has_weather = false;       // servers fail
  Nanoseconds server_patience{};  // a server closes what says nothing for so long; 0 = never
  bool is_skewed = false;         // most clients come to the first worker
  // Long enough, once all servers are well and no client is left, for everything to be well.
  Nanoseconds recovery{};
};

// For whoever reads a trace.
inline std::string words(const Scenario& scenario) {
  const config::Upstream& upstream = scenario.upstream;
  const config::Pool& pool = upstream.pool;
  std::string text;
  const auto add = [&](std::string_view name, auto value) {
    text += std::string(name) + ' ';
    if constexpr (requires { value.count(); }) {
      text += std::to_string(std::chrono::duration<double>(value).count()) + "s; ";
    } else {
      text += std::to_string(value) + "; ";
    }
  };
  add("workers", scenario.workers);
  add("mode (fresh, off, reset)", static_cast<int>(pool.mode));
  add("balance", static_cast<int>(upstream.balance));
  add("max_connections", pool.max_connections);
  add("max_total", pool.max_total);
  add("min_idle", pool.min_idle);
  add("max_idle", pool.max_idle);
  add("max_opening", pool.max_opening);
  add("open_rate", pool.open_rate);
  add("max_uses", pool.max_uses);
  add("max_waiting", pool.max_waiting);
  add("attempts", upstream.attempts);
  add("acquire_timeout", pool.acquire_timeout);
  add("connect_timeout", upstream.connect_timeout);
  add("backoff", pool.backoff.first);
  add("to", pool.backoff.most);
  add("ejection after", upstream.ejection.failures);
  add("for", upstream.ejection.duration);
  add("slow_start", upstream.slow_start);
  add("fresh_max_age", pool.fresh_max_age);
  add("max_lifetime", pool.max_lifetime);
  add("idle_timeout", pool.idle_timeout);
  add("health checks", upstream.health_check ? 1 : 0);
  for (const config::Endpoint& each : upstream.endpoints) {
    text += each.text() + " weight " + std::to_string(each.weight) + " tier " +
            std::to_string(each.tier) + "; ";
  }
  return text;
}

class ScenarioDraw {
 public:
  static Scenario draw(Chance& chance) {
    ScenarioDraw draw(chance);
    draw.draw_size();
    draw.draw_endpoints();
    draw.draw_upstream();
    draw.draw_pool();
    draw.draw_health();
    draw.fit_times();
    return std::move(draw.scenario_);
  }

 private:
  using Seconds = std::chrono::seconds;
  using Milliseconds = std::chrono::milliseconds;
  static constexpr Nanoseconds second = Seconds(1);

  explicit ScenarioDraw(Chance& chance) : chance_(chance), pool_(scenario_.upstream.pool) {}

  void draw_size() {
    scenario_.workers = chance_.pick<std::size_t>({1, 1, 2, 2, 3, 4});
    scenario_.storm = chance_.percent(40)   ? chance_.between(5 * second, 30 * second)
                      : chance_.percent(60) ? chance_.between(30 * second, 600 * second)
                                            : chance_.between(600 * second, 9000 * second);
    scenario_.clients = chance_.between(40U, 250U);
    const auto at_once = static_cast<Nanoseconds::rep>(chance_.between(1U, 12U));
    scenario_.use = scenario_.storm * at_once / static_cast<Nanoseconds::rep>(scenario_.clients);
    scenario_.round_trip = chance_.between(std::chrono::microseconds(200), Milliseconds(80));
    scenario_.calm_start = chance_.percent(50);
    scenario_.has_weather = chance_.percent(80);
    scenario_.is_skewed = chance_.percent(25);
  }

  void draw_endpoints() {
    config::Upstream& upstream = scenario_.upstream;
    const bool has_names = chance_.percent(35);
    const std::uint32_t tiers = chance_.percent(35) ? chance_.between(2U, 3U) : 1;
    scenario_.written = static_cast<std::uint16_t>(has_names             ? chance_.below(4)
                                                   : chance_.percent(30) ? 1
                                                                         : chance_.between(2U, 8U));
    for (std::uint16_t port = 1; port <= scenario_.written; ++port) {
      config::Endpoint& endpoint = upstream.endpoints.emplace_back();
      endpoint.address = address_of(port);
      endpoint.tier = static_cast<std::uint32_t>(chance_.below(tiers));
      endpoint.weight = draw_weight();
    }
    scenario_.servers = scenario_.written;
    scenario_.capacity = scenario_.written;
    if (!has_names) return;
    config::Endpoint& name = upstream.endpoints.emplace_back();
    name.kind =
        chance_.percent(50) ? config::Endpoint::Kind::name : config::Endpoint::Kind::service;
    name.address.host = "db.internal";
    name.tier = static_cast<std::uint32_t>(chance_.below(tiers));
    name.weight = draw_weight();
    scenario_.servers = static_cast<std::uint16_t>(scenario_.servers + 8);
    scenario_.capacity += chance_.percent(20) ? 4 : 10;
  }

  std::uint32_t draw_weight() {
    return chance_.percent(70) ? 1 : chance_.percent(12) ? 0 : chance_.between(1U, 4U);
  }

  void draw_upstream() {
    config::Upstream& upstream = scenario_.upstream;
    upstream.name = "api";
    // The table of `hash` takes long to make: it is drawn less often.
    upstream.balance =
        chance_.percent(8)
            ? config::Balance::hash
            : chance_.pick({config::Balance::round_robin, config::Balance::least_connections,
                            config::Balance::random_two});
    upstream.connect_timeout = chance_.milliseconds(Milliseconds(200), 5 * second);
    upstream.attempts = chance_.between(1U, 4U);
    upstream.ejection.failures = chance_.percent(40) ? 0 : chance_.between(1U, 4U);
    upstream.ejection.duration = chance_.milliseconds(Milliseconds(300), 5 * second);
    upstream.ejection.max_percent = chance_.pick<std::uint32_t>({10, 34, 50, 50, 75, 100});
    if (chance_.percent(30)) {
      upstream.slow_start = chance_.milliseconds(Milliseconds(200), 10 * second);
    }
    upstream.when_endpoint_removed =
        chance_.pick({config::WhenRemoved::drain, config::WhenRemoved::close});
    upstream.when_endpoint_unhealthy =
        chance_.pick({config::WhenUnhealthy::keep, config::WhenUnhealthy::close});
  }

  void draw_pool() {
    const std::uint32_t mode = chance_.between(1U, 10U);
    pool_.mode = mode <= 5   ? config::PoolMode::fresh
                 : mode <= 8 ? config::PoolMode::reset
                             : config::PoolMode::off;
    if (pool_.mode == config::PoolMode::reset) {
      pool_.reset =
          config::Reset{"RESET\r\n", "+RESET\r\n", chance_.milliseconds(Milliseconds(100), second)};
    } else if (chance_.percent(30)) {
      scenario_.upstream.proxy_protocol = config::SendProxy::v1;
    }
    pool_.max_connections = chance_.percent(40) ? 0 : chance_.between(1U, 6U);
    pool_.max_total = chance_.percent(60) ? 0 : chance_.between(1U, 14U);
    pool_.max_idle = chance_.percent(50) ? 64 : chance_.between(0U, 5U);
    const std::uint32_t most_idle =
        std::min({pool_.max_idle, 4U, pool_.max_connections == 0 ? 4U : pool_.max_connections});
    pool_.min_idle = chance_.percent(30) ? 0 : chance_.between(0U, most_idle);
    pool_.anticipate = chance_.pick({0.0, 1.0, 1.0, 2.5});
    pool_.max_opening = chance_.percent(30) ? 8 : chance_.between(1U, 4U);
    if (chance_.percent(35)) pool_.open_rate = 0.5 * std::exp(chance_.real() * 5);
    pool_.acquire_timeout =
        chance_.percent(15) ? Milliseconds(0) : chance_.milliseconds(Milliseconds(50), 8 * second);
    pool_.max_waiting = chance_.percent(40) ? chance_.between(0U, 8U) : 1024;
    pool_.max_uses = chance_.percent(60) ? 0 : chance_.between(1U, 6U);
    pool_.backoff.first = chance_.milliseconds(Milliseconds(10), second);
    pool_.backoff.most =
        std::max(pool_.backoff.first, chance_.milliseconds(Milliseconds(50), 15 * second));
  }

  void draw_health() {
    if (chance_.percent(30)) return;
    config::HealthCheck& check = scenario_.upstream.health_check.emplace();
    check.interval = chance_.milliseconds(Milliseconds(300), 5 * second);
    check.fast_interval = std::min(check.interval, chance_.milliseconds(Milliseconds(100), second));
    check.timeout = chance_.milliseconds(Milliseconds(200), 2 * second);
    check.healthy_after = chance_.between(1U, 3U);
    check.unhealthy_after = chance_.between(1U, 3U);
    // As many in an hour as in a minute.
    const auto slower =
        std::max<Nanoseconds>(check.interval, scenario_.storm * scenario_.capacity / 400);
    check.interval = std::chrono::duration_cast<config::Duration>(slower);
  }

  // What comes round on its own must not come round too often, nor sooner than it can be replaced.
  void fit_times() {
    const config::Upstream& upstream = scenario_.upstream;
    Nanoseconds health{};
    if (upstream.health_check) {
      const config::HealthCheck& check = *upstream.health_check;
      health = 2 * (check.interval + check.timeout) +
               (check.healthy_after + 1) * 2 * (check.fast_interval + check.timeout);
    }
    const Nanoseconds ejection =
        upstream.ejection.failures > 0 ? 10 * upstream.ejection.duration : Milliseconds(0);
    const std::uint32_t openings = pool_.min_idle + 2;
    const Nanoseconds rate =
        pool_.open_rate == 0
            ? Nanoseconds{}
            : Nanoseconds(static_cast<Nanoseconds::rep>(1e9 * openings / pool_.open_rate));
    const Nanoseconds warming = 2 * upstream.connect_timeout + 2 * pool_.backoff.most + 3 * second +
                                openings * (20 * scenario_.round_trip + second / 10) + rate;
    scenario_.recovery = health + ejection + warming + 8 * second;

    const Nanoseconds least = std::max({scenario_.recovery / 12, scenario_.storm / 40, 3 * rate});
    const auto draw_limit = [&](std::size_t often_none, Nanoseconds from, Nanoseconds to) {
      return chance_.percent(often_none)
                 ? Milliseconds(0)
                 : chance_.milliseconds(std::max(least, from), std::max(4 * least, to));
    };
    if (chance_.percent(20)) {
      scenario_.server_patience = draw_limit(0, second, 60 * second);
    }
    pool_.fresh_max_age = draw_limit(20, second, 25 * second);
    pool_.max_lifetime = draw_limit(40, 2 * second, 1800 * second);
    pool_.idle_timeout = draw_limit(15, second / 2, 60 * second);
  }

 public:
  static config::Address address_of(std::uint16_t port) {
    return {config::Address::Kind::ipv4, "10.0.0.1", port};
  }

 private:
  Chance& chance_;
  Scenario scenario_;
  config::Pool& pool_;
};

}  // namespace weir::pool
