#pragma once
// Lets events through at a rate, with a burst of a tenth of a second's worth (one, at least). Pure.

#include <algorithm>

#include "pool/connection.hpp"

namespace weir::pool {

class TokenBucket {
 public:
  // Events a second; 0 = no limit.
  TokenBucket(double rate, TimePoint now)
      : rate_(rate), most_(std::max(1.0, rate / 10)), tokens_(most_), filled_at_(now) {}

  bool has_one(TimePoint now) const { return rate_ == 0 || tokens(now) >= 1.0; }
  void take(TimePoint now) {
    if (rate_ == 0) return;
    tokens_ = tokens(now) - 1.0;
    filled_at_ = now;
  }
  // When has_one() is true again, a little late rather than early.
  TimePoint next(TimePoint now) const {
    if (has_one(now)) return now;
    const std::chrono::duration<double> wait((1.0 - tokens(now)) / rate_);
    return now + std::chrono::duration_cast<Nanoseconds>(wait) + Nanoseconds(1000);
  }

 private:
  double tokens(TimePoint now) const {
    const std::chrono::duration<double> passed = now - filled_at_;
    return std::min(most_, tokens_ + passed.count() * rate_);
  }

  double rate_;
  double most_;
  double tokens_;
  TimePoint filled_at_;
};

}  // namespace weir::pool
