#include "pool/demand.hpp"

#include <algorithm>
#include <cmath>

namespace weir::pool {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::duration<double> half_life = 10s;
// A shorter span would only measure how a burst was cut in pieces.
constexpr Nanoseconds shortest_span = 1ms;
// The percentile is worked out anew after so many openings.
constexpr std::size_t refresh_after = 8;

}  // namespace

void Demand::arrived(TimePoint now) {
  const Nanoseconds span = std::max(span_, shortest_span);
  if (now - span_began_ >= span) {
    peak_ = value(now);
    arrivals_ = 0;
    span_began_ = now;
  }
  ++arrivals_;
}

void Demand::opened(Nanoseconds took) {
  samples_[sample_count_ % most_samples] = took;
  ++sample_count_;
  if (sample_count_ > refresh_after && sample_count_ % refresh_after != 0) return;
  const std::size_t count = std::min(sample_count_, most_samples);
  auto sorted = samples_;
  const auto rank = static_cast<std::ptrdiff_t>((count * 95 + 99) / 100 - 1);
  std::nth_element(sorted.begin(), sorted.begin() + rank,
                   sorted.begin() + static_cast<std::ptrdiff_t>(count));
  span_ = sorted[static_cast<std::size_t>(rank)];
}

double Demand::value(TimePoint now) const {
  const bool over = now - span_began_ >= std::max(span_, shortest_span);
  const double age = over ? std::chrono::duration<double>(now - span_began_) / half_life : 0;
  return std::max(peak(now), arrivals_ * std::exp2(-age));
}

double Demand::peak(TimePoint now) const {
  return peak_ * std::exp2(-std::chrono::duration<double>(now - span_began_) / half_life);
}

}  // namespace weir::pool
