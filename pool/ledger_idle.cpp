// The idle half of the ledger: what is kept ready, how it ages, and where a connection goes that
// nobody has.

#include <algorithm>

#include "pool/ledger.hpp"

namespace weir::pool {
namespace {

using namespace std::chrono_literals;

// A replacement has this long to arrive before the connection it replaces closes anyway.
constexpr config::Duration replacement_time = 2s;

// How long warming pauses after failures in a row: 100 ms doubled each time, up to 15 s, and a
// random share of that, so that many proxies do not come back in one wave.
constexpr Nanoseconds first_pause = 100ms;
constexpr Nanoseconds longest_pause = 15s;

// An endpoint that closes what it has just accepted is not a healthy one: a warmed connection
// proves itself by being lent, or by living this long.
constexpr config::Duration proving_time = 1s;

}  // namespace

std::optional<config::Duration> Ledger::expire(Connection& connection, Expiry expiry, TimePoint now,
                                               Actions& actions) {
  if (!connection.is_linked()) return std::nullopt;
  Seat& seat = seats_[connection.endpoint];
  const bool needed = seat.counts.idle <= pool_.min_idle && seat.healthy && !shutting_down_;
  if (expiry == Expiry::idle_timeout && needed) return pool_.idle_timeout;
  if (expiry == Expiry::fresh_age && needed && !connection.ageing && may_open(seat)) {
    connection.ageing = true;
    ++seat.ageing;
    warm_endpoint(connection.endpoint, now, actions);
    return replacement_time;
  }
  const Closed why = expiry == Expiry::idle_timeout ? Closed::idle_timeout : Closed::fresh_age;
  idle_lost(connection, why, now, actions);
  actions.emplace_back(Close{&connection, why});
  return std::nullopt;
}

void Ledger::warm(TimePoint now, Actions& actions) {
  serve_queue(now, actions);
  if (pool_.min_idle == 0) return;
  for (EndpointIndex i = 0; i < seats_.size(); ++i) warm_endpoint(i, now, actions);
}

void Ledger::shut_down(Actions& actions) {
  shutting_down_ = true;
  for (Seat& seat : seats_) {
    for (ConnectionList& list : seat.idle) {
      while (!list.empty()) {
        Connection& connection = list.front();
        remove_idle(connection);
        --total_;
        count_closed(Closed::shutdown);
        actions.emplace_back(Close{&connection, Closed::shutdown});
      }
    }
  }
}

std::uint32_t Ledger::idle_target(EndpointIndex endpoint) const {
  return seats_[endpoint].healthy && !shutting_down_ ? pool_.min_idle : 0;
}

// The newest one of the preferred worker, or else of the worker that has most.
Connection* Ledger::take_idle(EndpointIndex endpoint, WorkerIndex preferred) {
  Seat& seat = seats_[endpoint];
  if (seat.counts.idle == 0) return nullptr;
  ConnectionList* list = &seat.idle[preferred];
  if (list->empty()) {
    list = &*std::ranges::max_element(
        seat.idle, {}, [](const ConnectionList& of_worker) { return of_worker.size(); });
  }
  Connection& connection = list->back();
  remove_idle(connection);
  return &connection;
}

void Ledger::remove_idle(Connection& connection) {
  Seat& seat = seats_[connection.endpoint];
  ConnectionList& list = seat.idle[connection.worker];
  list.erase(list.iterator_to(connection));
  --seat.counts.idle;
  if (connection.ageing) {
    connection.ageing = false;
    --seat.ageing;
  }
}

// A connection that is counted as leased and that nobody has.
Ledger::Placed Ledger::place(Connection& connection, TimePoint now, Actions& actions) {
  Seat& seat = seats_[connection.endpoint];
  if (seat.healthy) {
    if (Waiter* next = recipient(connection.worker)) {
      const std::shared_ptr<Waiter> waiter = next->self;
      dequeue(*waiter);
      orphan(*waiter);
      waiter->state = Waiter::State::granted;
      serve_queue(now, actions);
      return {Placed::Where::waiter, waiter};
    }
  }
  --seat.counts.leased;
  eased(connection.endpoint);
  const bool keep = pool_.mode == config::PoolMode::fresh && seat.healthy && !shutting_down_ &&
                    pool_.max_idle > 0;
  if (!keep) {
    --total_;
    count_closed(shutting_down_ ? Closed::shutdown
                 : seat.healthy ? Closed::surplus
                                : Closed::unhealthy);
    if (!seat.healthy) fail_hopeless(actions);
    serve_queue(now, actions);
    return {Placed::Where::nobody, nullptr};
  }
  connection.idle_since = now;
  ++seat.counts.idle;
  seat.idle[connection.worker].push_back(connection);
  // The oldest one goes: a surplus, or the one whose replacement this is.
  const bool replaces = seat.ageing > 0;
  if (replaces || seat.counts.idle > pool_.max_idle) {
    Connection* oldest = nullptr;
    for (ConnectionList& list : seat.idle) {
      for (Connection& idle : list) {
        if (replaces && !idle.ageing) continue;
        if (oldest == nullptr || idle.opened_at < oldest->opened_at) oldest = &idle;
      }
    }
    const Closed why = replaces ? Closed::fresh_age : Closed::surplus;
    remove_idle(*oldest);
    --total_;
    count_closed(why);
    actions.emplace_back(Close{oldest, why});
    serve_queue(now, actions);
  }
  return {Placed::Where::idle, nullptr};
}

bool Ledger::has_proved(const Connection& connection, TimePoint now) {
  return now - connection.opened_at >= proving_time;
}

void Ledger::pause_warming(Seat& seat, TimePoint now) {
  // Failures of one moment are one step of the pause.
  if (now < seat.warm_after) return;
  const Nanoseconds most =
      std::min<Nanoseconds>(first_pause * (1LL << std::min(seat.failures, 8U)), longest_pause);
  ++seat.failures;
  const auto range = static_cast<double>((random_.max)() - (random_.min)());
  const double share = static_cast<double>(random_() - (random_.min)()) / range;
  seat.warm_after = now + std::chrono::duration_cast<Nanoseconds>(most * (0.5 + share / 2));
}

void Ledger::warm_endpoint(EndpointIndex endpoint, TimePoint now, Actions& actions) {
  Seat& seat = seats_[endpoint];
  if (pool_.min_idle == 0 || pool_.mode == config::PoolMode::off || shutting_down_) return;
  if (!seat.healthy || now < seat.warm_after || starved_ > 0) return;
  for (const ConnectionList& list : seat.idle) {
    if (!list.empty() && has_proved(list.front(), now)) seat.failures = 0;
  }
  while (seat.counts.idle + seat.warming < pool_.min_idle + seat.ageing && may_open(seat)) {
    start(endpoint, poorest_worker(seat), nullptr, now, actions);
    // After a failure one connection is tried before all are.
    if (seat.failures > 0) return;
  }
}

WorkerIndex Ledger::poorest_worker(const Seat& seat) const {
  WorkerIndex poorest = 0;
  for (WorkerIndex i = 1; i < seat.idle.size(); ++i) {
    if (seat.idle[i].size() + warming_on_[i] < seat.idle[poorest].size() + warming_on_[poorest]) {
      poorest = i;
    }
  }
  return poorest;
}

}  // namespace weir::pool
