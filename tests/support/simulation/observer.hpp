#pragma once
// Watches a ledger from outside and ends the simulation when a promise is broken: Tally has the
// counts and limits, QueueWatch the order; here stand what is lent, and that nothing is forgotten:
// whoever waits while there is room is served, or a Wake is pending; so is whatever has to be
// warmed.

#include <algorithm>
#include <variant>
#include <vector>

#include "tests/support/simulation/queue_watch.hpp"

namespace weir::pool {

class Observer {
 public:
  using Placed = Ledger::Placed;

  Observer(const Scenario& scenario, TimePoint now)
      : scenario_(scenario),
        pool_(scenario.upstream.pool),
        tally_(scenario.upstream, scenario.capacity, now),
        queue_(scenario.upstream, tally_),
        expecting_(!Roster(scenario.upstream).is_complete()) {}

  Tally& tally() { return tally_; }
  const QueueWatch& queue() const { return queue_; }

  // --- Calls, and what the ledger answered ---

  void asked(const Ledger::Asked& asked, std::span<const EndpointIndex> tried,
             const Actions& actions) {
    if (asked.connection != nullptr) {
      tally_.lent(asked.connection->endpoint);
      check_lent(asked.connection->endpoint, tried);
      check_settings(*asked.connection);
    }
    const auto opens_for_it = [&](const Action& action) {
      const auto* open = std::get_if<Open>(&action);
      return open != nullptr && open->opening->waiter != nullptr &&
             open->opening->waiter == asked.waiter;
    };
    const bool is_served = asked.connection != nullptr ||
                           asked.waiter->state == Waiter::State::granted ||
                           std::ranges::any_of(actions, opens_for_it);
    queue_.asked(asked, tried, is_served);
  }
  void gave_up(const Waiter& waiter, Waiter::State before, bool left) {
    demand(left == (before != Waiter::State::granted), "giving up is answered wrongly");
    if (before == Waiter::State::waiting) queue_.gave_up(waiter);
  }
  void opened(const Opening& opening, const Connection& connection, const Placed& placed,
              TimePoint now) {
    tally_.opened(connection.endpoint);
    this->placed(connection, placed, opening.waiter.get(), now);
  }
  void open_failed(const Opening& opening, Failure failure, TimePoint now) {
    tally_.open_failed(opening.endpoint, now);
    check_tried(opening, failure);
  }
  void open_spoilt(const Opening& opening, Failure failure, Closed why, TimePoint now) {
    tally_.opened(opening.endpoint);
    tally_.released(opening.endpoint, why);
    tally_.failed(opening.endpoint, now);
    check_tried(opening, failure);
  }
  void came_back(const Connection& connection, const Placed& placed, TimePoint now) {
    this->placed(connection, placed, nullptr, now);
  }
  // It would be lent again. Nothing: it may be.
  void returning(const Connection& connection, std::optional<Closed> worn_out, TimePoint now) {
    const Tally::Seat& seat = tally_.seats()[connection.endpoint];
    const Nanoseconds age = now - connection.opened_at;
    const bool is_old = pool_.max_lifetime.count() > 0 && age >= pool_.max_lifetime;
    const bool is_used_up = pool_.max_uses != 0 && connection.uses >= pool_.max_uses;
    demand(worn_out || !(is_old || is_used_up || !seat.present || !seat.healthy || shutting_down_),
           "a connection of endpoint % is worn out and would be lent again", connection.endpoint);
  }
  void released(EndpointIndex endpoint, Closed why, TimePoint now) {
    tally_.released(endpoint, why);
    if (why == Closed::peer_closed) tally_.failed(endpoint, now);
  }
  void idle_lost(const Connection& connection, Closed why, TimePoint now) {
    tally_.lost(connection.endpoint, why);
    died(connection, connection.uses > 0, why, now);
  }
  void found_dead(const Connection& connection, Closed why, TimePoint now) {
    tally_.released(connection.endpoint, why);
    died(connection, connection.uses > 1, why, now);
  }
  void hand_failed(const Connection& connection, const std::shared_ptr<Waiter>& waiter,
                   Waiter::State before, Closed why, TimePoint now) {
    found_dead(connection, why, now);
    if (before == Waiter::State::granted) queue_.asks_again(waiter);
  }
  void gone(EndpointIndex endpoint) { tally_.gone(endpoint); }
  void checked(EndpointIndex endpoint, Health::Change change, TimePoint now) {
    if (change == Health::Change::none) return;
    tally_.health_changed(endpoint, change == Health::Change::became_healthy, now);
  }
  void seated(const std::vector<EndpointPointer>& seats, TimePoint now) {
    tally_.seated(seats, now);
  }
  void expects(bool expecting) { expecting_ = expecting; }
  void pressed(Pressure pressure) { pressure_ = pressure; }
  void shuts_down() { shutting_down_ = true; }
  // The scenario has other settings, and the ledger is told: then it closes more at once than
  // sessions ever make room for.
  void configures(const Generations& generations, TimePoint now) {
    tally_.configured(scenario_.capacity, generations, now);
    configuring_ = true;
  }
  void has_configured() { configuring_ = false; }

