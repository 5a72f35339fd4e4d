// What counting costs where bytes move.

#include <benchmark/benchmark.h>

#include "metrics/counters.hpp"
#include "metrics/histogram.hpp"

namespace weir::metrics {
namespace {

void counter(benchmark::State& state) {
  Counter counter;
  for (auto _ : state) {
    counter.add(1);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(counter);

void histogram(benchmark::State& state) {
  Histogram histogram(Buckets::durations);
  std::chrono::nanoseconds duration(100);
  for (auto _ : state) {
    histogram.observe(duration);
    duration = std::chrono::nanoseconds(duration.count() * 3 % 1'000'000'007);
    benchmark::ClobberMemory();
  }
}
BENCHMARK(histogram);

}  // namespace
}  // namespace weir::metrics
