#include "pool/ledger.hpp"

#include <algorithm>
#include <ranges>
#include <utility>

#include "pool/assert.hpp"

namespace weir::pool {
namespace {

using namespace std::chrono_literals;

// How many waiters are looked at for one that can be served, when the first ones cannot be (they
// have tried the only endpoints with room).
constexpr int most_passed_over = 64;

bool contains(const std::vector<EndpointIndex>& list, EndpointIndex endpoint) {
  return std::ranges::find(list, endpoint) != list.end();
}

}  // namespace

// The endpoints that a waiter may be given now: healthy, of its tier, not tried, with an idle
// connection or room for one more.
class Ledger::Candidates final : public Balancer::View {
 public:
  Candidates(const Ledger& ledger, const Waiter& waiter, std::uint32_t tier)
      : ledger_(ledger), waiter_(waiter), tier_(tier) {}

  bool usable(EndpointIndex endpoint) const override {
    const Seat& seat = ledger_.seats_[endpoint];
    return seat.healthy && seat.tier == tier_ && !contains(waiter_.tried, endpoint) &&
           (seat.counts.idle > 0 || ledger_.may_open(seat));
  }
  std::uint32_t load(EndpointIndex endpoint) const override {
    return Ledger::load(ledger_.seats_[endpoint]);
  }

