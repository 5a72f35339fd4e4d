// Other settings while the ledger is in use: what a reload changes.

#include <algorithm>
#include <set>
#include <string>
#include <type_traits>
#include <utility>

#include "pool/ledger.hpp"

namespace weir::pool {

using namespace std::chrono_literals;

std::size_t Ledger::taken_by_others(const config::Upstream& upstream) const {
  std::set<std::string> written;
  for (const config::Endpoint& each : upstream.endpoints) {
    if (each.kind == config::Endpoint::Kind::address) written.insert(each.address.text());
  }
  return static_cast<std::size_t>(std::ranges::count_if(seats_, [&](const Seat& seat) {
    const bool is_taken = seat.present || seat.counts.total() > 0;
    return is_taken && !written.contains(seat.endpoint->name);
  }));
}

void Ledger::configure(const config::Upstream& upstream, Generations generations,
                       std::size_t capacity, TimePoint now, Actions& actions) {
  const double open_rate_before = pool_.open_rate;
  config_ = upstream;
  generations_ = generations;
  // Their lists of connections stay where they are.
  static_assert(std::is_nothrow_move_constructible_v<Seat>);
  while (seats_.size() < capacity) seats_.emplace_back(config_, warming_on_.size(), now);
  for (EndpointIndex i = 0; i < seats_.size(); ++i) {
    Seat& seat = seats_[i];
    if (pool_.open_rate != open_rate_before) seat.tokens = TokenBucket(pool_.open_rate, now);
    if (config_.slow_start == 0s) seat.ramp_began = {};
    if (!warms() || seat.counts.idle >= pool_.min_idle) seat.catching_up = false;
    if (config_.ejection.failures == 0 && seat.ejection.ejected()) {
      seat.ejection.end(now);
      begin_catching_up(i, now, actions);
    }
    note_trouble(seat);
    seat.at_configure = seat.counts;
  }
  total_at_configure_ = total_;
  // Before anybody is served, which an endpoint does that is not checked any more.
  close_what_does_not_fit(actions);
  for (EndpointIndex i = 0; i < seats_.size(); ++i) configure_checks(i, now, actions);
  weigh_tiers(now);
  serve_queue(now, actions);
}

// Health is what was found out of an endpoint, and stays while somebody goes on to find it out.
void Ledger::configure_checks(EndpointIndex endpoint, TimePoint now, Actions& actions) {
  Seat& seat = seats_[endpoint];
  if (config_.health_check) {
    if (seat.health) {
      seat.health->follow(*config_.health_check);
    } else {
      seat.health.emplace(*config_.health_check);
    }
    return;
  }
  seat.health.reset();
  seat.check_words.clear();
  if (seat.present) {
    set_healthy(endpoint, true, now, actions);
  } else {
    seat.healthy = true;
  }
}

void Ledger::close_what_does_not_fit(Actions& actions) {
  const bool keeps_any = pool_.mode != config::PoolMode::off && pool_.max_idle > 0;
  for (Seat& seat : seats_) {
    for (ConnectionList& list : seat.idle) {
      for (auto next = list.begin(); next != list.end();) {
        Connection& connection = *next++;
        if (is_outdated(connection)) close_idle(connection, Closed::removed, actions);
      }
    }
    if (!keeps_any) close_all_idle(seat, Closed::surplus, actions);
    // Those that are being closed have no place to give up any more.
    const auto is_over = [&] {
      const std::uint32_t stays = seat.counts.total() - seat.counts.closing;
      return seat.counts.idle > pool_.max_idle ||
             (pool_.max_connections != 0 && stays > pool_.max_connections);
    };
    while (seat.counts.idle > 0 && is_over()) {
      close_idle(*oldest(seat, false), Closed::surplus, actions);
    }
  }
  while (pool_.max_total != 0 && idle_total_ > 0 && total_ - closing_total_ > pool_.max_total) {
    close_idle(longest_idle(), Closed::surplus, actions);
  }
}

void Ledger::reconsider(Connection& connection, TimePoint now, Actions& actions) {
  if (!connection.is_linked() || connection.ageing) return;
  connection.due = due_of(connection);
  if (connection.due <= now) expire(connection, now, actions);
}

}  // namespace weir::pool
