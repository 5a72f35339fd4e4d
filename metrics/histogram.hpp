#pragma once
// A histogram with fixed buckets: one thread observes, any thread reads. No lock, no allocation,
// integers only. A reader sees every number whole, but not all of one moment. The sum wraps after
// 2^64 ns, 584 years of added-up time, which Prometheus reads like a restart.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

#include "metrics/counters.hpp"

namespace weir::metrics {

// durations: 100 us to 100 s; bytes: 64 B to 1 GiB in powers of 8; rtt: 50 us to 5 s.
enum class Buckets : std::uint8_t { durations, bytes, rtt };

inline constexpr std::size_t most_bounds = 19;

// The upper bounds of a layout, in nanoseconds or in bytes, ascending. A value on a bound belongs
// to that bucket.
std::span<const std::uint64_t> bounds(Buckets layout);

class Histogram {
 public:
  explicit Histogram(Buckets layout) : layout_(layout) {}

  void observe(std::chrono::nanoseconds duration) noexcept;
  void observe_bytes(std::uint64_t bytes) noexcept { add(bytes); }

  Buckets layout() const { return layout_; }

 private:
  friend class HistogramSum;
  void add(std::uint64_t value) noexcept;

  // One more than there are bounds: the last is for what is above all of them.
  std::array<Counter, most_bounds + 1> counts_;
  Counter sum_;
  Buckets layout_;
};

// The sum of the histograms of several threads, for one scrape. A value of the one thread that
// makes it.
class HistogramSum {
 public:
  explicit HistogramSum(Buckets layout) : layout_(layout) {}

  // The histogram has this layout: buckets of different bounds do not add up.
  void add(const Histogram& histogram);

  Buckets layout() const { return layout_; }
  std::uint64_t count() const;
  // Of one bucket alone, not cumulative; the last is above all bounds.
  std::uint64_t count_in(std::size_t bucket) const { return counts_[bucket]; }
  // In seconds, or in bytes.
  double sum() const;
  // The upper bound of a bucket as it stands in its label.
  double upper_bound(std::size_t bucket) const;

 private:
  double in_unit(std::uint64_t value) const;

  std::array<std::uint64_t, most_bounds + 1> counts_{};
  std::uint64_t sum_ = 0;
  Buckets layout_;
};

}  // namespace weir::metrics