 private:
  const Ledger& ledger_;
  const Waiter& waiter_;
  std::uint32_t tier_;
};

Ledger::Ledger(const config::Upstream& upstream, std::size_t worker_count)
    : pool_(upstream.pool), attempts_(upstream.attempts), warming_on_(worker_count) {
  std::vector<std::uint32_t> weights;
  for (const config::Endpoint& endpoint : upstream.endpoints) {
    Seat& seat = seats_.emplace_back();
    seat.tier = endpoint.tier;
    seat.weight = endpoint.weight;
    seat.idle.resize(worker_count);
    weights.push_back(endpoint.weight);
  }
  balancer_ = Balancer::make(upstream.balance, std::move(weights));
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

Ledger::Asked Ledger::acquire(WorkerIndex worker, std::vector<EndpointIndex> tried, TimePoint now,
                              Actions& actions) {
  auto waiter = std::make_shared<Waiter>();
  waiter->worker = worker;
  waiter->since = now;
  waiter->tried = std::move(tried);
  if (!tier_for(*waiter)) {
    waiter->state = Waiter::State::failed;
    waiter->failure = Failure::no_healthy_endpoint;
    return {nullptr, std::move(waiter), true};
  }
  // Who comes now does not overtake those who wait.
  if (starved_ == 0) {
    if (const auto endpoint = pick(*waiter)) {
      Seat& seat = seats_[*endpoint];
      if (Connection* connection = take_idle(*endpoint, worker)) {
        ++seat.counts.leased;
        warm_endpoint(*endpoint, now, actions);
        if (connection->worker == worker) return {connection, nullptr, false};
        waiter->state = Waiter::State::granted;
        actions.emplace_back(Hand{connection, waiter});
        return {nullptr, std::move(waiter), false};
      }
      enqueue(waiter, false);
      start(*endpoint, worker, waiter, now, actions);
      return {nullptr, std::move(waiter), false};
    }
  }
  if (pool_.acquire_timeout == 0s || starved_ >= pool_.max_waiting) {
    waiter->state = Waiter::State::failed;
    waiter->failure = pool_.acquire_timeout == 0s ? Failure::acquire_timeout : Failure::pool_full;
    return {nullptr, std::move(waiter), true};
  }
  enqueue(waiter, false);
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
  connection.opened_at = now;
  if (opening.waiter == nullptr) {
    --seat.warming;
    --warming_on_[opening.worker];
  } else {
    // Whoever has waited longest gets it; the one it was opened for takes over that one's opening.
    Waiter* first = recipient(opening.worker);
    Waiter& owner = *opening.waiter;
    WEIR_ASSERT(first != nullptr, "the waiter of an opening is in the queue");
    if (first != &owner) {
      owner.opening = first->opening;
      if (owner.opening != nullptr) {
        owner.opening->waiter = opening.waiter;
        first->opening = nullptr;
        ++starved_;
      } else {
        ++starved_;
      }
    } else {
      owner.opening = nullptr;
      ++starved_;
    }
  }
  return place(connection, now, actions);
}

void Ledger::open_failed(const Opening& opening, Failure failure, std::string detail, TimePoint now,
                         Actions& actions) {
  Seat& seat = seats_[opening.endpoint];
  --seat.counts.opening;
  --total_;
  pause_warming(seat, now);
  const std::shared_ptr<Waiter> waiter = opening.waiter;
  if (waiter == nullptr) {
    --seat.warming;
    --warming_on_[opening.worker];
  } else {
    waiter->opening = nullptr;
    ++starved_;
    waiter->tried.push_back(opening.endpoint);
    waiter->failure = failure;
    waiter->detail = std::move(detail);
    waiter->last_endpoint = opening.endpoint;
    eased(opening.endpoint);
    if (waiter->tried.size() >= attempts_ || !tier_for(*waiter)) fail(waiter, failure, actions);
  }
  serve_queue(now, actions);
}

Ledger::Placed Ledger::unwanted(Connection& connection, TimePoint now, Actions& actions) {
  return place(connection, now, actions);
}

void Ledger::released(EndpointIndex endpoint, Closed why, TimePoint now, Actions& actions) {
  --seats_[endpoint].counts.leased;
  --total_;
  eased(endpoint);
  count_closed(why);
  if (why == Closed::peer_closed) {
    pause_warming(seats_[endpoint], now);
  } else {
    seats_[endpoint].failures = 0;
  }
  serve_queue(now, actions);
  warm_endpoint(endpoint, now, actions);
}

bool Ledger::idle_lost(Connection& connection, Closed why, TimePoint now, Actions& actions) {
  if (!connection.is_linked()) return false;
  const EndpointIndex endpoint = connection.endpoint;
  remove_idle(connection);
  --total_;
  count_closed(why);
  const bool by_peer = why == Closed::peer_closed || why == Closed::unexpected_bytes;
  if (by_peer && !has_proved(connection, now)) pause_warming(seats_[endpoint], now);
  serve_queue(now, actions);
  warm_endpoint(endpoint, now, actions);
  return true;
}

void Ledger::hand_failed(EndpointIndex endpoint, const std::shared_ptr<Waiter>& waiter, Closed why,
                         TimePoint now, Actions& actions) {
  --seats_[endpoint].counts.leased;
  --total_;
  eased(endpoint);
  count_closed(why);
  if (waiter->state == Waiter::State::granted) {
    waiter->state = Waiter::State::waiting;
    enqueue(waiter, true);
    if (!tier_for(*waiter)) fail(waiter, Failure::no_healthy_endpoint, actions);
  }
  if (why == Closed::peer_closed) pause_warming(seats_[endpoint], now);
  serve_queue(now, actions);
  warm_endpoint(endpoint, now, actions);
}

void Ledger::set_healthy(EndpointIndex endpoint, bool healthy, TimePoint now, Actions& actions) {
  Seat& seat = seats_[endpoint];
  if (seat.healthy == healthy) return;
  seat.healthy = healthy;
  if (healthy) {
    seat.failures = 0;
    seat.warm_after = now;
  } else {
    for (ConnectionList& list : seat.idle) {
      while (!list.empty()) {
        Connection& connection = list.front();
        remove_idle(connection);
        --total_;
        count_closed(Closed::unhealthy);
        actions.emplace_back(Close{&connection, Closed::unhealthy});
      }
    }
    fail_hopeless(actions);
  }
  serve_queue(now, actions);
  warm_endpoint(endpoint, now, actions);
}

// What sessions have or wait for; what warms is nobody's load.
std::uint32_t Ledger::load(const Seat& seat) {
  return seat.counts.leased + seat.counts.opening - seat.warming;
}

// What a waiter had started is the pool's from now on.
void Ledger::orphan(Waiter& waiter) {
  if (waiter.opening == nullptr) return;
  Opening& opening = *std::exchange(waiter.opening, nullptr);
  opening.waiter.reset();
  ++seats_[opening.endpoint].warming;
  ++warming_on_[opening.worker];
  eased(opening.endpoint);
}

bool Ledger::may_open(const Seat& seat) const {
  return seat.counts.opening < pool_.max_opening &&
         (pool_.max_connections == 0 || seat.counts.total() < pool_.max_connections) &&
         (pool_.max_total == 0 || total_ < pool_.max_total);
}

// The lowest tier with a healthy endpoint that this waiter has not tried.
std::optional<std::uint32_t> Ledger::tier_for(const Waiter& waiter) const {
  std::optional<std::uint32_t> lowest;
  for (EndpointIndex i = 0; i < seats_.size(); ++i) {
    const Seat& seat = seats_[i];
    if (!seat.healthy || seat.weight == 0 || (lowest && seat.tier >= *lowest)) continue;
    if (contains(waiter.tried, i)) continue;
    lowest = seat.tier;
    if (*lowest == 0) break;
  }
  return lowest;
}

std::optional<EndpointIndex> Ledger::pick(const Waiter& waiter) {
  const auto tier = tier_for(waiter);
  if (!tier) return std::nullopt;
  return balancer_->pick(Candidates(*this, waiter, *tier));
}

// Gives a waiter of the queue an idle connection or starts one for it.
bool Ledger::serve(std::shared_ptr<Waiter> waiter, TimePoint now, Actions& actions) {
  const auto endpoint = pick(*waiter);
  if (!endpoint) return false;
  if (Connection* connection = take_idle(*endpoint, waiter->worker)) {
    ++seats_[*endpoint].counts.leased;
    dequeue(*waiter);
    waiter->state = Waiter::State::granted;
    actions.emplace_back(Hand{connection, waiter});
  } else {
    start(*endpoint, waiter->worker, waiter, now, actions);
  }
  return true;
}

void Ledger::serve_queue(TimePoint now, Actions& actions) {
  int passed_over = 0;
  bool full = false;  // for whoever has not tried any endpoint yet
  for (auto next = queue_.begin(); starved_ > 0 && next != queue_.end();) {
    Waiter& waiter = *next++;
    if (waiter.opening != nullptr) continue;
    const bool untried = waiter.tried.empty();
    if (!(full && untried) && serve(waiter.self, now, actions)) continue;
    full = full || untried;
    // Those who have tried some may still be served by another tier, if there is one.
    if ((full && seats_.size() == 1) || ++passed_over >= most_passed_over) break;
  }
  if (pool_.acquire_timeout == 0s) fail_impatient(actions);
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
  waiter->failure = failure;
  actions.emplace_back(Fail{waiter});
}

// After an endpoint has become unhealthy: whoever has nothing left to wait for ends at once.
void Ledger::fail_hopeless(Actions& actions) {
  for (auto next = queue_.begin(); next != queue_.end();) {
    Waiter& waiter = *next++;
    if (waiter.opening != nullptr || tier_for(waiter)) continue;
    const bool had_cause = waiter.failure != Failure::none;
    fail(waiter.self, had_cause ? waiter.failure : Failure::no_healthy_endpoint, actions);
  }
}

// Without a time to wait nobody waits: only those whose connection is being opened stay.
void Ledger::fail_impatient(Actions& actions) {
  for (auto next = queue_.begin(); starved_ > 0 && next != queue_.end();) {
    Waiter& waiter = *next++;
    if (waiter.opening != nullptr) continue;
    const bool had_cause = waiter.failure != Failure::none;
    fail(waiter.self, had_cause ? waiter.failure : Failure::acquire_timeout, actions);
  }
}

void Ledger::start(EndpointIndex endpoint, WorkerIndex worker, std::shared_ptr<Waiter> waiter,
                   TimePoint now, Actions& actions) {
  Seat& seat = seats_[endpoint];
  ++seat.counts.opening;
  ++total_;
  auto opening = std::make_unique<Opening>();
  opening->endpoint = endpoint;
  opening->worker = worker;
  opening->since = now;
  if (waiter) {
    waiter->opening = opening.get();
    --starved_;
  } else {
    ++seat.warming;
    ++warming_on_[worker];
  }
  opening->waiter = std::move(waiter);
  actions.emplace_back(Open{std::move(opening)});
}

// Who gets a connection that became ready on this worker: the one who has waited longest. A waiter
// of another worker that has a connection of its own on the way is passed over, since its turn is
// about to come and a hand-over costs both workers.
Waiter* Ledger::recipient(WorkerIndex worker) {
  for (Waiter& waiter : queue_) {
    if (waiter.worker == worker || waiter.opening == nullptr) return &waiter;
  }
  return nullptr;
}

void Ledger::check_invariants() const {
  std::uint32_t total = 0;
  std::uint64_t live = 0;
  for (const Seat& seat : seats_) {
    std::size_t idle = 0;
    for (const ConnectionList& list : seat.idle) idle += list.size();
    WEIR_ASSERT(idle == seat.counts.idle, "idle connections are counted once");
    WEIR_ASSERT(pool_.max_connections == 0 || seat.counts.total() <= pool_.max_connections,
                "max_connections holds");
    WEIR_ASSERT(seat.counts.opening <= pool_.max_opening, "max_opening holds");
    WEIR_ASSERT(seat.warming <= seat.counts.opening, "warming connections are opening");
    total += seat.counts.total();
    live += seat.counts.idle + seat.counts.leased;
  }
  WEIR_ASSERT(total == total_, "the total is the sum of the endpoints");
  WEIR_ASSERT(pool_.max_total == 0 || total_ <= pool_.max_total, "max_total holds");
  std::uint64_t closed = 0;
  for (const std::uint64_t count : closed_) closed += count;
  WEIR_ASSERT(opened_ == live + closed,
              "every opened connection is live or was closed for a reason");
  const auto starved =
      std::ranges::count_if(queue_, [](const Waiter& waiter) { return waiter.opening == nullptr; });
  WEIR_ASSERT(static_cast<std::uint32_t>(starved) == starved_, "starved waiters are counted");
}

}  // namespace weir::pool
