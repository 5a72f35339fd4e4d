// The pool's arithmetic: what a session costs in the ledger, and a choice in a balancer.

#include <benchmark/benchmark.h>

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "pool/balancer.hpp"
#include "tests/support/books.hpp"

namespace weir::pool {
namespace {

constexpr TimePoint now{std::chrono::hours(1)};

// One session of an upstream without warm connections: ask, open, lend, release.
void ledger_session(benchmark::State& state) {
  const auto endpoints = static_cast<std::size_t>(state.range(0));
  Ledger ledger(upstream(endpoints), endpoints, 1, now);
  Actions actions;
  Connection connection;
  for (auto _ : state) {
    auto asked = ledger.acquire(0, {}, 0, now, actions);
    const auto opening = std::move(std::get<Open>(actions.front()).opening);
    actions.clear();
    const auto placed = ledger.opened(*opening, connection, now, actions);
    ledger.released(opening->endpoint, Closed::consumed, now, actions);
    benchmark::DoNotOptimize(placed.where);
    actions.clear();
  }
}
BENCHMARK(ledger_session)->Arg(1)->Arg(10)->Arg(1000);

// One session that finds a warm connection, and the opening of the next.
void ledger_warm_session(benchmark::State& state) {
  std::vector<std::unique_ptr<Connection>> connections;  // outlive the ledger that lists them
  Ledger ledger(upstream(1, {.min_idle = 16, .anticipate = 0, .max_opening = 16}), 1, 1, now);
  Actions actions;
  std::vector<std::unique_ptr<Opening>> openings;
  std::vector<Connection*> spare;
  const auto open_all = [&] {
    for (Action& action : actions) openings.push_back(std::move(std::get<Open>(action).opening));
    actions.clear();
    while (!openings.empty()) {
      const auto opening = std::move(openings.back());
      openings.pop_back();
      if (spare.empty()) {
        connections.push_back(std::make_unique<Connection>());
        spare.push_back(connections.back().get());
      }
      ledger.opened(*opening, *spare.back(), now, actions);
      spare.pop_back();
    }
  };
  ledger.tick(now, actions);
  open_all();
  for (auto _ : state) {
    const auto asked = ledger.acquire(0, {}, 0, now, actions);
    open_all();
    ledger.released(asked.connection->endpoint, Closed::consumed, now, actions);
    spare.push_back(asked.connection);
  }
}
BENCHMARK(ledger_warm_session);

// An idle connection is lent and comes back (`mode: reset`), at so many endpoints.
void ledger_lend_and_return(benchmark::State& state, config::Balance balance) {
  const auto endpoints = static_cast<std::size_t>(state.range(0));
  std::vector<std::unique_ptr<Connection>> connections;  // outlive the ledger that lists them
  config::Upstream config =
      upstream(endpoints, {.mode = config::PoolMode::reset, .max_connections = 1, .min_idle = 1});
  config.balance = balance;
  Ledger ledger(config, endpoints, 1, now);
  Actions actions;
  ledger.tick(now, actions);
  for (Action& action : std::exchange(actions, {})) {
    connections.push_back(std::make_unique<Connection>());
    ledger.opened(*std::get<Open>(action).opening, *connections.back(), now, actions);
  }
  std::uint64_t key = 0;
  for (auto _ : state) {
    const auto asked = ledger.acquire(0, {}, key += 0x9e3779b97f4a7c15, now, actions);
    ledger.returned(*asked.connection, now, actions);
    for (const Action& action : actions) {
      if (std::holds_alternative<Open>(action)) state.SkipWithError("it opened another one");
    }
    actions.clear();
  }
}
BENCHMARK_CAPTURE(ledger_lend_and_return, round_robin, config::Balance::round_robin)
    ->Arg(1)
    ->Arg(1000);
BENCHMARK_CAPTURE(ledger_lend_and_return, least_connections, config::Balance::least_connections)
    ->Arg(1000);
BENCHMARK_CAPTURE(ledger_lend_and_return, random_two, config::Balance::random_two)->Arg(1000);
BENCHMARK_CAPTURE(ledger_lend_and_return, hash, config::Balance::hash)->Arg(1000);

std::vector<Balancer::Member> members(std::size_t count) {
  std::vector<Balancer::Member> result;
  for (std::size_t i = 0; i < count; ++i) {
    result.push_back({.name = "127.0.0.1:" + std::to_string(i + 1), .weight = 1, .tier = 0});
  }
  return result;
}

class AllUsable final : public Balancer::View {
 public:
  explicit AllUsable(std::uint32_t endpoints) : endpoints_(endpoints) {
    for (EndpointIndex i = 0; i < endpoints; ++i) tier_load_ += load(i);
  }
  bool usable(EndpointIndex) const override { return true; }
  std::uint32_t load(EndpointIndex endpoint) const override { return endpoint * 7919 % 101; }
  std::uint32_t tier() const override { return 0; }
  double tier_weight() const override { return endpoints_; }
  std::uint32_t tier_load() const override { return tier_load_; }

 private:
  std::uint32_t endpoints_;
  std::uint32_t tier_load_ = 0;
};

void balancer(benchmark::State& state, config::Balance kind) {
  const auto count = static_cast<std::uint32_t>(state.range(0));
  const auto balancer = Balancer::make(kind, members(count), 1);
  const AllUsable view(count);
  std::uint64_t key = 0;
  for (auto _ : state) {
    const auto picked = balancer->pick(view, key);
    balancer->eased(*picked, view.load(*picked));
    key += 0x9e3779b97f4a7c15;  // another client
  }
}
BENCHMARK_CAPTURE(balancer, round_robin, config::Balance::round_robin)->Arg(10)->Arg(1000);
BENCHMARK_CAPTURE(balancer, least_connections, config::Balance::least_connections)
    ->Arg(10)
    ->Arg(1000);
BENCHMARK_CAPTURE(balancer, random_two, config::Balance::random_two)->Arg(10)->Arg(1000);
BENCHMARK_CAPTURE(balancer, hash, config::Balance::hash)->Arg(10)->Arg(1000);

// What a change of the endpoints costs with `hash`, outside the ledger's lock.
void maglev_table(benchmark::State& state) {
  const auto all = members(static_cast<std::size_t>(state.range(0)));
  for (auto _ : state) {
    benchmark::DoNotOptimize(Balancer::make(config::Balance::hash, all, 1));
  }
}
BENCHMARK(maglev_table)->Arg(1000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace weir::pool
