#include "pool/demand.hpp"

#include <algorithm>
#include <cmath>

namespace weir::pool {
namespace {

using namespace std::chrono_literals;

constexpr std::chrono::duration<double> half_life = 10s;
// What is younger than this counts in full.
constexpr Nanoseconds no_age = 100ms;
// A shorter span would only measure how a burst was cut in pieces.
constexpr Nanoseconds shortest_span = 1ms;
constexpr std::size_t most_samples = 64;
// The percentile is worked out anew after so many openings.
constexpr std::size_t refresh_after = 8;

double decayed(double value, Nanoseconds age) {
  if (age < no_age) return value;
  return value * std::exp2(-std::chrono::duration<double>(age) / half_life);
}

}  // namespace

void Demand::arrived(TimePoint now) {
  if (now - span_began_ >= std::max(span_, shortest_span)) {
    const double before = peak(now);
    if (arrivals_ >= before || now - peak_at_ >= no_age) {
      peak_ = std::max(decayed(arrivals_, now - span_began_), before);
      peak_at_ = now;
    }
    arrivals_ = 0;
    span_began_ = now;
  }
  ++arrivals_;
}

void Demand::opened(Nanoseconds took) {
  if (samples_.size() < most_samples) {
    samples_.push_back(took);
  } else {
    samples_[sample_count_ % most_samples] = took;
  }
  ++sample_count_;
  if (sample_count_ > refresh_after && sample_count_ % refresh_after != 0) return;
  auto sorted = samples_;
  const std::size_t rank = (sorted.size() * 95 + 99) / 100 - 1;
  std::nth_element(sorted.begin(), sorted.begin() + static_cast<std::ptrdiff_t>(rank),
                   sorted.end());
  span_ = sorted[rank];
}

double Demand::value(TimePoint now) const {
  const bool over = now - span_began_ >= std::max(span_, shortest_span);
  return std::max(peak(now), over ? decayed(arrivals_, now - span_began_) : arrivals_);
}

double Demand::peak(TimePoint now) const {
  return decayed(peak_, now - peak_at_);
}

}  // namespace weir::pool
