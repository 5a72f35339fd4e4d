#pragma once
// What is open, idle and leased at each endpoint, as an onlooker counts it who hears every call and
// every action and believes no counter of the ledger: the limits, the reasons of closings, and what
// the ledger says of itself, hold against it.

#include <array>
#include <optional>
#include <span>
#include <vector>

#include "pool/roster.hpp"
#include "tests/support/simulation/servers.hpp"
#include "tests/support/simulation/trace.hpp"

namespace weir::pool {

// Longer than any of the model's own delays: what should have happened by then will not.
inline constexpr Nanoseconds model_slack = std::chrono::milliseconds(100);
// Long before the start, and its distance to any time is no overflow.
inline constexpr TimePoint never = TimePoint() - std::chrono::hours(100'000);

class Tally {
 public:
  struct Seat {
    EndpointPointer endpoint;
    bool present = false;
    bool healthy = true;
    bool ejected = false;
    EndpointCounts counts;
    std::uint32_t ordered = 0;  // openings that their worker has not begun
    std::uint32_t sockets = 0;
    std::uint32_t shut = 0;  // closed, and still in the books
    bool failing = false;
    TimePoint failed_at = never;
    TimePoint came_at = never;      // or recovered
    TimePoint was_warm_at = never;  // min_idle were ready
    TimePoint was_full_at = never;  // so, or a limit was reached
    TimePoint ejected_at;
    double tokens = 0;
    TimePoint filled_at;
    // What is more than limits allow that were lowered: it may only shrink.
    std::uint32_t most = 0;
    std::uint32_t most_opening = 0;

    bool takes_sessions() const { return present && healthy && !ejected && endpoint->weight > 0; }
  };

  Tally(const config::Upstream& upstream, std::size_t capacity, TimePoint now)
      : config_(upstream),
        pool_(upstream.pool),
        seats_(capacity),
        open_rate_(pool_.open_rate),
        warmed_(warms()),
        longest_backoff_(pool_.backoff.most),
        longest_ejection_(upstream.ejection.duration) {
    const Roster roster(upstream);
    std::size_t next = 0;
    for (EndpointPointer& each : roster.endpoints()) {
      seats_[next].endpoint = std::move(each);
      seats_[next++].present = true;
    }
    for (Seat& seat : seats_) {
      seat.tokens = most_tokens();
      seat.filled_at = now;
    }
  }

  const std::vector<Seat>& seats() const { return seats_; }
  Seat& seat(EndpointIndex index) { return seats_[index]; }
  bool warms() const { return pool_.min_idle > 0 && pool_.mode != config::PoolMode::off; }
  std::uint64_t opened() const { return opened_; }
  std::uint32_t total() const { return total_; }

  // --- What the ledger asked for ---

  void opening(const Opening& opening, TimePoint now, bool may_warm) {
    Seat& seat = seats_[opening.endpoint];
    demand(seat.takes_sessions(), "endpoint % is to be opened, which takes no sessions",
           opening.endpoint);
    demand(opening.target->name == seat.endpoint->name, "endpoint % is opened as another",
           opening.endpoint);
    demand(opening.waiter != nullptr || (warms() && may_warm),
           "endpoint % is warmed against orders", opening.endpoint);
    ++seat.counts.opening;
    ++seat.ordered;
    ++total_;
    demand(!seat.failing || seat.counts.opening == 1,
           "endpoint % is failing and is tried with % connections at once", opening.endpoint,
           seat.counts.opening);
    if (pool_.open_rate == 0) return;
    seat.tokens = tokens(seat, now) - 1;
    seat.filled_at = now;
    demand(seat.tokens >= -1e-6, "endpoint % is opened faster than open_rate", opening.endpoint);
  }
  void lent(EndpointIndex index) {
    --seats_[index].counts.idle;
    ++seats_[index].counts.leased;
  }
  void doomed(const Connection& connection, Closed why, TimePoint now, bool may_warm) {
    const EndpointIndex index = connection.endpoint;
    check_reason(connection, why, now, may_warm);
    Seat& seat = seats_[index];
    --seat.counts.idle;
    begin_closing(seat, why);
  }

  // --- What the ledger was told ---

  void opened(EndpointIndex index) {
    Seat& seat = seats_[index];
    --seat.counts.opening;
    ++seat.counts.leased;
    seat.failing = false;
    ++opened_;
  }
  void open_failed(EndpointIndex index, TimePoint now) {
    --seats_[index].counts.opening;
    --total_;
    failed(index, now);
  }
  void released(EndpointIndex index, Closed why) {
    --seats_[index].counts.leased;
    closed(why);
  }
  void lost(EndpointIndex index, Closed why) {
    --seats_[index].counts.idle;
    closed(why);
  }
  void became_idle(EndpointIndex index, TimePoint now) {
    Seat& seat = seats_[index];
    --seat.counts.leased;
    ++seat.counts.idle;
    // For a moment, since the same call may lend it; and workers' clocks disagree.
    if (seat.counts.idle >= pool_.min_idle) seat.was_warm_at = std::max(now, seat.came_at);
    demand(pool_.mode != config::PoolMode::off, "something is idle in mode off");
  }
  // Placed nowhere: the reason is not told, but follows.
  void unplaced(const Connection& connection, bool shutting_down) {
    Seat& seat = seats_[connection.endpoint];
    --seat.counts.leased;
    const bool is_outdated = connection.generation < generations_.oldest_lent;
    begin_closing(seat, shutting_down                  ? Closed::shutdown
                        : !seat.present || is_outdated ? Closed::removed
                        : !seat.healthy                ? Closed::unhealthy
                                                       : Closed::surplus);
  }
  void gone(EndpointIndex index) {
    --seats_[index].counts.closing;
    --total_;
  }
  // A connection could not be opened, or died at once.
  void failed(EndpointIndex index, TimePoint now) {
    Seat& seat = seats_[index];
    if (!seat.present) return;
    seat.failing = true;
    seat.failed_at = now;
  }
  void health_changed(EndpointIndex index, bool healthy, TimePoint now) {
    Seat& seat = seats_[index];
    seat.healthy = healthy;
    seat.failing = false;
    seat.failed_at = never;
    if (healthy) seat.came_at = now;
  }
  void seated(const std::vector<EndpointPointer>& seats, TimePoint now) {
    for (EndpointIndex i = 0; i < seats_.size(); ++i) {
      Seat& seat = seats_[i];
      const bool stays = seat.present && seats[i] != nullptr;
      if (!stays) {
        seat.failing = false;
        seat.failed_at = never;
      }
      if (!seat.present && seats[i] != nullptr) {
        demand(seat.counts.total() == 0 || seat.endpoint->name == seats[i]->name,
               "seat % is given away while somebody sits there", i);
        seat.healthy = true;
        seat.came_at = now;
      }
      seat.present = seats[i] != nullptr;
      if (seat.present) seat.endpoint = seats[i];
    }
  }

  // After each call, since time ends ejections, too.
  void watch_ejections(const Ledger& ledger, TimePoint now) {
    std::uint32_t ejected = 0;
    bool is_new = false;
    for (EndpointIndex i = 0; i < seats_.size(); ++i) {
      Seat& seat = seats_[i];
      const bool was = std::exchange(seat.ejected, ledger.ejected(i));
      is_new = is_new || (seat.ejected && !was);
      if (was && !seat.ejected) seat.came_at = now;
      if (seat.ejected && !was) seat.ejected_at = now;
      if (seat.ejected) ++ejected;
      demand(!seat.ejected || seat.present, "endpoint % is ejected and has left", i);
    }
    if (!is_new) return;
    demand(std::ranges::any_of(seats_, &Seat::takes_sessions), "the last endpoint is ejected");
    const auto present = std::ranges::count_if(seats_, &Seat::present);
    demand(ejected * 100 <= present * config_.ejection.max_percent, "% of % endpoints are ejected",
           ejected, present);
  }

  // --- Sockets ---

  void socket_opened(EndpointIndex index, ModelServer& server) {
    --seats_[index].ordered;
    ++seats_[index].sockets;
    ++server.sockets;
    const std::uint32_t most = std::max(pool_.max_connections, seats_[index].most);
    demand(pool_.max_connections == 0 || server.sockets <= most,
           "a server has % connections, more than max_connections", server.sockets);
  }
  void socket_shut(EndpointIndex index, ModelServer& server) {
    --seats_[index].sockets;
    --server.sockets;
    ++seats_[index].shut;
  }
  void shut_forgotten(EndpointIndex index) { --seats_[index].shut; }

  // --- Settings ---

  // Those of the scenario are others now.
  void configured(std::size_t capacity, const Generations& generations, TimePoint now) {
    generations_ = generations;
    seats_.resize(std::max(seats_.size(), capacity));
    longest_backoff_ = std::max<Nanoseconds>(longest_backoff_, pool_.backoff.most);
    longest_ejection_ = std::max<Nanoseconds>(longest_ejection_, config_.ejection.duration);
    const bool has_other_rate = std::exchange(open_rate_, pool_.open_rate) != pool_.open_rate;
    const bool did_warm = std::exchange(warmed_, warms());
    for (Seat& seat : seats_) {
      if (has_other_rate) {
        seat.tokens = most_tokens();
        seat.filled_at = now;
      }
      if (!did_warm) seat.was_warm_at = std::max(seat.was_warm_at, seat.came_at);
      seat.most = seat.counts.total();
      seat.most_opening = seat.counts.opening;
      if (!config_.health_check && !std::exchange(seat.healthy, true)) {
        seat.failing = false;
        seat.failed_at = never;
        seat.came_at = now;
      }
    }
    most_in_all_ = total_;
  }
  const Generations& generations() const { return generations_; }
  Nanoseconds longest_backoff() const { return longest_backoff_; }
  Nanoseconds longest_ejection() const { return longest_ejection_; }

  // --- After each step ---

  void compare(const Ledger& ledger, TimePoint now) {
    std::uint32_t total = 0;
    std::uint32_t sockets = 0;
    for (EndpointIndex i = 0; i < seats_.size(); ++i) {
      Seat& seat = seats_[i];
      const std::uint32_t here = seat.counts.total();
      total += here;
      sockets += seat.sockets;
      demand(seat.counts == ledger.counts(i),
             "endpoint %: opening, idle, leased or closing is not as was told", i);
      demand(seat.sockets + seat.shut + seat.ordered == here, "endpoint %: a socket has no place",
             i);
      const std::uint32_t most = std::max(pool_.max_connections, seat.most);
      demand(pool_.max_connections == 0 || here <= most,
             "endpoint % has % connections, more than max_connections", i, here);
      demand(pool_.max_connections == 0 || seat.sockets <= most,
             "endpoint % has % sockets, more than max_connections", i, seat.sockets);
      demand(seat.counts.opening <= std::max(pool_.max_opening, seat.most_opening),
             "endpoint % opens % at once", i, seat.counts.opening);
      demand(seat.counts.idle <= pool_.max_idle, "endpoint % has % idle, more than max_idle", i,
             seat.counts.idle);
      demand((seat.present && seat.healthy) || seat.counts.idle == 0,
             "endpoint % is not to be used and keeps connections", i);
      seat.most = std::min(seat.most, here);
      seat.most_opening = std::min(seat.most_opening, seat.counts.opening);
    }
    demand(total == total_ && total == ledger.total(), "the total is % and was told to be %",
           ledger.total(), total);
    const std::uint32_t most = std::max(pool_.max_total, most_in_all_);
    demand(pool_.max_total == 0 || total <= most, "% connections in all", total);
    demand(pool_.max_total == 0 || sockets <= most, "% sockets in all", sockets);
    most_in_all_ = std::min(most_in_all_, total);
    demand(opened_ == ledger.opened_count(), "% were opened, not %", opened_,
           ledger.opened_count());
    demand(closed_ == ledger.closed(), "the reasons of closings are not as was told");
    watch_minimum(now);
  }

  // --- What follows ---

  double tokens(const Seat& seat, TimePoint now) const {
    const std::chrono::duration<double> passed = now - seat.filled_at;
    return std::min(most_tokens(), seat.tokens + passed.count() * pool_.open_rate);
  }
  bool below_total() const { return pool_.max_total == 0 || total_ < pool_.max_total; }
  std::uint32_t idle_total() const {
    std::uint32_t idle = 0;
    for (const Seat& seat : seats_) idle += seat.counts.idle;
    return idle;
  }
  std::uint32_t closing_total() const {
    std::uint32_t closing = 0;
    for (const Seat& seat : seats_) closing += seat.counts.closing;
    return closing;
  }
  // Room for one more, as far as the endpoint itself is concerned.
  bool has_room(const Seat& seat) const {
    return seat.counts.opening < (seat.failing ? 1 : pool_.max_opening) &&
           (pool_.max_connections == 0 || seat.counts.total() < pool_.max_connections);
  }
  bool has_token(const Seat& seat, TimePoint now) const {
    return pool_.open_rate == 0 || tokens(seat, now) >= 1.0;
  }
  // It may be in backoff still, or not be warmed yet, so that others are better.
  bool may_be_passed_over(const Seat& seat, TimePoint now) const {
    return now - seat.failed_at < longest_backoff_ + model_slack || may_be_cold(seat, now);
  }
  bool may_be_cold(const Seat& seat, TimePoint now) const {
    return warms() && now - seat.came_at < std::chrono::seconds(5) + model_slack &&
           seat.was_warm_at < seat.came_at;
  }

  // The tier whose endpoints a session may be given that has tried those. Not sure: some may be
  // cold, and then another tier may serve for them.
  struct Tier {
    std::optional<std::uint32_t> number;
    bool is_sure = true;
  };
  Tier tier_for(std::span<const EndpointIndex> tried, TimePoint now) const {
    Tier tier;
    bool any_cold = false;
    std::uint32_t highest = 0;
    for (EndpointIndex i = 0; i < seats_.size(); ++i) {
      const Seat& seat = seats_[i];
      if (!seat.takes_sessions() || std::ranges::find(tried, i) != tried.end()) continue;
      any_cold = any_cold || may_be_cold(seat, now);
      highest = std::max(highest, seat.endpoint->tier);
      tier.number = std::min(tier.number.value_or(seat.endpoint->tier), seat.endpoint->tier);
    }
    tier.is_sure = !any_cold || highest == tier.number;
    return tier;
  }

 private:
  double most_tokens() const { return std::max(1.0, pool_.open_rate / 10); }

  // What is closed while it is idle is closed for that reason.
  void check_reason(const Connection& connection, Closed why, TimePoint now, bool may_warm) const {
    const Seat& seat = seats_[connection.endpoint];
    const Nanoseconds age = now - connection.opened_at + model_slack;
    const Nanoseconds idle = now - connection.idle_since + model_slack;
    const bool is_needed =
        warms() && may_warm && seat.takes_sessions() && seat.counts.idle <= pool_.min_idle;
    bool is_true = true;
    if (why == Closed::idle_timeout) is_true = 10 * idle >= 9 * pool_.idle_timeout && !is_needed;
    // Where both limits are close, the clocks of two workers may disagree.
    const bool is_old = 10 * age >= 9 * pool_.max_lifetime;
    const bool is_stale = connection.uses == 0 && 10 * age >= 8 * pool_.fresh_max_age;
    if (why == Closed::fresh_age) is_true = is_stale || (is_old && pool_.max_lifetime.count() > 0);
    if (why == Closed::lifetime) is_true = is_old;
    if (why == Closed::surplus) {
      is_true = seat.counts.idle > pool_.max_idle || !below_total() ||
                pool_.mode == config::PoolMode::off ||
                (pool_.max_connections != 0 && seat.counts.total() > pool_.max_connections);
    }
    if (why == Closed::unhealthy) is_true = !seat.healthy;
    if (why == Closed::removed) {
      is_true = !seat.present || connection.generation < generations_.newest;
    }
    if (why == Closed::consumed || why == Closed::uses) is_true = false;
    demand(is_true, "an idle connection of endpoint % is closed for reason %, which is not true",
           connection.endpoint, why);
  }

  void closed(Closed why) {
    ++closed_[static_cast<std::size_t>(why)];
    --total_;
  }
  void begin_closing(Seat& seat, Closed why) {
    ++seat.counts.closing;
    ++closed_[static_cast<std::size_t>(why)];
  }

  void watch_minimum(TimePoint now) {
    if (!warms()) return;
    for (Seat& seat : seats_) {
      const bool is_full =
          pool_.max_connections != 0 && seat.counts.total() >= pool_.max_connections;
      if (seat.counts.idle >= pool_.min_idle) seat.was_warm_at = now;
      if (seat.counts.idle >= pool_.min_idle || is_full || !below_total()) seat.was_full_at = now;
    }
  }

  const config::Upstream& config_;
  const config::Pool& pool_;
  std::vector<Seat> seats_;
  double open_rate_;  // as in the last configuration, as the next
  bool warmed_;
  Nanoseconds longest_backoff_;   // of all configurations so far
  Nanoseconds longest_ejection_;  // the same
  Generations generations_;
  std::uint32_t most_in_all_ = 0;  // as Seat::most
  std::uint32_t total_ = 0;
  std::uint64_t opened_ = 0;
  std::array<std::uint64_t, closed_count> closed_{};
};

}  // namespace weir::pool
