#include "metrics/histogram.hpp"

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <limits>
#include <numeric>

namespace weir::metrics {
namespace {

constexpr std::uint64_t us = 1000;
constexpr std::uint64_t ms = 1000 * us;
constexpr std::uint64_t s = 1000 * ms;

// Padded to one less than a power of two with a bound that no value is above: the search is then
// the same five steps for each value and layout, without a branch to guess.
constexpr std::size_t padded_bounds = 31;
static_assert(most_bounds <= padded_bounds);

struct Layout {
  std::size_t count;
  std::array<std::uint64_t, padded_bounds> bounds;
};

template <std::size_t count>
constexpr Layout padded(const std::uint64_t (&bounds)[count]) {
  static_assert(count <= most_bounds);
  Layout layout{count, {}};
  layout.bounds.fill(std::numeric_limits<std::uint64_t>::max());
  std::ranges::copy(bounds, layout.bounds.begin());
  return layout;
}

// In the order of Buckets.
constexpr std::array<Layout, 3> layouts{
    padded({100 * us, 250 * us, 500 * us, 1 * ms, 2500 * us, 5 * ms, 10 * ms, 25 * ms, 50 * ms,
            100 * ms, 250 * ms, 500 * ms, 1 * s, 2500 * ms, 5 * s, 10 * s, 25 * s, 50 * s,
            100 * s}),
    padded({64, 512, 4096, 32768, 262144, 2097152, 16777216, 134217728, 1073741824}),
    padded({50 * us, 100 * us, 250 * us, 500 * us, 1 * ms, 2500 * us, 5 * ms, 10 * ms, 25 * ms,
            50 * ms, 100 * ms, 250 * ms, 500 * ms, 1 * s, 2500 * ms, 5 * s}),
};

const Layout& of(Buckets layout) {
  return layouts[static_cast<std::size_t>(layout)];
}

// How many bounds the value is above, which is the position of its bucket.
std::size_t bucket_of(const Layout& layout, std::uint64_t value) {
  std::size_t position = 0;
  for (std::size_t step = (padded_bounds + 1) / 2; step > 0; step /= 2) {
    position += step * static_cast<std::size_t>(layout.bounds[position + step - 1] < value);
  }
  return position;
}

}  // namespace

std::span<const std::uint64_t> bounds(Buckets layout) {
  return std::span(of(layout).bounds).first(of(layout).count);
}

// A clock that steps back is the kernel's doing, not ours: it counts as no time at all.
void Histogram::observe(std::chrono::nanoseconds duration) noexcept {
  add(static_cast<std::uint64_t>(std::max<std::int64_t>(0, duration.count())));
}

void Histogram::add(std::uint64_t value) noexcept {
  counts_[bucket_of(of(layout_), value)].add();
  sum_.add(value);
}

void HistogramSum::add(const Histogram& histogram) {
  if (histogram.layout() != layout_) {
    std::fputs("metrics: histograms of different buckets do not add up\n", stderr);
    std::abort();
  }
  for (std::size_t i = 0; i <= bounds(layout_).size(); ++i) {
    counts_[i] += histogram.counts_[i].value();
  }
  sum_ += histogram.sum_.value();
}

std::uint64_t HistogramSum::count() const {
  return std::accumulate(counts_.begin(), counts_.end(), std::uint64_t{0});
}

double HistogramSum::sum() const {
  return in_unit(sum_);
}

double HistogramSum::upper_bound(std::size_t bucket) const {
  return in_unit(bounds(layout_)[bucket]);
}

// A division rounds once; a product with 1e-9, which is no exact double, rounds twice.
double HistogramSum::in_unit(std::uint64_t value) const {
  const auto number = static_cast<double>(value);
  return layout_ == Buckets::bytes ? number : number / 1e9;
}

}  // namespace weir::metrics
