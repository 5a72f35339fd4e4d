#include "metrics/histogram.hpp"

#include <gtest/gtest.h>

#include <limits>
#include <thread>
#include <vector>

namespace weir::metrics {
namespace {

using namespace std::chrono_literals;

constexpr Buckets all_layouts[] = {Buckets::durations, Buckets::bytes, Buckets::rtt};

void observe(Histogram& histogram, std::uint64_t value) {
  if (histogram.layout() == Buckets::bytes) {
    histogram.observe_bytes(value);
  } else {
    histogram.observe(std::chrono::nanoseconds(value));
  }
}

HistogramSum sum_of(const Histogram& histogram) {
  HistogramSum sum(histogram.layout());
  sum.add(histogram);
  return sum;
}

TEST(Histogram, CountsAValueOnABoundaryInThatBucket) {
  for (const Buckets layout : all_layouts) {
    for (std::size_t i = 0; i < bounds(layout).size(); ++i) {
      Histogram histogram(layout);
      observe(histogram, bounds(layout)[i] - 1);
      observe(histogram, bounds(layout)[i]);
      observe(histogram, bounds(layout)[i] + 1);
      const HistogramSum sum = sum_of(histogram);
      EXPECT_EQ(sum.count_in(i), 2U) << i;
      EXPECT_EQ(sum.count_in(i + 1), 1U) << i;
      EXPECT_EQ(sum.count(), 3U) << i;
    }
  }
}

TEST(Histogram, CountsWhatIsAboveAllBoundsInTheLastBucket) {
  for (const Buckets layout : all_layouts) {
    Histogram histogram(layout);
    observe(histogram, std::numeric_limits<std::int64_t>::max());
    EXPECT_EQ(sum_of(histogram).count_in(bounds(layout).size()), 1U);
  }
  Histogram histogram(Buckets::bytes);
  histogram.observe_bytes(std::numeric_limits<std::uint64_t>::max());
  EXPECT_EQ(sum_of(histogram).count_in(bounds(Buckets::bytes).size()), 1U);
}

TEST(Histogram, CountsATimeBelowZeroAsNone) {
  Histogram histogram(Buckets::durations);
  histogram.observe(0ns);
  histogram.observe(-5s);
  EXPECT_EQ(sum_of(histogram).count_in(0), 2U);
  EXPECT_EQ(sum_of(histogram).sum(), 0.0);
}

TEST(Histogram, HasTheBoundsOfTheContract) {
  const std::vector<std::uint64_t> decades{
      100'000,        250'000,        500'000,        1'000'000,      2'500'000,
      5'000'000,      10'000'000,     25'000'000,     50'000'000,     100'000'000,
      250'000'000,    500'000'000,    1'000'000'000,  2'500'000'000,  5'000'000'000,
      10'000'000'000, 25'000'000'000, 50'000'000'000, 100'000'000'000};
  const auto durations = bounds(Buckets::durations);
  EXPECT_EQ(std::vector(durations.begin(), durations.end()), decades);

  const auto bytes = bounds(Buckets::bytes);
  ASSERT_EQ(bytes.size(), 9U);
  for (std::size_t i = 0; i < bytes.size(); ++i) EXPECT_EQ(bytes[i], 64ULL << (3 * i));

  const auto rtt = bounds(Buckets::rtt);
  EXPECT_EQ(rtt.front(), 50'000U);
  EXPECT_EQ(std::vector(rtt.begin() + 1, rtt.end()),
            std::vector(decades.begin(), decades.begin() + 15));
}

TEST(Histogram, IsCompact) {
  EXPECT_LE(sizeof(Histogram), (most_bounds + 3) * sizeof(std::uint64_t));
}

TEST(HistogramSum, AddsTheWorkers) {
  Histogram one(Buckets::bytes);
  Histogram two(Buckets::bytes);
  one.observe_bytes(64);
  one.observe_bytes(1000);
  two.observe_bytes(1000);
  HistogramSum sum(Buckets::bytes);
  sum.add(one);
  sum.add(two);
  EXPECT_EQ(sum.count(), 3U);
  EXPECT_EQ(sum.count_in(0), 1U);
  EXPECT_EQ(sum.count_in(2), 2U);
  EXPECT_EQ(sum.sum(), 2064.0);
}

TEST(HistogramSum, IsEmptyWithoutWorkers) {
  const HistogramSum sum(Buckets::rtt);
  EXPECT_EQ(sum.count(), 0U);
  EXPECT_EQ(sum.sum(), 0.0);
}

TEST(HistogramSum, IsInSecondsOrInBytes) {
  Histogram histogram(Buckets::durations);
  histogram.observe(1500ms);
  EXPECT_EQ(sum_of(histogram).sum(), 1.5);
  EXPECT_EQ(sum_of(histogram).upper_bound(0), 0.0001);
  Histogram short_time(Buckets::rtt);
  short_time.observe(11ms);
  EXPECT_EQ(sum_of(short_time).sum(), 0.011);
  EXPECT_EQ(HistogramSum(Buckets::bytes).upper_bound(0), 64.0);
}

TEST(HistogramSum, RefusesOtherBuckets) {
  const Histogram bytes(Buckets::bytes);
  HistogramSum durations(Buckets::durations);
  EXPECT_DEATH(durations.add(bytes), "do not add up");
}

TEST(Histogram, IsReadWhileItsOwnerObserves) {
  constexpr std::uint64_t count = 100'000;
  Histogram histogram(Buckets::durations);
  std::thread owner([&] {
    for (std::uint64_t i = 0; i < count; ++i) histogram.observe(1ms);
  });
  std::uint64_t last = 0;
  while (last < count) {
    const std::uint64_t now = sum_of(histogram).count();
    ASSERT_GE(now, last);
    last = now;
  }
  owner.join();
  EXPECT_EQ(last, count);
}

}  // namespace
}  // namespace weir::metrics
