// The idle half of the ledger: what is kept ready, how it ages, and where a connection goes that
// nobody waits for.

#include <algorithm>
#include <cmath>
#include <utility>

#include "pool/assert.hpp"
#include "pool/ledger.hpp"

namespace weir::pool {
namespace {

using namespace std::chrono_literals;

// A replacement has this long to arrive before the connection it replaces closes anyway.
constexpr config::Duration replacement_time = 2s;

// An endpoint that closes what it has just accepted is not a healthy one: a warmed connection
// proves itself by being lent, or by living this long.
constexpr config::Duration proving_time = 1s;

// A time that starts at `since`; each connection draws up to `spread` less, so that what was
// opened together does not end together. 0 = never.
TimePoint jittered(TimePoint since, config::Duration time, double spread, float jitter) {
  if (time == 0s) return TimePoint::max();
  const double factor = 1.0 - spread * static_cast<double>(jitter);
  return since + std::chrono::duration_cast<Nanoseconds>(time * factor);
}

}  // namespace

bool Ledger::warms() const {
  return pool_.min_idle > 0 && pool_.mode != config::PoolMode::off;
}

std::uint32_t Ledger::idle_target(EndpointIndex endpoint, TimePoint now) const {
  const Seat& seat = seats_[endpoint];
  if (!warms() || !takes_sessions(seat) || shutting_down_ || pressure_ != Pressure::none) return 0;
  const double expected = std::ceil(seat.demand.value(now) * pool_.anticipate);
  // Compared as numbers: what does not fit is more than max_idle.
  if (expected >= pool_.max_idle) return std::max(pool_.max_idle, pool_.min_idle);
  return std::max(pool_.min_idle, static_cast<std::uint32_t>(expected));
}

TimePoint Ledger::lifetime_of(const Connection& connection) const {
  return jittered(connection.opened_at, pool_.max_lifetime, 0.1, connection.jitter);
}

// The age at which an idle connection is replaced: a fresh one before its server's login timeout.
TimePoint Ledger::age_limit_of(const Connection& connection) const {
  if (is_to_be_replaced(connection)) return connection.opened_at;
  const TimePoint lifetime = lifetime_of(connection);
  if (connection.uses > 0) return lifetime;
  return std::min(lifetime,
                  jittered(connection.opened_at, pool_.fresh_max_age, 0.2, connection.jitter));
}

Closed Ledger::age_reason(const Connection& connection, TimePoint now) const {
  if (is_to_be_replaced(connection)) return Closed::removed;
  return now >= lifetime_of(connection) ? Closed::lifetime : Closed::fresh_age;
}

// When an idle connection is to be looked at.
TimePoint Ledger::due_of(const Connection& connection) const {
  return std::min(age_limit_of(connection),
                  jittered(connection.idle_since, pool_.idle_timeout, 0.1, connection.jitter));
}

void Ledger::expire(Connection& connection, TimePoint now, Actions& actions) {
  if (!connection.is_linked()) return;
  const EndpointIndex endpoint = connection.endpoint;
  Seat& seat = seats_[endpoint];
  // Its times may have changed, and its worker goes by the former ones still.
  if (const TimePoint due = due_of(connection); !connection.ageing && due > now) {
    connection.due = due;
    return;
  }
  const bool needed = seat.counts.idle <= idle_target(endpoint, now);
  const TimePoint age_limit = age_limit_of(connection);
  if (connection.ageing || now >= age_limit) {
    // Once: whose replacement has not come by then goes without one.
    if (needed && !connection.ageing && may_open(seat, now)) {
      connection.ageing = true;
      ++seat.ageing;
      connection.due = now + replacement_time;
      warm_endpoint(endpoint, now, actions);
      return;
    }
    close_idle(connection, age_reason(connection, now), actions);
  } else if (needed) {
    connection.due = std::min(age_limit, now + std::max<Nanoseconds>(pool_.idle_timeout, 1s));
    return;
  } else {
    close_idle(connection, Closed::idle_timeout, actions);
  }
  serve_queue(now, actions);
  warm_endpoint(endpoint, now, actions);
}

void Ledger::tick(TimePoint now, Actions& actions) {
  wake_at_ = TimePoint::max();
  watch_endpoints(now, actions);
  serve_queue(now, actions);
  warm_all(now, actions);
}

void Ledger::shut_down(Actions& actions) {
  shutting_down_ = true;
  for (Seat& seat : seats_) close_all_idle(seat, Closed::shutdown, actions);
}

void Ledger::set_pressure(Pressure pressure, TimePoint now, Actions& actions) {
  if (std::exchange(pressure_, pressure) == pressure) return;
  warm_all(now, actions);
}

TimePoint Ledger::oldest_idle() const {
  TimePoint oldest_since = TimePoint::max();
  if (idle_total_ == 0) return oldest_since;
  for (const Seat& seat : seats_) {
    // What is returned or opened last stands last.
    for (const ConnectionList& list : seat.idle) {
      if (!list.empty()) oldest_since = std::min(oldest_since, list.front().idle_since);
    }
  }
  return oldest_since;
}

std::size_t Ledger::shed(std::size_t count, Actions& actions) {
  std::size_t closed = 0;
  for (; closed < count && idle_total_ > 0; ++closed) {
    close_idle(longest_idle(), Closed::descriptors, actions);
  }
  return closed;
}

Connection& Ledger::longest_idle() {
  Connection* first = nullptr;
  for (Seat& seat : seats_) {
    for (ConnectionList& list : seat.idle) {
      if (list.empty()) continue;
      if (first == nullptr || list.front().idle_since < first->idle_since) first = &list.front();
    }
  }
  WEIR_ASSERT(first != nullptr, "somebody has looked whether there is one");
  return *first;
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
  --idle_total_;
  if (connection.ageing) {
    connection.ageing = false;
    --seat.ageing;
  }
}

void Ledger::close_idle(Connection& connection, Closed why, Actions& actions) {
  remove_idle(connection);
  begin_closing(connection.endpoint, why);
  actions.emplace_back(Close{&connection, why});
}

void Ledger::begin_closing(EndpointIndex endpoint, Closed why) {
  ++seats_[endpoint].counts.closing;
  ++closing_total_;
  count_closed(why);
}

void Ledger::gone(EndpointIndex endpoint, TimePoint now, Actions& actions) {
  --seats_[endpoint].counts.closing;
  --closing_total_;
  --total_;
  serve_queue(now, actions);
  warm_endpoint(endpoint, now, actions);
}

void Ledger::close_all_idle(Seat& seat, Closed why, Actions& actions) {
  for (ConnectionList& list : seat.idle) {
    while (!list.empty()) close_idle(list.front(), why, actions);
  }
}

bool Ledger::idle_lost(Connection& connection, Closed why, TimePoint now, Actions& actions) {
  if (!connection.is_linked()) return false;
  const EndpointIndex endpoint = connection.endpoint;
  remove_idle(connection);
  --total_;
  count_closed(why);
  note_death(connection, connection.uses > 0, why, now, actions);
  serve_queue(now, actions);
  warm_endpoint(endpoint, now, actions);
  return true;
}

void Ledger::found_dead(const Connection& connection, Closed why, TimePoint now, Actions& actions) {
  --seats_[connection.endpoint].counts.leased;
  --total_;
  seats_[connection.endpoint].demand.arrived_in_vain();
  eased(connection.endpoint);
  count_closed(why);
  note_death(connection, connection.uses > 1, why, now, actions);
  serve_queue(now, actions);
  warm_endpoint(connection.endpoint, now, actions);
}

// An endpoint that closes what it has just accepted is left alone for a while. What has lived, or
// served a session, may die.
void Ledger::note_death(const Connection& connection, bool served, Closed why, TimePoint now,
                        Actions& actions) {
  const bool by_peer = why == Closed::peer_closed || why == Closed::unexpected_bytes;
  const bool proved = served || now - connection.opened_at >= proving_time;
  if (by_peer && !proved) failed(connection.endpoint, false, now, actions);
}

// What place() has no waiter for: it becomes idle, or is closed by whoever holds it.
Ledger::Placed Ledger::keep_idle(Connection& connection, TimePoint now, Actions& actions) {
  const EndpointIndex endpoint = connection.endpoint;
  Seat& seat = seats_[endpoint];
  --seat.counts.leased;
  eased(endpoint);
  const bool outdated = is_outdated(connection);
  const bool good = seat.present && seat.healthy && !shutting_down_ && !outdated;
  if (!good || pool_.mode == config::PoolMode::off || pool_.max_idle == 0) {
    begin_closing(endpoint, shutting_down_              ? Closed::shutdown
                            : !seat.present || outdated ? Closed::removed
                            : !seat.healthy             ? Closed::unhealthy
                                                        : Closed::surplus);
    if (!good) fail_hopeless(actions);
    return {Placed::Where::nobody, nullptr};
  }
  connection.idle_since = now;
  connection.due = due_of(connection);
  ++seat.counts.idle;
  ++idle_total_;
  seat.idle[connection.worker].push_back(connection);
  if (seat.catching_up && seat.counts.idle >= pool_.min_idle) {
    seat.catching_up = false;
    note_trouble(seat);
  }
  // The oldest one goes: a surplus, or the one whose replacement this is.
  const bool replaces = seat.ageing > 0;
  if (replaces || seat.counts.idle > pool_.max_idle) {
    Connection& gone = *oldest(seat, replaces);
    close_idle(gone, replaces ? age_reason(gone, now) : Closed::surplus, actions);
  }
  // Whoever may not have it may have another one now: its endpoint is warm, or there is something
  // to make room.
  serve_queue(now, actions);
  return {Placed::Where::idle, nullptr};
}

Connection* Ledger::oldest(Seat& seat, bool ageing_only) {
  Connection* found = nullptr;
  for (ConnectionList& list : seat.idle) {
    for (Connection& idle : list) {
      if (ageing_only && !idle.ageing) continue;
      if (found == nullptr || idle.opened_at < found->opened_at) found = &idle;
    }
  }
  return found;
}

void Ledger::warm_all(TimePoint now, Actions& actions) {
  if (!warms()) return;
  // Where max_total is short, those first that sessions get first.
  for (const EndpointIndex index : by_tier_) warm_endpoint(index, now, actions);
}

void Ledger::warm_endpoint(EndpointIndex endpoint, TimePoint now, Actions& actions) {
  if (!warms()) return;
  Seat& seat = seats_[endpoint];
  if (!takes_sessions(seat)) return;
  const std::uint32_t wanted = idle_target(endpoint, now);
  if (seat.counts.idle + seat.warming >= wanted + (wanted > 0 ? seat.ageing : 0)) return;
  // Sessions that wait go first. (What is opened for one that is catching up is theirs anyway.)
  if (starved_ > 0 && !seat.catching_up) {
    warming_waits_ = true;
    return;
  }
  if (seat.backoff.waits(now)) return wake_at(seat.backoff.until(), actions);
  if (seat.backoff.steps() > 0 && !has_recovered(seat, now, actions)) return;
  while (seat.counts.idle + seat.warming < wanted + seat.ageing && may_open(seat, now)) {
    start(endpoint, poorest_worker(seat), nullptr, now, actions);
    if (seat.backoff.steps() > 0) return;
  }
  if (!seat.tokens.has_one(now)) wake_at(seat.tokens.next(now), actions);
  if (is_full()) warming_waits_ = true;
}

// After a failure one connection is tried, and lives for a while, before all are opened. False:
// that one is on its way, or has not lived for long enough.
bool Ledger::has_recovered(Seat& seat, TimePoint now, Actions& actions) {
  for (const ConnectionList& list : seat.idle) {
    if (list.empty() || !seat.backoff.proves(list.back().opened_at)) continue;
    const TimePoint opened_at = list.back().opened_at;
    if (opened_at + proving_time > now) return wake_at(opened_at + proving_time, actions), false;
    prove(seat, opened_at);
    return true;
  }
  return seat.warming == 0;
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
