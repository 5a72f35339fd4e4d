#pragma once
// The health of one endpoint, as its checks have shown it. An endpoint starts healthy until it is
// proven otherwise. Pure; the ledger feeds results in.

#include <cstdint>
#include <string>

#include "config/config.hpp"

namespace weir::pool {

class Health {
 public:
  explicit Health(const config::HealthCheck& check)
      : interval_(check.interval),
        fast_interval_(check.fast_interval),
        healthy_after_(check.healthy_after),
        unhealthy_after_(check.unhealthy_after) {}

  // Other intervals and thresholds from now on; what was found out stays.
  void follow(const config::HealthCheck& check) {
    const Health before = *this;
    *this = Health(check);
    healthy_ = before.healthy_;
    streak_ = before.streak_;
  }

  enum class Change : std::uint8_t { none, became_healthy, became_unhealthy };
  Change record(bool success);

  bool healthy() const { return healthy_; }
  // When the next check is due: soon while results disagree with the state.
  config::Duration next_interval() const { return streak_ > 0 ? fast_interval_ : interval_; }

 private:
  config::Duration interval_;
  config::Duration fast_interval_;
  std::uint32_t healthy_after_;
  std::uint32_t unhealthy_after_;
  bool healthy_ = true;
  std::uint32_t streak_ = 0;  // results in a row that contradict the state
};

}  // namespace weir::pool
