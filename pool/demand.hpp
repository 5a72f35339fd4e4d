#pragma once
// How many connections of an endpoint sessions take while one is being opened: what has to be ready
// so that none of them waits. That is the arrival rate times the time to open (Little's law), and
// because sessions come in bunches, the rate is the highest of recent spans that are each as long
// as an opening (its p95), forgotten by half every ten seconds. Pure.

#include <algorithm>
#include <cstddef>
#include <vector>

#include "pool/connection.hpp"

namespace weir::pool {

class Demand {
 public:
  void arrived(TimePoint now);
  // One that has arrived got nothing, and will arrive again.
  void arrived_in_vain() { arrivals_ = std::max(arrivals_ - 1, 0.0); }
  void opened(Nanoseconds took);
  // Sessions for each opening's time.
  double value(TimePoint now) const;
  Nanoseconds time_to_open() const { return span_; }

 private:
  double peak(TimePoint now) const;

  Nanoseconds span_{0};  // the p95 of the samples
  TimePoint span_began_;
  double arrivals_ = 0;  // in this span
  double peak_ = 0;      // of the spans before, as it was at peak_at_
  TimePoint peak_at_;
  std::vector<Nanoseconds> samples_;
  std::size_t sample_count_ = 0;
};

}  // namespace weir::pool
