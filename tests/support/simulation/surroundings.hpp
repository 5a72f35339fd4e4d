#pragma once
// What goes on around a pool: servers that fail and come back, health checks (as proxy/checker.cpp
// makes them), DNS that finds other endpoints (as proxy/discoverer.cpp passes them on), and a
// shortage of descriptors.

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/simulation/shell.hpp"

namespace weir::pool {

class Weather {
 public:
  Weather(World& world, Shell& shell) : world_(world), shell_(shell) {}

  void start() {
    if (!world_.scenario.has_weather) return;
    for (std::uint16_t port = 1; port <= world_.servers.count(); ++port) plan_change(port);
    plan_mishap();
  }
  void clear_up() {
    is_over_ = true;
    for (std::uint16_t port = 1; port <= world_.servers.count(); ++port) {
      set(port, ModelServer::State::up);
    }
  }
  // All servers go at once, and come back.
  void outage(Nanoseconds lasts) {
    for (std::uint16_t port = 1; port <= world_.servers.count(); ++port) {
      set(port, ModelServer::State::refusing);
      end_connections(port, std::chrono::milliseconds(20));
    }
    world_.events.after(lasts, [this] { clear_up(); });
  }

 private:
  void plan_change(std::uint16_t port) {
    const bool is_up = world_.servers.at(port).state == ModelServer::State::up;
    const Nanoseconds storm = world_.scenario.storm;
    const Nanoseconds lasts = world_.chance.exponential(is_up ? storm / 5 : storm / 15);
    world_.events.after(lasts, [this, port] {
      if (is_over_) return;
      change(port);
      plan_change(port);
    });
  }

  void change(std::uint16_t port) {
    using State = ModelServer::State;
    const State before = world_.servers.at(port).state;
    if (before != State::up && world_.chance.percent(70)) return set(port, State::up);
    if (world_.chance.percent(25)) {
      world_.note("server % starts anew", port);
      return end_connections(port, std::chrono::milliseconds(50));
    }
    set(port, world_.chance.pick({State::refusing, State::refusing, State::black_hole,
                                  State::closing, State::slow}));
    // A machine that is gone is missed late, and perhaps was only cut off.
    const State after = world_.servers.at(port).state;
    if (after == State::refusing) end_connections(port, std::chrono::milliseconds(50));
    if (after == State::black_hole && world_.chance.percent(50)) {
      end_connections(port, std::chrono::seconds(20));
    }
  }

  void set(std::uint16_t port, ModelServer::State state) {
    ModelServer& server = world_.servers.at(port);
    if (std::exchange(server.state, state) != state) {
      world_.note("server % is in state %", port, state);
    }
  }

  void end_connections(std::uint16_t port, Nanoseconds within) {
    world_.connections.for_each([&](ModelConnection& connection) {
      if (connection.port == port && connection.stage != ModelConnection::Stage::connecting) {
        plan_end(connection, within);
      }
    });
  }
  void plan_end(ModelConnection& connection, Nanoseconds within) {
    const Nanoseconds delay(static_cast<Nanoseconds::rep>(
        world_.chance.below(static_cast<std::size_t>(within.count()))));
    world_.events.after(delay, [this, id = connection.id] {
      if (ModelConnection* found = world_.connections.find(id)) shell_.server_leaves(*found);
    });
  }

  // One connection ends for no reason, or says something.
  void plan_mishap() {
    world_.events.after(world_.chance.exponential(world_.scenario.storm / 20), [this] {
      if (is_over_) return;
      plan_mishap();
      std::size_t left =
          world_.connections.open() == 0 ? 0 : world_.chance.below(world_.connections.open()) + 1;
      world_.connections.for_each([&](ModelConnection& connection) {
        if (left == 0 || --left > 0) return;
        const bool speaks = world_.chance.percent(30);
        world_.note(speaks ? "connection % is spoken on" : "connection % is left", connection.id);
        if (connection.stage == ModelConnection::Stage::connecting) return;
        if (speaks) return shell_.server_speaks(connection);
        shell_.server_leaves(connection);
      });
    });
  }

  World& world_;
  Shell& shell_;
  bool is_over_ = false;
};

class HealthChecks {
 public:
  HealthChecks(World& world, Shell& shell)
      : world_(world), shell_(shell), seats_(world.scenario.capacity) {}

