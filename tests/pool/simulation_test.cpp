// The pool in any world: thousands of seeds, each a configuration with clients, servers, health
// checks, DNS and failures over virtual hours, and the pool's promises looked at after every event.
//
//   WEIR_SEEDS=10000 test_pool --gtest_filter='Simulation.*'    so many seeds
//   WEIR_SEED=17 test_pool --gtest_filter='Simulation.*'        this one, with all its events

#include <gtest/gtest.h>

#include <cstdlib>

#include "tests/support/simulation/simulation.hpp"

namespace weir::pool {
namespace {

std::optional<std::uint64_t> number_from(const char* variable) {
  const char* text = std::getenv(variable);
  if (text == nullptr) return std::nullopt;
  return std::strtoull(text, nullptr, 10);
}

TEST(Simulation, KeepsThePoolsPromisesInAnyWorld) {
  Trace::print_on_abort();
  if (const auto seed = number_from("WEIR_SEED")) {
    const auto broken = Simulation(*seed, true).run();
    ASSERT_FALSE(broken) << *broken;
    return;
  }
  const std::uint64_t seeds = number_from("WEIR_SEEDS").value_or(2000);
  std::uint64_t events = 0;
  Nanoseconds time{0};
  for (std::uint64_t seed = 1; seed <= seeds; ++seed) {
    Simulation simulation(seed);
    const auto broken = simulation.run();
    ASSERT_FALSE(broken) << *broken;
    events += simulation.events();
    time += simulation.time();
  }
  std::printf("%llu seeds, %llu events, %lld hours\n", static_cast<unsigned long long>(seeds),
              static_cast<unsigned long long>(events),
              static_cast<long long>(std::chrono::duration_cast<std::chrono::hours>(time).count()));
}

}  // namespace
}  // namespace weir::pool