  // --- Actions, as they leave the ledger ---

  void called(const Ledger& ledger, TimePoint now) {
    tally_.watch_ejections(ledger, now);
    queue_.note_starved();
  }

  void ordered(const Action& action, TimePoint now) {
    if (const auto* open = std::get_if<Open>(&action)) {
      const Opening& opening = *open->opening;
      tally_.opening(opening, now, may_warm());
      if (!opening.waiter) return;
      check_lent(opening.endpoint, opening.waiter->tried);
      queue_.opening(*opening.waiter);
    } else if (const auto* hand = std::get_if<Hand>(&action)) {
      tally_.lent(hand->connection->endpoint);
      check_lent(hand->connection->endpoint, hand->waiter->tried);
      check_settings(*hand->connection);
      queue_.handed(*hand->waiter);
    } else if (const auto* fail = std::get_if<Fail>(&action)) {
      queue_.failed(*fail->waiter);
    } else if (const auto* close = std::get_if<Close>(&action)) {
      tally_.doomed(*close->connection, close->why, now, may_warm());
      check_room(*close);
    } else if (const auto* wake = std::get_if<Wake>(&action)) {
      wake_ = std::min(wake_, wake->at);
    } else if (const auto* end = std::get_if<EndSessions>(&action)) {
      const config::Upstream& upstream = scenario_.upstream;
      demand(end->removed ? upstream.when_endpoint_removed == config::WhenRemoved::close
                          : upstream.when_endpoint_unhealthy == config::WhenUnhealthy::close,
             "sessions are ended against orders");
    }
  }
  void woken() { wake_ = TimePoint::max(); }

  // --- After each step ---

  void look(const Ledger& ledger, TimePoint now) {
    ledger.check_invariants();
    tally_.compare(ledger, now);
    queue_.compare(ledger);
    check_ejected(now);
    if (queue_.any_starved()) {
      check_waiting(now);
      check_catching_up(now);
    } else {
      check_warming(now);
    }
  }

  // Every endpoint that has been there for long enough has had min_idle ready since then.
  void check_minimum(TimePoint since, TimePoint now) {
    if (!tally_.warms()) return;
    EndpointIndex index = 0;
    for (const Tally::Seat& seat : tally_.seats()) {
      const EndpointIndex endpoint = index++;
      const TimePoint from = std::max(since, seat.came_at);
      if (!seat.takes_sessions() || from + scenario_.recovery > now) continue;
      demand(seat.was_full_at >= from, "endpoint % has not reached min_idle", endpoint);
    }
  }
  void check_end() const { queue_.check_gone(); }

  // For whoever reads a trace.
  std::string text(TimePoint now) const {
    std::string all;
    EndpointIndex index = 0;
    for (const Tally::Seat& seat : tally_.seats()) {
      const std::array<std::int64_t, 8> numbers{
          index++,          seat.endpoint ? seat.endpoint->address.port : 0,
          seat.present,     seat.healthy,
          seat.ejected,     seat.counts.opening,
          seat.counts.idle, seat.counts.leased};
      all += filled_in(
          "endpoint % at port %: present %, healthy %, ejected %; % opening, % idle, % leased\n",
          numbers);
    }
    for (const QueueWatch::Waiting& each : queue_.queue()) {
      all += "waits since " + std::to_string((now - each.waiter->since).count() / 1000) + " us, " +
             (each.waiter->opening != nullptr ? "for what is opened" : "for anything") + ", tried";
      for (const EndpointIndex tried : each.waiter->tried) all += ' ' + std::to_string(tried);
      all += '\n';
    }
    return all + "woken in " + std::to_string((wake_ - now).count() / 1000) + " us\n";
  }

 private:
  bool may_warm() const {
    return tally_.warms() && started_ && !shutting_down_ && pressure_ == Pressure::none;
  }

