// The session half of the ledger: who asks, what is opened for whom, who gets what is ready.

#include "pool/ledger.hpp"

#include <algorithm>
#include <ranges>
#include <utility>

#include "pool/assert.hpp"
#include "pool/roster.hpp"

namespace weir::pool {
namespace {

using namespace std::chrono_literals;

// How many waiters are looked at for one that can be served, when the first ones cannot be (they
// have tried the only endpoints with room).
constexpr int most_passed_over = 64;

}  // namespace

Ledger::Ledger(const config::Upstream& upstream, std::size_t capacity, std::size_t worker_count,
               TimePoint now)
    : config_(upstream),
      pool_(config_.pool),
      warming_on_(worker_count),
      random_(static_cast<std::minstd_rand::result_type>(now.time_since_epoch().count() | 1)) {
  seats_.reserve(capacity);
  std::vector<Balancer::Member> members;
  for (std::size_t i = 0; i < capacity; ++i) {
    seats_.emplace_back(config_, worker_count, now);
    members.push_back({.name = {}, .weight = 0, .tier = 0});
  }
  const Roster roster(config_);
  expecting_ = !roster.is_complete();
  for (EndpointPointer& each : roster.endpoints()) {
    const std::size_t index = present_.size();
    members[index] = {each->name, each->weight, each->tier};
    seats_[index].endpoint = std::move(each);
    seats_[index].present = true;
    present_.push_back(static_cast<EndpointIndex>(index));
  }
  std::vector<EndpointPointer> seats;
  for (const Seat& seat : seats_) seats.push_back(seat.endpoint);
  order_by_tier(seats);
  balancer_ = Balancer::make(config_.balance, members, random_());
  weigh_tiers(now);
}

Ledger::Seat::Seat(const config::Upstream& upstream, std::size_t worker_count, TimePoint now)
    : idle(worker_count), tokens(upstream.pool.open_rate, now) {
  if (upstream.health_check) health.emplace(*upstream.health_check);
}

Ledger::~Ledger() {
  while (!queue_.empty()) {
    const std::shared_ptr<Waiter> last = queue_.front().self;
    dequeue(*last);
  }
  for (Seat& seat : seats_) {
    for (ConnectionList& list : seat.idle) list.clear();
  }
}

Ledger::Asked Ledger::acquire(WorkerIndex worker, std::span<const EndpointIndex> tried,
                              std::uint64_t key, TimePoint now, Actions& actions) {
  // Who comes now does not overtake those who wait.
  const auto endpoint = starved_ == 0 ? pick(tried, key, now) : std::nullopt;
  Connection* connection = nullptr;
  if (endpoint) {
    Seat& seat = seats_[*endpoint];
    if (warms()) seat.demand.arrived(now);
    connection = take_idle(*endpoint, worker);
    if (connection != nullptr) {
      ++seat.counts.leased;
      ++connection->uses;
      note_load(seat);
      warm_endpoint(*endpoint, now, actions);
      if (connection->worker == worker) return {connection, nullptr, false};
    }
  }
  auto waiter = std::make_shared<Waiter>();
  waiter->worker = worker;
  waiter->since = now;
  waiter->key = key;
  waiter->tried.assign(tried.begin(), tried.end());
  if (connection != nullptr) {
    waiter->state = Waiter::State::granted;
    actions.emplace_back(Hand{connection, waiter});
    return {nullptr, std::move(waiter), false};
  }
  if (endpoint) {
    enqueue(waiter, false);
    start(*endpoint, worker, waiter, now, actions);
    warm_endpoint(*endpoint, now, actions);
    return {nullptr, std::move(waiter), false};
  }
  const auto refuse = [&](Failure failure) -> Asked {
    waiter->state = Waiter::State::failed;
    waiter->failure = failure;
    if (failure == Failure::no_healthy_endpoint) waiter->detail = why_nobody();
    return {nullptr, std::move(waiter), true};
  };
  if (!tier_for(tried) && !expecting_) return refuse(Failure::no_healthy_endpoint);
  const bool queue_is_full = starved_ >= pool_.max_waiting;
  waiter->gets_room = starved_ == 0 && !queue_is_full && make_room(tried, now, actions);
  if (pool_.acquire_timeout == 0s && !waiter->gets_room) return refuse(Failure::acquire_timeout);
  if (queue_is_full) return refuse(Failure::pool_full);
  enqueue(waiter, false);
  // Those who wait before it may wait for other endpoints than it may have.
  serve_queue(now, actions);
  return {nullptr, std::move(waiter), false};
}

bool Ledger::give_up(Waiter& waiter, TimePoint now, Actions& actions) {
  if (waiter.state == Waiter::State::granted) {
    waiter.state = Waiter::State::gave_up;
    return false;
  }
  if (waiter.state != Waiter::State::waiting) return true;
  const std::shared_ptr<Waiter> alive = waiter.self;
  dequeue(waiter);
  waiter.state = Waiter::State::gave_up;
  orphan(waiter);
  serve_queue(now, actions);
  return true;
}

Ledger::Placed Ledger::opened(const Opening& opening, Connection& connection, TimePoint now,
                              Actions& actions) {
  Seat& seat = seats_[opening.endpoint];
  --seat.counts.opening;
  ++seat.counts.leased;
  ++opened_;
  connection.endpoint = opening.endpoint;
  connection.worker = opening.worker;
  connection.uses = 0;
  connection.jitter = static_cast<float>(chance());
  connection.opened_at = now;
  seat.demand.opened(now - opening.since);
  seat.backoff.open();
  note_trouble(seat);
  Waiter* const next = recipient(connection, opening.waiter.get());
  if (opening.waiter == nullptr) {
    remove_warming(seat, opening.worker);
  } else {
    seat.ejection.succeed();
    exchange_openings(opening, next);
  }
  note_load(seat);
  Placed placed = place(connection, next, now, actions);
  warm_endpoint(opening.endpoint, now, actions);
  return placed;
}

// The one it was opened for takes over the opening of the one who gets it, if that leads to an
// endpoint that it may have.
void Ledger::exchange_openings(const Opening& opening, Waiter* next) {
  Waiter& owner = *opening.waiter;
  owner.opening = nullptr;
  ++starved_;
  if (next == nullptr || next->opening == nullptr) return;
  if (!may_have(owner, next->opening->endpoint)) return;
  owner.opening = std::exchange(next->opening, nullptr);
  owner.opening->waiter = opening.waiter;
}

void Ledger::open_failed(const Opening& opening, Failure failure, std::string detail, TimePoint now,
                         Actions& actions) {
  Seat& seat = seats_[opening.endpoint];
  --seat.counts.opening;
  --total_;
  const std::shared_ptr<Waiter> waiter = opening.waiter;
  // Our own shortage says nothing about the endpoint.
  const bool counts_against_it = waiter != nullptr && failure != Failure::descriptors;
  failed(opening.endpoint, counts_against_it, now, actions);
  if (waiter == nullptr) {
    remove_warming(seat, opening.worker);
  } else {
    waiter->opening = nullptr;
    ++starved_;
    waiter->tried.push_back(opening.endpoint);
    waiter->failure = failure;
    waiter->detail = std::move(detail);
    waiter->failed_at = opening.target;
    eased(opening.endpoint);
    const bool nobody_left = !tier_for(waiter->tried) && !expecting_;
    if (waiter->tried.size() >= config_.attempts || nobody_left) fail(waiter, failure, actions);
  }
  if (seat.ejection.ejected()) fail_hopeless(actions);
  serve_queue(now, actions);
  warm_endpoint(opening.endpoint, now, actions);
}

void Ledger::open_spoilt(const Opening& opening, Failure failure, std::string detail, Closed why,
                         TimePoint now, Actions& actions) {
  ++opened_;
  count_closed(why);
  open_failed(opening, failure, std::move(detail), now, actions);
}

Ledger::Placed Ledger::unwanted(Connection& connection, TimePoint now, Actions& actions) {
  --connection.uses;
  return place(connection, recipient(connection, nullptr), now, actions);
}

std::optional<Closed> Ledger::worn_out(const Connection& connection, TimePoint now) const {
  if (shutting_down_) return Closed::shutdown;
  const Seat& seat = seats_[connection.endpoint];
  if (!seat.present) return Closed::removed;
  if (!seat.healthy) return Closed::unhealthy;
  if (is_to_be_replaced(connection) || pool_.mode != config::PoolMode::reset) {
    return Closed::removed;
  }
  if (pool_.max_uses != 0 && connection.uses >= pool_.max_uses) return Closed::uses;
  if (now >= lifetime_of(connection)) return Closed::lifetime;
  return std::nullopt;
}

Ledger::Placed Ledger::returned(Connection& connection, TimePoint now, Actions& actions) {
  prove(seats_[connection.endpoint], connection.opened_at);
  return place(connection, recipient(connection, nullptr), now, actions);
}

void Ledger::released(EndpointIndex endpoint, Closed why, TimePoint now, Actions& actions,
                      TimePoint opened_at) {
  Seat& seat = seats_[endpoint];
  --seat.counts.leased;
  --total_;
  eased(endpoint);
  count_closed(why);
  if (why == Closed::peer_closed) {
    failed(endpoint, true, now, actions);
    if (seat.ejection.ejected()) fail_hopeless(actions);
  } else {
    prove(seat, opened_at);
  }
  serve_queue(now, actions);
  warm_endpoint(endpoint, now, actions);
}

void Ledger::hand_failed(const Connection& connection, const std::shared_ptr<Waiter>& waiter,
                         Closed why, TimePoint now, Actions& actions) {
  const EndpointIndex endpoint = connection.endpoint;
  --seats_[endpoint].counts.leased;
  --total_;
  eased(endpoint);
  count_closed(why);
  if (waiter->state == Waiter::State::granted) {
    waiter->state = Waiter::State::waiting;
    seats_[endpoint].demand.arrived_in_vain();
    enqueue(waiter, true);
    if (!tier_for(waiter->tried) && !expecting_) {
      const bool had_cause = waiter->failure != Failure::none;
      fail(waiter, had_cause ? waiter->failure : Failure::no_healthy_endpoint, actions);
    }
  }
  note_death(connection, connection.uses > 1, why, now, actions);
  serve_queue(now, actions);
  warm_endpoint(endpoint, now, actions);
}

// What sessions have or wait for; what warms is nobody's load.
std::uint32_t Ledger::load(const Seat& seat) {
  return seat.counts.leased + seat.counts.opening - seat.warming;
}

void Ledger::add_warming(Seat& seat, WorkerIndex worker) {
  ++seat.warming;
  ++warming_on_[worker];
}

void Ledger::remove_warming(Seat& seat, WorkerIndex worker) {
  --seat.warming;
  --warming_on_[worker];
}

double Ledger::chance() {
  const auto range = static_cast<double>((random_.max)() - (random_.min)()) + 1;
  return static_cast<double>(random_() - (random_.min)()) / range;
}

// What a waiter had started is the pool's from now on.
void Ledger::orphan(Waiter& waiter) {
  if (waiter.opening == nullptr) return;
  Opening& opening = *std::exchange(waiter.opening, nullptr);
  opening.waiter.reset();
  add_warming(seats_[opening.endpoint], opening.worker);
  eased(opening.endpoint);
}

// Gives a waiter of the queue an idle connection or starts one for it.
bool Ledger::serve(std::shared_ptr<Waiter> waiter, TimePoint now, Actions& actions) {
  const auto endpoint = pick(waiter->tried, waiter->key, now);
  if (!endpoint) {
    if (make_room(waiter->tried, now, actions)) waiter->gets_room = true;
    return false;
  }
  if (warms()) seats_[*endpoint].demand.arrived(now);
  if (Connection* connection = take_idle(*endpoint, waiter->worker)) {
    ++seats_[*endpoint].counts.leased;
    ++connection->uses;
    note_load(seats_[*endpoint]);
    dequeue(*waiter);
    waiter->state = Waiter::State::granted;
    actions.emplace_back(Hand{connection, waiter});
    warm_endpoint(*endpoint, now, actions);
  } else {
    start(*endpoint, waiter->worker, waiter, now, actions);
  }
  return true;
}

void Ledger::serve_queue(TimePoint now, Actions& actions) {
  int passed_over_count = 0;
  bool full = false;  // for whoever has not tried any endpoint yet
  for (auto next = queue_.begin(); starved_ > 0 && next != queue_.end();) {
    Waiter& waiter = *next++;
    if (waiter.opening != nullptr) continue;
    const bool untried = waiter.tried.empty();
    if (!(full && untried) && serve(waiter.self, now, actions)) continue;
    full = full || untried;
    // Those who have tried some may still be served by another tier, if there is one.
    if ((full && present_.size() <= 1) || ++passed_over_count >= most_passed_over) break;
  }
  if (starved_ > 0 && pool_.acquire_timeout == 0s) fail_impatient(actions);
  if (starved_ > 0) wake_for_waiters(now, actions);
  // While sessions wait, only who is catching up is warmed.
  if (warming_waits_ && !is_full() && (starved_ == 0 || troubled_ > 0)) {
    warming_waits_ = false;
    warm_all(now, actions);
  }
}

void Ledger::enqueue(const std::shared_ptr<Waiter>& waiter, bool first) {
  waiter->self = waiter;
  if (first) {
    queue_.push_front(*waiter);
  } else {
    queue_.push_back(*waiter);
  }
  ++starved_;
}

void Ledger::dequeue(Waiter& waiter) {
  queue_.erase(queue_.iterator_to(waiter));
  if (waiter.opening == nullptr) --starved_;
  waiter.self.reset();
}

void Ledger::fail(std::shared_ptr<Waiter> waiter, Failure failure, Actions& actions) {
  dequeue(*waiter);
  waiter->state = Waiter::State::failed;
  if (waiter->failure == Failure::none && failure == Failure::no_healthy_endpoint) {
    waiter->detail = why_nobody();
  }
  waiter->failure = failure;
  actions.emplace_back(Fail{waiter});
}

// After an endpoint has left or become unhealthy: whoever has nothing left to wait for ends.
void Ledger::fail_hopeless(Actions& actions) {
  if (expecting_) return;
  for (auto next = queue_.begin(); next != queue_.end();) {
    Waiter& waiter = *next++;
    if (waiter.opening != nullptr || tier_for(waiter.tried)) continue;
    const bool had_cause = waiter.failure != Failure::none;
    fail(waiter.self, had_cause ? waiter.failure : Failure::no_healthy_endpoint, actions);
  }
}

// Without a time to wait nobody waits, but for the moment in which room is made: only those whose
// connection is being opened stay.
void Ledger::fail_impatient(Actions& actions) {
  for (auto next = queue_.begin(); starved_ > 0 && next != queue_.end();) {
    Waiter& waiter = *next++;
    if (waiter.opening != nullptr || (waiter.gets_room && closing_total_ > 0)) continue;
    const bool had_cause = waiter.failure != Failure::none;
    fail(waiter.self, had_cause ? waiter.failure : Failure::acquire_timeout, actions);
  }
}

void Ledger::start(EndpointIndex endpoint, WorkerIndex worker, std::shared_ptr<Waiter> waiter,
                   TimePoint now, Actions& actions) {
  Seat& seat = seats_[endpoint];
  ++seat.counts.opening;
  ++total_;
  seat.tokens.take(now);
  auto opening = std::make_unique<Opening>();
  opening->endpoint = endpoint;
  opening->target = seat.endpoint;
  opening->worker = worker;
  opening->since = now;
  if (waiter) {
    waiter->opening = opening.get();
    waiter->gets_room = false;
    --starved_;
  } else {
    add_warming(seat, worker);
  }
  note_load(seat);
  opening->waiter = std::move(waiter);
  actions.emplace_back(Open{std::move(opening)});
}

// A connection that is counted as leased and that nobody has: it goes to `next`, if there is one.
Ledger::Placed Ledger::place(Connection& connection, Waiter* next, TimePoint now,
                             Actions& actions) {
  if (next == nullptr) return keep_idle(connection, now, actions);
  const std::shared_ptr<Waiter> waiter = next->self;
  dequeue(*waiter);
  orphan(*waiter);
  waiter->state = Waiter::State::granted;
  ++connection.uses;
  serve_queue(now, actions);
  return {Placed::Where::waiter, waiter};
}

}  // namespace weir::pool
