// Deadlines, routes and a scrape.

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <memory>
#include <vector>

#include "proxy/deadlines.hpp"
#include "proxy/figures.hpp"
#include "proxy/route.hpp"
#include "tests/support/books.hpp"

namespace weir::proxy {
namespace {

class Ignored final : public Deadline {
  void expired(TimePoint) override {}
};

// What each byte costs in the wheel: a set deadline moves to a later time.
void move_deadline(benchmark::State& state) {
  TimePoint now{std::chrono::hours(1)};
  Deadlines deadlines(now);
  std::vector<Ignored> all(static_cast<std::size_t>(state.range(0)));
  for (Ignored& each : all) each.set(deadlines, now + std::chrono::seconds(60));
  std::size_t next = 0;
  for (auto _ : state) {
    now += std::chrono::nanoseconds(100);
    all[next].set(deadlines, now + std::chrono::seconds(60));
    next = next + 1 == all.size() ? 0 : next + 1;
  }
}
BENCHMARK(move_deadline)->Arg(1)->Arg(1000)->Arg(100'000);

// What a session costs in it: set and cleared.
void set_deadline(benchmark::State& state) {
  const TimePoint now{std::chrono::hours(1)};
  Deadlines deadlines(now);
  std::vector<Ignored> all(static_cast<std::size_t>(state.range(0)));
  for (Ignored& each : all) each.set(deadlines, now + std::chrono::seconds(60));
  Ignored one;
  for (auto _ : state) {
    one.set(deadlines, now + std::chrono::seconds(30));
    one.clear();
  }
}
BENCHMARK(set_deadline)->Arg(1000)->Arg(100'000);

// The last of many routes by server name.
void match_route(benchmark::State& state) {
  std::vector<config::Upstream> upstreams(1);
  upstreams[0].name = "api";
  config::Listener listener;
  listener.upstream = "api";
  for (std::int64_t i = 0; i < state.range(0); ++i) {
    config::Route& route = listener.routes.emplace_back();
    route.upstream = "api";
    route.match.server_name = {fmt::format("host{}.example", i)};
  }
  const RouteTable table(listener, by_position(upstreams));
  const std::string name = fmt::format("host{}.example", state.range(0) - 1);
  const std::vector<std::string_view> protocols{"h2"};
  const SocketAddress client;
  for (auto _ : state) benchmark::DoNotOptimize(table.choose(name, protocols, client));
}
BENCHMARK(match_route)->Arg(10)->Arg(1000);

class NoHost final : public WorkerHost, public pool::Workers {
 public:
  void send_connection(pool::WorkerIndex, pool::Upstream&, std::unique_ptr<ServerConnection>,
                       std::shared_ptr<pool::Waiter>, pool::Source) override {}
  void worker_is_empty() override {}
  void perform(pool::Upstream&, pool::Action) override {}
};

// The text of /metrics.
void scrape(benchmark::State& state) {
  const auto config = std::make_shared<config::Config>();
  config->upstreams.push_back(pool::upstream(static_cast<std::size_t>(state.range(0))));
  NoHost host;
  Shared shared;
  AccessLog access_log(config->access_log, 1);
  GrowingTable<std::unique_ptr<pool::Upstream>> upstreams(1);
  upstreams[0] = std::make_unique<pool::Upstream>(
      config->upstreams[0], 0, 1, static_cast<pool::Workers&>(host), pool::TimePoint());
  std::vector<std::unique_ptr<Worker>> workers;
  workers.push_back(
      std::make_unique<Worker>(0, shared, static_cast<WorkerHost&>(host), access_log));
  workers[0]->add_upstream(*upstreams[0]);
  EndpointBooks endpoints(workers);
  endpoints.open(*upstreams[0]);
  boost::asio::io_context io;
  Discoverer discoverer(io, {});
  discoverer.follow({{upstreams[0].get(), config->upstreams.data(), false}});
  InForce in_force;
  in_force.config = config;
  in_force.upstreams = {0};
  const FigureSources sources{in_force,  {},         workers, upstreams, access_log,
                              endpoints, discoverer, {},      {}};
  std::size_t bytes = 0;
  for (auto _ : state) bytes += render_figures(sources).size();
  state.SetBytesProcessed(static_cast<std::int64_t>(bytes));
}
BENCHMARK(scrape)->Arg(10)->Arg(1000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace weir::proxy