  // What was of use, or has lived for a while, may die.
  void died(const Connection& connection, bool served, Closed why, TimePoint now) {
    const bool is_young = now - connection.opened_at < std::chrono::seconds(1);
    const bool by_peer = why == Closed::peer_closed || why == Closed::unexpected_bytes;
    if (by_peer && !served && is_young) tally_.failed(connection.endpoint, now);
  }

  // Whose connection could not be opened tries another endpoint, or ends with the cause.
  void check_tried(const Opening& opening, Failure failure) const {
    if (!opening.waiter) return;
    const Waiter& waiter = *opening.waiter;
    demand(std::ranges::find(waiter.tried, opening.endpoint) != waiter.tried.end(),
           "endpoint % has failed, and will be tried again", opening.endpoint);
    demand(waiter.failure == failure, "a session is not told the last cause");
    demand(
        waiter.state != Waiter::State::waiting || waiter.tried.size() < scenario_.upstream.attempts,
        "a session has tried % endpoints", waiter.tried.size());
  }

  void placed(const Connection& connection, const Placed& placed, const Waiter* owner,
              TimePoint now) {
    const EndpointIndex endpoint = connection.endpoint;
    if (placed.where != Placed::Where::waiter && holds(connection)) {
      queue_.nobody_granted(endpoint, now);
    }
    switch (placed.where) {
      case Placed::Where::waiter:
        check_settings(connection);
        check_placed(endpoint, *placed.waiter, owner, now);
        queue_.granted(*placed.waiter, endpoint, now);
        return;
      case Placed::Where::idle:
        tally_.became_idle(endpoint, now);
        return;
      case Placed::Where::nobody:
        tally_.unplaced(connection, shutting_down_);
    }
  }

  // Whoever it was opened for may have it; anybody else, if the endpoint could be picked for it.
  void check_placed(EndpointIndex endpoint, const Waiter& waiter, const Waiter* owner,
                    TimePoint now) {
    const Tally::Seat& seat = tally_.seats()[endpoint];
    demand(waiter.state == Waiter::State::granted, "who gets a connection is granted it");
    demand(seat.present && seat.healthy, "endpoint % is not to be used and lends", endpoint);
    if (&waiter == owner) return;
    check_lent(endpoint, waiter.tried);
    const Tally::Tier tier = tally_.tier_for(waiter.tried, now);
    demand(!tier.is_sure || tier.number == seat.endpoint->tier,
           "endpoint % is of another tier than a session is to get", endpoint);
  }
  void check_lent(EndpointIndex endpoint, std::span<const EndpointIndex> tried) {
    demand(tally_.seats()[endpoint].takes_sessions(), "endpoint % is lent, which takes no sessions",
           endpoint);
    demand(std::ranges::find(tried, endpoint) == tried.end(), "endpoint % has been tried",
           endpoint);
  }

  // The settings it was opened under.
  bool holds(const Connection& connection) const {
    return connection.generation >= tally_.generations().oldest_lent;
  }
  void check_settings(const Connection& connection) const {
    demand(holds(connection), "a connection of endpoint % is lent under settings that do not hold",
           connection.endpoint);
  }

  // An idle connection that is closed for no fault of its own makes room for a session that only
  // max_total keeps waiting; one at a time.
  void check_room(const Close& close) const {
    const Tally::Seat& seat = tally_.seats()[close.connection->endpoint];
    if (configuring_ || close.why != Closed::surplus || seat.counts.idle >= pool_.max_idle) return;
    demand(tally_.closing_total() == 1, "room is made for more than one at once");
    demand(queue_.any_starved(), "room is made, and nobody waits for it");
  }

  // A Wake that comes when time alone lets something go on.
  bool is_awaited(TimePoint now, Nanoseconds longest) const {
    return wake_ <= now + longest + model_slack;
  }

  void check_waiting(TimePoint now) const {
    std::size_t position = 0;
    for (const QueueWatch::Waiting& each : queue_.queue()) {
      if (!each.starved) continue;
      demand(pool_.acquire_timeout.count() > 0 ||
                 (each.waiter->gets_room && tally_.closing_total() > 0),
             "a session without patience waits for nothing");
      // The ledger looks at so many that cannot be served.
      if (++position > 60) return;
      check_waits_for_something(*each.waiter, now);
    }
  }

