// The ledger's endpoints: which there are, and which of them sessions may be given.

#include <algorithm>
#include <utility>

#include "pool/ledger.hpp"

namespace weir::pool {
namespace {

using namespace std::chrono_literals;

// How long an endpoint that has come or recovered may take to be warmed before it gets its share
// regardless.
constexpr config::Duration longest_catching_up = 5s;

// slow_start begins with this part of the weight, and rises in so many steps.
constexpr double first_share = 0.1;
constexpr int ramp_steps = 20;
constexpr Nanoseconds shortest_ramp_step = 50ms;

}  // namespace

std::vector<EndpointPointer> Ledger::assign(std::span<const EndpointPointer> wanted) const {
  std::vector<EndpointPointer> seats(seats_.size());
  std::vector<EndpointPointer> others;
  for (const EndpointPointer& each : wanted) {
    const auto seat = std::ranges::find_if(seats_, [&](const Seat& candidate) {
      return candidate.endpoint != nullptr && candidate.endpoint->name == each->name;
    });
    if (seat == seats_.end()) {
      others.push_back(each);
      continue;
    }
    const Endpoint& now = *seat->endpoint;
    const bool same = now.weight == each->weight && now.tier == each->tier &&
                      now.host == each->host && now.written == each->written;
    seats[static_cast<std::size_t>(seat - seats_.begin())] = same ? seat->endpoint : each;
  }
  // Seats that nobody had yet come first: who has left may come back.
  std::size_t next = 0;
  for (const bool used_before : {false, true}) {
    for (std::size_t i = 0; i < seats_.size() && next < others.size(); ++i) {
      const Seat& seat = seats_[i];
      const bool is_free = !seat.present && seats[i] == nullptr && seat.counts.total() == 0 &&
                           (seat.endpoint != nullptr) == used_before;
      if (is_free) seats[i] = others[next++];
    }
  }
  return seats;
}

void Ledger::set_endpoints(std::vector<EndpointPointer> seats, std::unique_ptr<Balancer> balancer,
                           TimePoint now, Actions& actions) {
  balancer_ = std::move(balancer);
  present_.clear();
  for (EndpointIndex i = 0; i < seats_.size(); ++i) {
    if (seats[i] != nullptr) present_.push_back(i);
  }
  order_by_tier(seats);
  for (EndpointIndex i = 0; i < seats_.size(); ++i) {
    Seat& seat = seats_[i];
    if (seats[i] == nullptr) {
      if (seat.present) leave(i, now, actions);
    } else if (!seat.present) {
      come(i, std::move(seats[i]), now, actions);
    } else {
      // What was verified for one name is not lent as another's.
      if (seat.endpoint->host != seats[i]->host) close_all_idle(seat, Closed::removed, actions);
      seat.endpoint = std::move(seats[i]);
      if (seat.endpoint->weight == 0) seat.ramp_began = {};
      if (seat.ramp_began != TimePoint{}) ramp(i, now, actions);
    }
  }
  readmit_if_nobody(now);
  weigh_tiers(now);
  fail_hopeless(actions);
  serve_queue(now, actions);
  warm_all(now, actions);
}

void Ledger::order_by_tier(const std::vector<EndpointPointer>& seats) {
  by_tier_ = present_;
  std::ranges::sort(by_tier_, {},
                    [&](EndpointIndex index) { return std::pair(seats[index]->tier, index); });
}

void Ledger::expect_endpoints(bool expected, std::string why_not, TimePoint now, Actions& actions) {
  expecting_ = expected;
  why_not_found_ = std::move(why_not);
  fail_hopeless(actions);
  serve_queue(now, actions);
}

void Ledger::leave(EndpointIndex endpoint, TimePoint now, Actions& actions) {
  Seat& seat = seats_[endpoint];
  seat.present = false;
  close_all_idle(seat, Closed::removed, actions);
  if (seat.ejection.ejected()) seat.ejection.end(now);
  seat.catching_up = false;
  seat.ramp_began = {};
  seat.backoff.reset();
  note_trouble(seat);
  if (config_.when_endpoint_removed == config::WhenRemoved::close && seat.counts.leased > 0) {
    actions.emplace_back(EndSessions{seat.endpoint, true});
  }
}

void Ledger::come(EndpointIndex endpoint, EndpointPointer pointer, TimePoint now,
                  Actions& actions) {
  Seat& seat = seats_[endpoint];
  seat.endpoint = std::move(pointer);
  seat.present = true;
  seat.healthy = true;
  if (config_.health_check) seat.health.emplace(*config_.health_check);
  seat.check_words.clear();
  seat.demand = {};
  seat.ejection = {};
  begin_catching_up(endpoint, now, actions);
}

std::optional<Ledger::Checked> Ledger::checked(const EndpointPointer& endpoint, EndpointIndex index,
                                               bool passed, std::string why, TimePoint now,
                                               Actions& actions) {
  Seat& seat = seats_[index];
  if (!seat.present || !seat.health || seat.endpoint->name != endpoint->name) return std::nullopt;
  seat.check_words = std::move(why);
  const Health::Change change = seat.health->record(passed);
  if (passed && seat.ejection.ejected()) {
    seat.ejection.end(now);
    note_trouble(seat);
    begin_catching_up(index, now, actions);
    weigh_tiers(now);
    serve_queue(now, actions);
    warm_endpoint(index, now, actions);
  }
  if (change != Health::Change::none) set_healthy(index, passed, now, actions);
  return Checked{change, seat.health->next_interval()};
}

void Ledger::set_healthy(EndpointIndex endpoint, bool healthy, TimePoint now, Actions& actions) {
  Seat& seat = seats_[endpoint];
  if (seat.healthy == healthy) return;
  seat.healthy = healthy;
  seat.backoff.reset();
  note_trouble(seat);
  if (healthy) {
    begin_catching_up(endpoint, now, actions);
  } else {
    seat.catching_up = false;
    seat.ramp_began = {};
    note_trouble(seat);
    close_all_idle(seat, Closed::unhealthy, actions);
    if (config_.when_endpoint_unhealthy == config::WhenUnhealthy::close && seat.counts.leased > 0) {
      actions.emplace_back(EndSessions{seat.endpoint, false});
    }
    if (readmit_if_nobody(now)) warming_waits_ = true;
    fail_hopeless(actions);
  }
  weigh_tiers(now);
  serve_queue(now, actions);
  warm_endpoint(endpoint, now, actions);
}

// Its pool is filled before it gets its share of sessions, and then its weight rises.
void Ledger::begin_catching_up(EndpointIndex endpoint, TimePoint now, Actions& actions) {
  Seat& seat = seats_[endpoint];
  if (seat.endpoint->weight == 0) return;
  if (warms() && seat.counts.idle < pool_.min_idle) {
    seat.catching_up = true;
    seat.catching_up_until = now + longest_catching_up;
    wake_at(seat.catching_up_until, actions);
    note_trouble(seat);
  }
  if (config_.slow_start > 0s) {
    seat.ramp_began = now;
    ramp(endpoint, now, actions);
  }
}

double Ledger::share(const Seat& seat, TimePoint now) const {
  const double weight = seat.endpoint->weight;
  if (seat.ramp_began == TimePoint{}) return weight;
  const std::chrono::duration<double> passed = now - seat.ramp_began;
  return weight * std::clamp(passed / config_.slow_start, first_share, 1.0);
}

void Ledger::ramp(EndpointIndex endpoint, TimePoint now, Actions& actions) {
  Seat& seat = seats_[endpoint];
  balancer_->set_weight(endpoint, share(seat, now));
  if (now - seat.ramp_began >= config_.slow_start) {
    seat.ramp_began = {};
    return;
  }
  wake_at(now + std::max<Nanoseconds>(config_.slow_start / ramp_steps, shortest_ramp_step),
          actions);
}

void Ledger::weigh_tiers(TimePoint now) {
  tiers_.clear();
  for (Seat& seat : seats_) {
    seat.noted_load = 0;
    if (!seat.present) continue;
    const std::size_t tier = seat.endpoint->tier;
    if (tier >= tiers_.size()) tiers_.resize(tier + 1);
    if (takes_sessions(seat)) tiers_[tier].weight += share(seat, now);
    note_load(seat);
  }
}

// Keeps the load of a tier up to date: of the same endpoints that its weight is of.
void Ledger::note_load(Seat& seat) {
  if (!takes_sessions(seat)) return;
  std::uint32_t& total = tiers_[seat.endpoint->tier].load;
  total -= std::exchange(seat.noted_load, load(seat));
  total += seat.noted_load;
}

// What time changes of endpoints.
void Ledger::watch_endpoints(TimePoint now, Actions& actions) {
  bool changed = false;
  for (const EndpointIndex index : present_) {
    Seat& seat = seats_[index];
    if (seat.ejection.ejected()) {
      if (seat.ejection.until() <= now) {
        seat.ejection.end(now);
        begin_catching_up(index, now, actions);
        changed = true;
      } else {
        wake_at(seat.ejection.until(), actions);
      }
    }
    if (seat.catching_up) {
      if (seat.catching_up_until <= now) {
        seat.catching_up = false;
      } else {
        wake_at(seat.catching_up_until, actions);
      }
    }
    if (seat.ramp_began != TimePoint{}) {
      ramp(index, now, actions);
      changed = true;
    }
    note_trouble(seat);
  }
  if (changed) weigh_tiers(now);
}

bool Ledger::has_room(const Seat& seat, TimePoint now) const {
  const std::uint32_t at_once = seat.backoff.failing() ? 1 : pool_.max_opening;
  return seat.counts.opening < at_once &&
         (pool_.max_connections == 0 || seat.counts.total() < pool_.max_connections) &&
         seat.tokens.has_one(now);
}

bool Ledger::takes_sessions(const Seat& seat) const {
  return seat.present && seat.healthy && !seat.ejection.ejected() && seat.endpoint->weight > 0;
}

bool Ledger::passed_over(const Seat& seat, TimePoint now) const {
  return seat.troubled && (seat.catching_up || seat.backoff.waits(now));
}

// The lowest tier with an endpoint that takes sessions and that was not tried; one that is being
// warmed counts only where there is no other.
std::optional<std::uint32_t> Ledger::tier_for(std::span<const EndpointIndex> tried) const {
  std::optional<std::uint32_t> lowest;
  std::optional<std::uint32_t> lowest_cold;
  for (const EndpointIndex index : present_) {
    const Seat& seat = seats_[index];
    std::optional<std::uint32_t>& found = seat.catching_up ? lowest_cold : lowest;
    if (!takes_sessions(seat) || (found && seat.endpoint->tier >= *found)) continue;
    if (std::ranges::find(tried, index) != tried.end()) continue;
    found = seat.endpoint->tier;
    if (lowest == 0U) break;
  }
  return lowest ? lowest : lowest_cold;
}

// In words, for sessions that found nobody.
std::string Ledger::why_nobody() const {
  if (present_.empty()) return why_not_found_;
  for (const EndpointIndex index : present_) {
    const Seat& seat = seats_[index];
    if (!seat.healthy) return seat.endpoint->name + ": " + seat.check_words;
  }
  return {};
}

// A connection could not be opened, or was closed by its server as soon as it was.
void Ledger::failed(EndpointIndex endpoint, bool of_session, TimePoint now, Actions& actions) {
  Seat& seat = seats_[endpoint];
  if (!seat.present) return;
  seat.backoff.fail(pool_.backoff, now, chance());
  if (of_session && seat.ejection.fail(config_.ejection)) eject(endpoint, now, actions);
  note_trouble(seat);
}

void Ledger::eject(EndpointIndex endpoint, TimePoint now, Actions& actions) {
  std::size_t ejected_count = 1;
  bool another = false;
  for (const EndpointIndex index : present_) {
    const Seat& seat = seats_[index];
    if (seat.ejection.ejected()) ++ejected_count;
    another = another || (index != endpoint && takes_sessions(seat));
  }
  if (!another || ejected_count * 100 > present_.size() * config_.ejection.max_percent) return;
  Seat& seat = seats_[endpoint];
  seat.ejection.begin(config_.ejection, now);
  seat.catching_up = false;
  weigh_tiers(now);
  wake_at(seat.ejection.until(), actions);
}

// One of its connections was of use.
void Ledger::prove(Seat& seat, TimePoint opened_at) {
  if (!seat.backoff.proves(opened_at)) return;
  seat.backoff.prove(opened_at);
  seat.ejection.succeed();
  note_trouble(seat);
}

// The last one that is left is not ejected, whatever it has done.
bool Ledger::readmit_if_nobody(TimePoint now) {
  const auto takes = [this](EndpointIndex index) { return takes_sessions(seats_[index]); };
  if (std::ranges::any_of(present_, takes)) return false;
  bool any = false;
  for (const EndpointIndex index : present_) {
    if (!seats_[index].ejection.ejected()) continue;
    seats_[index].ejection.end(now);
    any = true;
  }
  return any;
}

void Ledger::note_trouble(Seat& seat) {
  const bool troubled =
      seat.present && (seat.catching_up || seat.backoff.failing() || seat.backoff.steps() > 0);
  if (troubled == seat.troubled) return;
  seat.troubled = troubled;
  troubled_ = troubled ? troubled_ + 1 : troubled_ - 1;
}

void Ledger::wake_at(TimePoint at, Actions& actions) {
  if (at >= wake_at_) return;
  wake_at_ = at;
  actions.emplace_back(Wake{at});
}

// Sessions wait: when does time alone let one of them go on?
void Ledger::wake_for_waiters(TimePoint now, Actions& actions) {
  if (pool_.open_rate == 0 && troubled_ == 0) return;
  for (const EndpointIndex index : present_) {
    const Seat& seat = seats_[index];
    if (!takes_sessions(seat)) continue;
    if (!seat.tokens.has_one(now)) wake_at(seat.tokens.next(now), actions);
    if (seat.backoff.waits(now)) wake_at(seat.backoff.until(), actions);
  }
}

}  // namespace weir::pool
