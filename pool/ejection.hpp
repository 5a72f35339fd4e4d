#pragma once
// Passes an endpoint over for a while after real sessions failed to connect to it, one after the
// other. Each ejection that follows the last one within ten durations lasts twice as long, up to
// ten times the first. Whether as many may be ejected is the ledger's to know. Pure.

#include <algorithm>
#include <cstdint>

#include "config/config.hpp"
#include "pool/connection.hpp"

namespace weir::pool {

class Ejection {
 public:
  // True when it is time: `failures` in a row.
  bool fail(const config::Ejection& limits) {
    ++failures_;
    return limits.failures > 0 && failures_ >= limits.failures && !ejected_;
  }
  void succeed() { failures_ = 0; }

  void begin(const config::Ejection& limits, TimePoint now) {
    const bool again = times_ > 0 && now - until_ < 10 * limits.duration;
    times_ = again ? times_ + 1 : 1;
    const auto factor = std::min<std::int64_t>(1LL << std::min(times_ - 1, 8U), 10);
    until_ = now + limits.duration * factor;
    ejected_ = true;
  }
  // It is back: the full number of failures is needed again.
  void end(TimePoint now) {
    ejected_ = false;
    failures_ = 0;
    until_ = std::min(until_, now);
  }

  bool ejected() const { return ejected_; }
  TimePoint until() const { return until_; }

 private:
  std::uint32_t failures_ = 0;  // in a row
  std::uint32_t times_ = 0;     // ejections in a row
  bool ejected_ = false;
  TimePoint until_{};  // the end of this one, or of the last
};

}  // namespace weir::pool
