#pragma once
// How long an endpoint is left alone after failures to open: a pause that doubles with each step,
// and a random share of it ("full jitter", Brooker, AWS Architecture Blog 2015), so that many
// proxies do not come back in one wave. Failures of the same moment are one step. Pure.

#include <algorithm>
#include <cstdint>

#include "config/config.hpp"
#include "pool/connection.hpp"

namespace weir::pool {

class Backoff {
 public:
  // `chance` is in [0, 1).
  void fail(const config::Backoff& limits, TimePoint now, double chance) {
    failing_ = true;
    failed_at_ = now;
    if (now < until_) return;
    if (steps_ == 0 || now - stepped_at_ >= limits.first) {
      ++steps_;
      stepped_at_ = now;
    }
    config::Duration pause = limits.first;
    for (std::uint32_t step = 1; step < steps_ && pause < limits.most; ++step) pause *= 2;
    pause = std::min(pause, limits.most);
    until_ = now + std::chrono::duration_cast<Nanoseconds>(pause * chance);
  }
  // A connection was opened: the next ones need not come one by one.
  void open() { failing_ = false; }
  // One that was opened then has proved itself: if that was after the last failure, the next one is
  // the first. What was opened before says nothing of new connections.
  bool proves(TimePoint opened_at) const { return steps_ == 0 || opened_at > failed_at_; }
  void prove(TimePoint opened_at) {
    if (!proves(opened_at)) return;
    steps_ = 0;
    until_ = {};
  }
  void reset() { *this = {}; }

  // Failing: one connection is tried at a time.
  bool failing() const { return failing_; }
  bool waits(TimePoint now) const { return now < until_; }
  TimePoint until() const { return until_; }
  std::uint32_t steps() const { return steps_; }

 private:
  TimePoint until_{};
  TimePoint stepped_at_{};
  TimePoint failed_at_{};  // the last time
  std::uint32_t steps_ = 0;
  bool failing_ = false;
};

}  // namespace weir::pool
