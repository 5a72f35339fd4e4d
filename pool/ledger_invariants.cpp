// The ledger's promises to itself, for tests and the simulation.

#include <algorithm>
#include <vector>

#include "pool/assert.hpp"
#include "pool/ledger.hpp"

namespace weir::pool {

void Ledger::check_invariants() const {
  std::uint32_t total = 0;
  std::uint32_t idle_total = 0;
  std::uint32_t closing_total = 0;
  std::uint32_t troubled = 0;
  std::uint64_t live = 0;
  for (const Seat& seat : seats_) {
    std::size_t idle = 0;
    for (const ConnectionList& list : seat.idle) {
      idle += list.size();
      for (const Connection& connection : list) {
        WEIR_ASSERT(!is_outdated(connection), "what is idle may be lent");
      }
    }
    WEIR_ASSERT(idle == seat.counts.idle, "idle connections are counted once");
    const EndpointCounts& before = seat.at_configure;
    WEIR_ASSERT(pool_.max_connections == 0 ||
                    seat.counts.total() <= std::max(pool_.max_connections, before.total()),
                "max_connections holds");
    WEIR_ASSERT(seat.counts.opening <= std::max(pool_.max_opening, before.opening),
                "max_opening holds");
    WEIR_ASSERT(seat.warming <= seat.counts.opening, "warming connections are opening");
    WEIR_ASSERT((seat.present && seat.healthy) || idle == 0,
                "who has left or is unhealthy has no idle connections");
    total += seat.counts.total();
    idle_total += seat.counts.idle;
    closing_total += seat.counts.closing;
    troubled += seat.troubled ? 1U : 0U;
    live += seat.counts.idle + seat.counts.leased;
  }
  std::vector<std::uint32_t> loads(tiers_.size());
  for (const Seat& seat : seats_) {
    if (takes_sessions(seat)) loads[seat.endpoint->tier] += load(seat);
  }
  for (std::size_t i = 0; i < loads.size(); ++i) {
    WEIR_ASSERT(loads[i] == tiers_[i].load, "a tier's load is that of its endpoints");
  }
  WEIR_ASSERT(total == total_, "the total is the sum of the endpoints");
  WEIR_ASSERT(idle_total == idle_total_, "so is that of idle ones");
  WEIR_ASSERT(closing_total == closing_total_, "and of those that are being closed");
  WEIR_ASSERT(troubled == troubled_, "endpoints in trouble are counted");
  WEIR_ASSERT(pool_.max_total == 0 || total_ <= std::max(pool_.max_total, total_at_configure_),
              "max_total holds");
  std::uint64_t closed = 0;
  for (const std::uint64_t count : closed_) closed += count;
  WEIR_ASSERT(opened_ == live + closed,
              "every opened connection is live or was closed for a reason");
  const auto starved =
      std::ranges::count_if(queue_, [](const Waiter& waiter) { return waiter.opening == nullptr; });
  WEIR_ASSERT(static_cast<std::uint32_t>(starved) == starved_, "starved waiters are counted");
}

}  // namespace weir::pool
