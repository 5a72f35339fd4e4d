#include "pool/health.hpp"

namespace weir::pool {

Health::Change Health::record(bool success) {
  if (success == healthy_) {
    streak_ = 0;
    return Change::none;
  }
  ++streak_;
  if (streak_ < (healthy_ ? check_.unhealthy_after : check_.healthy_after)) return Change::none;
  healthy_ = success;
  streak_ = 0;
  return success ? Change::became_healthy : Change::became_unhealthy;
}

}  // namespace weir::pool
