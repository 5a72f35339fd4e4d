// Loading a large configuration.

#include <benchmark/benchmark.h>
#include <fmt/format.h>

#include <algorithm>
#include <string>

#include "config/reader.hpp"

namespace weir::config {
namespace {

// One listener, and upstreams with an endpoint each, in some `lines` lines.
std::string text_of(std::int64_t lines) {
  std::string text =
      "version: 1\nlisteners:\n  web: { bind: \"127.0.0.1:0\", mode: tcp, upstream: u0 }\n"
      "upstreams:\n";
  for (std::int64_t i = 0; i < lines / 4; ++i) {
    text += fmt::format(
        "  u{}:\n    endpoints:\n      - address: \"127.0.{}.{}:8080\"\n        weight: 1\n", i,
        i / 250 % 250, i % 250 + 1);
  }
  return text;
}

void load(benchmark::State& state) {
  const std::string text = text_of(state.range(0));
  for (auto _ : state) {
    const LoadResult result = load_text(text, "large.yaml");
    if (!result.config) state.SkipWithError("the configuration is refused");
  }
  state.SetItemsProcessed(state.iterations() * std::ranges::count(text, '\n'));
}
void show(benchmark::State& state) {
  const std::string text = text_of(state.range(0));
  for (auto _ : state) benchmark::DoNotOptimize(show_text(text, "large.yaml", true));
  state.SetItemsProcessed(state.iterations() * std::ranges::count(text, '\n'));
}

BENCHMARK(load)->Arg(20'000)->Unit(benchmark::kMillisecond);
BENCHMARK(show)->Arg(20'000)->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace weir::config
