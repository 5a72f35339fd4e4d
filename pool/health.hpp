#pragma once
// The health of one endpoint, as its checks have shown it. An endpoint starts healthy until it is
// proven otherwise. Pure; the ledger feeds results in.

#include <cstdint>
#include <string>

#include "config/config.hpp"

namespace weir::pool {

class Health {
 public:
  explicit Health(const config::HealthCheck& check) : check_(check) {}

  enum class Change : std::uint8_t { none, became_healthy, became_unhealthy };
  Change record(bool success);

  bool healthy() const { return healthy_; }
  // When the next check is due: soon while results disagree with the state.
  config::Duration next_interval() const {
    return streak_ > 0 ? check_.fast_interval : check_.interval;
  }

 private:
  config::HealthCheck check_;
  bool healthy_ = true;
  std::uint32_t streak_ = 0;  // results in a row that contradict the state
};

}  // namespace weir::pool
