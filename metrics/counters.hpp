#pragma once
// One number that its owner, one thread, moves and any thread may read. An increment is an
// ordinary add in memory: no locked instruction, no fence. Readers see each value whole, but not
// several values of one moment.

#include <atomic>
#include <cstdint>

namespace weir::metrics {

class Counter {
 public:
  void add(std::uint64_t n = 1) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
  }
  // For gauges that their owner also lowers.
  void subtract(std::uint64_t n = 1) noexcept {
    value_.store(value_.load(std::memory_order_relaxed) - n, std::memory_order_relaxed);
  }
  std::uint64_t value() const noexcept { return value_.load(std::memory_order_relaxed); }

 private:
  std::atomic<std::uint64_t> value_{0};
};

}  // namespace weir::metrics
