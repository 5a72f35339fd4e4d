#pragma once
// A ledger with its workers played by a test: actions are looked at instead of carried out,
// connections are bare objects, time is moved by hand.

#include <algorithm>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "pool/ledger.hpp"
#include "pool/roster.hpp"

namespace weir::pool {

inline config::Upstream upstream(std::size_t endpoints, config::Pool pool = {}) {
  config::Upstream result;
  result.name = "api";
  result.pool = pool;
  result.ejection.failures = 0;
  result.health_check.emplace();
  result.health_check->healthy_after = result.health_check->unhealthy_after = 1;
  for (std::size_t i = 0; i < endpoints; ++i) {
    config::Endpoint endpoint;
    endpoint.address = {config::Address::Kind::ipv4, "127.0.0.1",
                        static_cast<std::uint16_t>(i + 1)};
    result.endpoints.push_back(endpoint);
  }
  return result;
}

// At 127.0.0.1.
inline EndpointPointer endpoint_at(std::uint16_t port, std::uint32_t weight = 1,
                                   std::uint32_t tier = 0) {
  const config::Address address{config::Address::Kind::ipv4, "127.0.0.1", port};
  return std::make_shared<const Endpoint>(
      Endpoint{address, address.text(), address.host, weight, tier});
}

// A ledger with its workers played by the test.
class Books {
 public:
  explicit Books(config::Upstream config, std::size_t workers = 1, std::size_t capacity = 0)
      : config_(std::move(config)),
        ledger(config_, capacity == 0 ? Roster::capacity(config_) : capacity, workers,
               TimePoint{std::chrono::hours(1)}) {}

  Ledger::Asked acquire(WorkerIndex worker = 0, std::uint64_t key = 0,
                        const std::vector<EndpointIndex>& tried = {}) {
    auto asked = ledger.acquire(worker, tried, key, now, actions);
    settle();
    return asked;
  }
  // A connection is lent that is opened for it.
  Connection& lease(WorkerIndex worker = 0, const std::vector<EndpointIndex>& tried = {}) {
    acquire(worker, 0, tried);
    succeed(openings.size() - 1);
    return *last;
  }
  void give_up(const Ledger::Asked& asked) {
    ledger.give_up(*asked.waiter, now, actions);
    settle();
  }

  // Time goes on, and the ledger is told when it wants to be.
  void advance(std::chrono::nanoseconds time) {
    const TimePoint end = now + time;
    while (wake <= end) {
      now = std::max(now, std::exchange(wake, TimePoint::max()));
      tick();
    }
    now = end;
  }

  void tick() {
    ledger.tick(now, actions);
    settle();
  }

  void check(EndpointIndex endpoint, bool passed, const std::string& why = "refused") {
    ledger.checked(ledger.endpoint(endpoint), endpoint, passed, passed ? "" : why, now, actions);
    settle();
  }

  void release(EndpointIndex endpoint, Closed why = Closed::consumed) {
    ledger.released(endpoint, why, now, actions);
    settle();
  }

  // Those are the endpoints from now on.
  void set_endpoints(const std::vector<EndpointPointer>& wanted) {
    std::vector<EndpointPointer> seats = ledger.assign(wanted);
    std::vector<Balancer::Member> members;
    for (const EndpointPointer& each : seats) {
      members.push_back(each ? Balancer::Member{each->name, each->weight, each->tier}
                             : Balancer::Member{.name = {}, .weight = 0, .tier = 0});
    }
    ledger.set_endpoints(std::move(seats), Balancer::make(config_.balance, members, 1), now,
                         actions);
    settle();
  }

  // Sorts what the ledger asked for into what is open to be answered. What is to be closed is
  // closed at once, unless it `closes_late`.
  void settle() {
    while (!actions.empty()) {
      for (Action& action : std::exchange(actions, {})) sort(action);
    }
    ledger.check_invariants();
  }
  void sort(Action& action) {
    if (auto* open = std::get_if<Open>(&action)) {
      openings.push_back(std::move(open->opening));
    } else if (auto* hand = std::get_if<Hand>(&action)) {
      handed.emplace_back(hand->connection, hand->waiter);
    } else if (auto* fail = std::get_if<Fail>(&action)) {
      failed.push_back(fail->waiter);
    } else if (auto* close = std::get_if<Close>(&action)) {
      closed.emplace_back(close->connection, close->why);
      if (!closes_late) ledger.gone(close->connection->endpoint, now, actions);
    } else if (auto* end = std::get_if<EndSessions>(&action)) {
      ended.push_back(*end);
    } else if (auto* alarm = std::get_if<Wake>(&action)) {
      wake = std::min(wake, alarm->at);
    }
  }

  Ledger::Placed succeed(std::size_t index = 0) {
    const std::unique_ptr<Opening> opening = take(index);
    connections.push_back(std::make_unique<Connection>());
    last = connections.back().get();
    last->generation = generation;
    auto placed = ledger.opened(*opening, *last, now, actions);
    if (placed.where == Ledger::Placed::Where::nobody && !closes_late) {
      ledger.gone(last->endpoint, now, actions);
    }
    settle();
    return placed;
  }

  void fail(std::size_t index = 0, Failure failure = Failure::refused) {
    const std::unique_ptr<Opening> opening = take(index);
    ledger.open_failed(*opening, failure, "refused", now, actions);
    settle();
  }

  std::unique_ptr<Opening> take(std::size_t index) {
    auto opening = std::move(openings.at(index));
    openings.erase(openings.begin() + static_cast<std::ptrdiff_t>(index));
    return opening;
  }

 private:
  config::Upstream config_;

 public:
  std::vector<std::unique_ptr<Connection>> connections;
  Ledger ledger;
  TimePoint now{std::chrono::hours(1)};
  Actions actions;
  std::deque<std::unique_ptr<Opening>> openings;
  std::vector<std::pair<Connection*, std::shared_ptr<Waiter>>> handed;
  std::vector<std::shared_ptr<Waiter>> failed;
  std::vector<std::pair<Connection*, Closed>> closed;
  std::vector<EndSessions> ended;
  TimePoint wake = TimePoint::max();
  Connection* last = nullptr;
  bool closes_late = false;
  std::uint64_t generation = 0;  // of what is opened
};

}  // namespace weir::pool
