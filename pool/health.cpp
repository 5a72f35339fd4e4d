#include "pool/health.hpp"

namespace weir::pool {

Health::Change Health::record(bool success) {
  if (success == healthy_) {
    streak_ = 0;
    return Change::none;
  }
  ++streak_;
  if (streak_ < (healthy_ ? unhealthy_after_ : healthy_after_)) return Change::none;
  healthy_ = success;
  streak_ = 0;
  return success ? Change::became_healthy : Change::became_unhealthy;
}

}  // namespace weir::pool