  // Who sits where now; each worker hears of it on its own.
  void seat(const std::vector<EndpointPointer>& endpoints) {
    if (!world_.scenario.upstream.health_check) return;
    for (WorkerIndex worker = 0; worker < world_.scenario.workers; ++worker) {
      world_.post(worker, [this, worker, endpoints] {
        if (!world_.scenario.upstream.health_check) return;
        for (EndpointIndex i = worker; i < endpoints.size();
             i += static_cast<EndpointIndex>(world_.scenario.workers)) {
          seat(i, endpoints[i]);
        }
      });
    }
  }
  void stop() {
    for (Seat& seat : seats_) {
      seat.endpoint = nullptr;
      ++seat.turn;
    }
  }
  // The scenario has other settings: checks begin anew, if there are any.
  void configured() {
    stop();
    seats_.resize(world_.scenario.capacity);
  }

 private:
  struct Seat {
    EndpointPointer endpoint;
    std::uint32_t turn = 0;
  };

  const config::HealthCheck& check() const { return *world_.scenario.upstream.health_check; }

  void seat(EndpointIndex index, const EndpointPointer& endpoint) {
    Seat& seat = seats_[index];
    if (seat.endpoint && endpoint && seat.endpoint->name == endpoint->name) return;
    seat.endpoint = endpoint;
    ++seat.turn;
    if (endpoint) plan(index, check().fast_interval * world_.chance.real());
  }

  template <class Time>
  void plan(EndpointIndex index, Time delay) {
    const auto rounded = std::chrono::duration_cast<Nanoseconds>(delay);
    world_.events.after(rounded, [this, index, turn = seats_[index].turn] {
      if (seats_[index].turn == turn) ask(index);
    });
  }

  void ask(EndpointIndex index) {
    const ModelServer& server = world_.servers.at(seats_[index].endpoint->address.port);
    Nanoseconds takes = world_.chance.exponential(world_.scenario.round_trip);
    if (server.state == ModelServer::State::slow) takes *= 30;
    const bool is_silent =
        server.state == ModelServer::State::black_hole || takes > check().timeout;
    const bool passed = !is_silent && server.state != ModelServer::State::refusing;
    world_.events.after(is_silent ? check().timeout : takes,
                        [this, index, passed, turn = seats_[index].turn] {
                          if (seats_[index].turn == turn) finish(index, passed);
                        });
  }

  void finish(EndpointIndex index, bool passed) {
    const auto worker = static_cast<WorkerIndex>(index % world_.scenario.workers);
    const EndpointPointer endpoint = seats_[index].endpoint;
    const auto checked = shell_.decide(worker, [&](TimePoint now, Actions& actions) {
      auto result =
          world_.ledger.checked(endpoint, index, passed, passed ? "" : "refused", now, actions);
      if (result) world_.observer.checked(index, result->change, now);
      demand(!result || !passed || !world_.ledger.ejected(index),
             "endpoint % has passed its check and is ejected still", index);
      return result;
    });
    if (checked && checked->change != Health::Change::none) {
      world_.note("endpoint % has changed its health to %", index, passed);
    }
    const config::Duration next = checked ? checked->next : check().interval;
    plan(index, next * (0.9 + 0.2 * world_.chance.real()));
  }

  World& world_;
  Shell& shell_;
  std::vector<Seat> seats_;
};

class Resolver {
 public:
  Resolver(World& world, Shell& shell, HealthChecks& checks)
      : world_(world), shell_(shell), checks_(checks), roster_(world.scenario.upstream) {}

  void start() {
    checks_.seat(world_.ledger.assign(roster_.endpoints()));
    if (roster_.queries().empty()) return;
    world_.events.after(world_.chance.exponential(std::chrono::milliseconds(100)),
                        [this] { answer(); });
  }
  void stop() { is_over_ = true; }
  // The scenario has other settings: the same endpoints, for another balancer and more seats.
  void configured() { set_endpoints(true); }

 private:
  void answer() {
    if (is_over_) return;
    // The table of `hash` takes long to make.
    const bool is_hash = world_.scenario.upstream.balance == config::Balance::hash;
    world_.events.after(world_.chance.exponential(world_.scenario.storm / (is_hash ? 3 : 10)),
                        [this] { answer(); });
    if (world_.chance.percent(20)) return fail();
    if (world_.chance.percent(25)) return repeat();
    if (!roster_.found(0, draw())) return;
    world_.note("other endpoints are found");
    set_endpoints(true);
    if (!roster_.is_complete()) return;
    shell_.decide(world_.now(), [&](TimePoint now, Actions& actions) {
      world_.ledger.expect_endpoints(false, "no name leads to an endpoint", now, actions);
      world_.observer.expects(false);
    });
  }

