#include "metrics/histogram.hpp"

#include <algorithm>
#include <numeric>

namespace weir::metrics {
namespace {

constexpr std::uint64_t us = 1000;
constexpr std::uint64_t ms = 1000 * us;
constexpr std::uint64_t s = 1000 * ms;

constexpr std::array<std::uint64_t, most_bounds> duration_bounds{
    100 * us, 250 * us, 500 * us, 1 * ms,    2500 * us, 5 * ms, 10 * ms, 25 * ms, 50 * ms, 100 * ms,
    250 * ms, 500 * ms, 1 * s,    2500 * ms, 5 * s,     10 * s, 25 * s,  50 * s,  100 * s};

constexpr std::array<std::uint64_t, 9> byte_bounds{64,      512,      4096,      32768,     262144,
                                                   2097152, 16777216, 134217728, 1073741824};

constexpr std::array<std::uint64_t, 16> rtt_bounds{
    50 * us, 100 * us, 250 * us, 500 * us, 1 * ms,   2500 * us, 5 * ms,    10 * ms,
    25 * ms, 50 * ms,  100 * ms, 250 * ms, 500 * ms, 1 * s,     2500 * ms, 5 * s};

}  // namespace

std::span<const std::uint64_t> bounds(Buckets layout) {
  switch (layout) {
    case Buckets::bytes:
      return byte_bounds;
    case Buckets::rtt:
      return rtt_bounds;
    case Buckets::durations:
      break;
  }
  return duration_bounds;
}

void Histogram::observe(std::chrono::nanoseconds duration) noexcept {
  add(static_cast<std::uint64_t>(std::max<std::int64_t>(0, duration.count())));
}

void Histogram::add(std::uint64_t value) noexcept {
  const std::span<const std::uint64_t> limits = bounds(layout_);
  const auto bucket = std::ranges::lower_bound(limits, value) - limits.begin();
  counts_[static_cast<std::size_t>(bucket)].add();
  sum_.add(value);
}

void HistogramSum::add(const Histogram& histogram) {
  for (std::size_t i = 0; i <= bounds(layout_).size(); ++i) {
    counts_[i] += histogram.counts_[i].value();
  }
  sum_ += histogram.sum_.value();
}

std::uint64_t HistogramSum::count() const {
  return std::accumulate(counts_.begin(), counts_.end(), std::uint64_t{0});
}

double HistogramSum::sum() const {
  return static_cast<double>(sum_) * unit();
}

double HistogramSum::upper_bound(std::size_t bucket) const {
  const auto bound = static_cast<double>(bounds(layout_)[bucket]);
  return layout_ == Buckets::bytes ? bound : bound / 1e9;
}

}  // namespace weir::metrics