  void check_waits_for_something(const Waiter& waiter, TimePoint now) const {
    const Tally::Tier tier = tally_.tier_for(waiter.tried, now);
    if (!tier.number) {
      demand(expecting_, "a session waits for no endpoint");
      return;
    }
    if (!tier.is_sure) return;
    bool waits_for_time = false;
    EndpointIndex index = 0;
    for (const Tally::Seat& seat : tally_.seats()) {
      const EndpointIndex endpoint = index++;
      if (!seat.takes_sessions() || seat.endpoint->tier != tier.number) continue;
      if (std::ranges::find(waiter.tried, endpoint) != waiter.tried.end()) continue;
      const bool has_idle = seat.counts.idle > 0;
      if (!has_idle && !tally_.has_room(seat)) continue;
      const bool has_no_total = !has_idle && !tally_.below_total();
      if (tally_.may_be_passed_over(seat, now) ||
          (!has_idle && !tally_.has_token(seat, now - model_slack))) {
        waits_for_time = waits_for_time || !has_no_total;
        continue;
      }
      demand(has_no_total, "a session waits although endpoint % has room", endpoint);
      demand(tally_.idle_total() == 0 || tally_.closing_total() > 0,
             "a session waits, and max_total is taken by what is idle");
    }
    demand(!waits_for_time || is_awaited(now, longest_pause()),
           "a session waits, and nothing will wake it");
  }

  // It is ejected for a while, and no longer.
  void check_ejected(TimePoint now) const {
    const Nanoseconds longest = 10 * tally_.longest_ejection();
    const auto& seats = tally_.seats();
    const bool any_left = std::ranges::any_of(seats, &Tally::Seat::takes_sessions);
    for (const Tally::Seat& seat : seats) {
      if (!seat.ejected) continue;
      demand(any_left, "an endpoint is ejected, and nobody is left");
      demand(is_awaited(now, longest), "an endpoint is ejected, and nothing will end that");
      demand(now <= seat.ejected_at + longest + model_slack, "an endpoint is ejected for too long");
    }
  }

  // Who has come is warmed, although sessions wait: they wait for it.
  void check_catching_up(TimePoint now) const {
    if (!may_warm()) return;
    EndpointIndex index = 0;
    for (const Tally::Seat& seat : tally_.seats()) {
      const EndpointIndex endpoint = index++;
      if (!seat.takes_sessions() || !tally_.may_be_cold(seat, now - 2 * model_slack)) continue;
      if (now - seat.came_at > std::chrono::seconds(5) || seat.failed_at != never) continue;
      if (!tally_.has_room(seat) || !tally_.below_total()) continue;
      demand(seat.counts.opening > 0 || !tally_.has_token(seat, now - model_slack),
             "endpoint % has come and is not warmed", endpoint);
    }
  }

  Nanoseconds longest_pause() const {
    const Nanoseconds token =
        pool_.open_rate == 0 ? Nanoseconds(0)
                             : Nanoseconds(static_cast<Nanoseconds::rep>(1e9 / pool_.open_rate));
    return std::max<Nanoseconds>({std::chrono::seconds(5), tally_.longest_backoff(), token});
  }

  // Nobody waits: what is less than min_idle is being opened, or will be when time allows it.
  void check_warming(TimePoint now) {
    if (!may_warm()) return;
    EndpointIndex index = 0;
    for (const Tally::Seat& seat : tally_.seats()) {
      const EndpointIndex endpoint = index++;
      if (!seat.takes_sessions() || seat.counts.idle + seat.counts.opening >= pool_.min_idle)
        continue;
      if (!tally_.has_room(seat) || !tally_.below_total()) continue;
      const bool has_trouble = now - seat.failed_at < tally_.longest_backoff() + model_slack;
      demand(seat.counts.opening > 0 || is_awaited(now, longest_pause()),
             "endpoint % has too few idle, and nothing is done", endpoint);
      demand(seat.counts.opening > 0 || has_trouble || was_in_trouble(seat) ||
                 !tally_.has_token(seat, now - model_slack),
             "endpoint % has too few idle, and is not opened", endpoint);
    }
  }

  // After a failure one connection is tried and lives for a while before all are opened.
  bool was_in_trouble(const Tally::Seat& seat) const { return seat.failed_at != never; }

  const Scenario& scenario_;
  const config::Pool& pool_;
  Tally tally_;
  QueueWatch queue_;
  bool expecting_;
  Pressure pressure_ = Pressure::none;
  bool shutting_down_ = false;
  bool configuring_ = false;
  bool started_ = false;
  TimePoint wake_ = TimePoint::max();

 public:
  // The first tick has been.
  void starts() { started_ = true; }
};

}  // namespace weir::pool