  void fail() {
    world_.note("a name is not found");
    shell_.decide(world_.now(), [&](TimePoint now, Actions& actions) {
      if (world_.ledger.endpoint_count() > 0) return;
      world_.ledger.expect_endpoints(false, "no such name", now, actions);
      world_.observer.expects(false);
    });
  }

  void repeat() {
    world_.note("the same endpoints are found");
    set_endpoints(false);
  }

  std::vector<Found> draw() {
    std::vector<Found> found;
    const bool is_service =
        world_.scenario.upstream.endpoints.back().kind == config::Endpoint::Kind::service;
    const std::size_t most = world_.chance.percent(10) ? 0 : world_.chance.between(1U, 5U);
    const auto first = static_cast<std::uint16_t>(world_.scenario.written + 1);
    for (std::uint16_t port = first; port <= world_.servers.count(); ++port) {
      const std::size_t rest = world_.servers.count() - port + 1U;
      if (found.size() >= most || world_.chance.below(rest) >= most - found.size()) continue;
      const std::uint32_t weight = is_service ? world_.chance.between(1U, 3U) : 1;
      const std::uint32_t tier = is_service && world_.chance.percent(25) ? 1 : 0;
      found.push_back({ScenarioDraw::address_of(port), weight, tier});
    }
    return found;
  }

  // As pool::Upstream does. The same endpoints again close nothing.
  void set_endpoints(bool others) {
    std::vector<EndpointPointer> seats = world_.ledger.assign(roster_.endpoints());
    std::vector<Balancer::Member> members;
    for (const EndpointPointer& each : seats) {
      members.push_back(each ? Balancer::Member{each->name, each->weight, each->tier}
                             : Balancer::Member{.name = {}, .weight = 0, .tier = 0});
    }
    auto balancer = Balancer::make(world_.scenario.upstream.balance, members, world_.chance.bits());
    shell_.decide(world_.now(), [&](TimePoint now, Actions& actions) {
      world_.observer.seated(seats, now);
      world_.ledger.set_endpoints(seats, std::move(balancer), now, actions);
      demand(others || std::ranges::none_of(actions, closes), "the same endpoints close something");
    });
    checks_.seat(seats);
  }
  static bool closes(const Action& action) {
    const auto* close = std::get_if<Close>(&action);
    return (close != nullptr && close->why == Closed::removed) ||
           std::holds_alternative<Fail>(action) || std::holds_alternative<EndSessions>(action);
  }

  World& world_;
  Shell& shell_;
  HealthChecks& checks_;
  Roster roster_;
  bool is_over_ = false;
};

// As proxy/descriptor_watch.cpp does when there are few left.
class Descriptors {
 public:
  Descriptors(World& world, Shell& shell) : world_(world), shell_(shell) {}

  void start() {
    if (world_.chance.percent(40)) plan();
  }
  void stop() {
    is_over_ = true;
    press(Pressure::none);
  }

 private:
  void plan() {
    const Nanoseconds storm = world_.scenario.storm;
    world_.events.after(world_.chance.exponential(is_short_ ? storm / 20 : storm / 6), [this] {
      if (is_over_) return;
      press(is_short_ ? Pressure::none : Pressure::no_warming);
      if (is_short_ && world_.chance.percent(70)) shed(world_.chance.between(1U, 6U));
      plan();
    });
  }

  void press(Pressure pressure) {
    is_short_ = pressure != Pressure::none;
    world_.note("the shortage of descriptors is %", is_short_);
    shell_.decide(world_.now(), [&](TimePoint now, Actions& actions) {
      world_.observer.pressed(pressure);
      world_.ledger.set_pressure(pressure, now, actions);
    });
  }

  void shed(std::uint32_t count) {
    world_.note("% connections are shed", count);
    shell_.decide(world_.now(), [&](TimePoint, Actions& actions) {
      const TimePoint oldest = world_.ledger.oldest_idle();
      const std::size_t closed = world_.ledger.shed(count, actions);
      const auto closings = static_cast<std::size_t>(std::ranges::count_if(
          actions, [](const Action& each) { return std::holds_alternative<Close>(each); }));
      demand(closed == closings && closed <= count, "% are shed, not %", closings, closed);
      if (closed == 0) return;
      demand(std::get<Close>(actions.front()).connection->idle_since == oldest,
             "what is shed is not the oldest");
    });
  }

  World& world_;
  Shell& shell_;
  bool is_short_ = false;
  bool is_over_ = false;
};

}  // namespace weir::pool
