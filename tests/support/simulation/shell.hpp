#pragma once
// Plays what does the I/O for a ledger: each worker's connections, as proxy/connections.cpp has
// them, without a socket. It carries out actions when they arrive, opens connections to the model's
// servers, looks at them before they are lent, and tells the ledger what becomes of them.

#include <memory>
#include <utility>
#include <vector>

#include "tests/support/simulation/world.hpp"

namespace weir::pool {

class Shell {
 public:
  // The sessions that wait for connections and use them.
  class Sessions {
   public:
    virtual void granted(Client& client, ModelConnection& connection) = 0;
    virtual void failed(Client& client, Waiter& waiter) = 0;
    virtual void server_left(Client& client) = 0;
    virtual void end_all(WorkerIndex worker, const EndpointPointer& endpoint) = 0;

   protected:
    ~Sessions() = default;
  };

  Shell(World& world, Sessions& sessions)
      : world_(world), ledger_(world.ledger), observer_(world.observer), sessions_(sessions) {}

  // Runs `call(now, actions)`, in which the ledger is called and the observer told; then what it
  // asked for goes to the workers.
  template <class Call>
  auto decide(TimePoint now, Call&& call) {
    if constexpr (std::is_void_v<decltype(call(now, actions_))>) {
      call(now, actions_);
      hand_out(now);
    } else {
      auto result = call(now, actions_);
      hand_out(now);
      return result;
    }
  }
  template <class Call>
  auto decide(WorkerIndex worker, Call&& call) {
    return decide(world_.clock(worker), std::forward<Call>(call));
  }

  void ring(TimePoint at) {
    world_.note("tick");
    observer_.woken();
    decide(world_.clock(0, at),
           [&](TimePoint now, Actions& actions) { ledger_.tick(now, actions); });
  }

  // An idle connection is lent: proved alive, or gone.
  bool take(ModelConnection& connection) {
    demand(connection.stage == ModelConnection::Stage::idle && !connection.is_linked(),
           "connection % is lent and is not idle", connection.id);
    ++connection.turn;
    connection.stage = ModelConnection::Stage::leased;
    return connection.good();
  }

  void lease_dropped(ModelConnection& connection, Closed why) {
    const EndpointIndex endpoint = connection.endpoint;
    const WorkerIndex worker = connection.worker;
    const TimePoint opened_at = connection.opened_at;
    world_.note("connection % of endpoint % ends, reason %", connection.id, endpoint, why);
    close(connection);
    decide(worker, [&](TimePoint now, Actions& actions) {
      ledger_.released(endpoint, why, now, actions, opened_at);
      observer_.released(endpoint, why, now);
    });
  }

  // It was lent, and the look at it has found it dead.
  void found_dead(ModelConnection& connection) {
    const Closed why = connection.cause_of_death();
    world_.note("connection % is found dead", connection.id);
    shut(connection);
    decide(connection.worker, [&](TimePoint now, Actions& actions) {
      ledger_.found_dead(connection, why, now, actions);
      observer_.found_dead(connection, why, now);
    });
    close(connection);
  }

  void lease_kept(ModelConnection& connection) {
    const TimePoint now = world_.clock(connection.worker);
    const auto worn_out = ledger_.worn_out(connection, now);
    observer_.returning(connection, worn_out, now);
    if (worn_out) return lease_dropped(connection, *worn_out);
    connection.client = nullptr;
    connection.stage = ModelConnection::Stage::resetting;
    begin_reset(connection);
  }

  // The ledger has been configured: each worker passes on what it has idle.
  void reconsider() {
    for (WorkerIndex worker = 0; worker < world_.scenario.workers; ++worker) {
      world_.post(worker, [this, worker] {
        world_.connections.for_each([&](ModelConnection& connection) {
          if (connection.worker != worker) return;
          if (connection.stage != ModelConnection::Stage::idle) return;
          decide(worker, [&](TimePoint now, Actions& actions) {
            ledger_.reconsider(connection, now, actions);
          });
          if (connection.is_linked()) plan_expiry(connection);
        });
      });
    }
  }

  // --- What a server does ---

  // FIN or RST, or bytes that nobody has asked for, arrive and are seen soon.
  void server_leaves(ModelConnection& connection) {
    connection.left = true;
    stir(connection);
  }
  void server_speaks(ModelConnection& connection) {
    if (connection.stage != ModelConnection::Stage::idle) return;
    connection.spoken = true;
    stir(connection);
  }

 private:
  const config::Pool& pool() const { return world_.scenario.upstream.pool; }

  void hand_out(TimePoint now) {
    observer_.called(ledger_, now);
    for (Action& action : actions_) {
      observer_.ordered(action, now);
      post(std::move(action));
    }
    actions_.clear();
  }

  void post(Action action) {
    if (const auto* end = std::get_if<EndSessions>(&action)) {
      for (WorkerIndex i = 0; i < world_.scenario.workers; ++i) {
        world_.post(i, [this, i, endpoint = end->endpoint] { sessions_.end_all(i, endpoint); });
      }
      return;
    }
    struct Target {
      WorkerIndex operator()(const Open& open) const { return open.opening->worker; }
      WorkerIndex operator()(const Hand& hand) const { return hand.connection->worker; }
      WorkerIndex operator()(const Fail& fail) const { return fail.waiter->worker; }
      WorkerIndex operator()(const Close& close) const { return close.connection->worker; }
      WorkerIndex operator()(const EndSessions&) const { return 0; }
      WorkerIndex operator()(const Wake&) const { return 0; }
    };
    const WorkerIndex worker = std::visit(Target{}, action);
    world_.post(worker, [this, moved = std::move(action)]() mutable { perform(std::move(moved)); });
  }

  void perform(Action action) {
    if (auto* begin = std::get_if<Open>(&action)) {
      open(std::move(begin->opening));
    } else if (auto* hand = std::get_if<Hand>(&action)) {
      hand_over(static_cast<ModelConnection&>(*hand->connection), hand->waiter);
    } else if (auto* fail = std::get_if<Fail>(&action)) {
      if (auto* client = static_cast<Client*>(fail->waiter->session)) {
        sessions_.failed(*client, *fail->waiter);
      }
    } else if (auto* order = std::get_if<Close>(&action)) {
      auto& connection = static_cast<ModelConnection&>(*order->connection);
      demand(connection.stage == ModelConnection::Stage::idle,
             "connection % is to be closed and is not idle", connection.id);
      world_.note("connection % is closed, reason %", connection.id, order->why);
      drop(connection);
    } else if (const auto* wake = std::get_if<Wake>(&action)) {
      ring_at(wake->at);
    }
  }

  void ring_at(TimePoint at) {
    if (at >= alarm_) return;
    alarm_ = at;
    world_.events.at(at, [this, at] {
      if (alarm_ != at) return;
      alarm_ = TimePoint::max();
      ring(at);
    });
  }

  // --- Opening ---

  void open(std::unique_ptr<Opening> opening) {
    ModelConnection& connection = world_.connections.add();
    connection.port = opening->target->address.port;
    connection.endpoint = opening->endpoint;
    connection.worker = opening->worker;
    connection.opening = std::move(opening);
    connection.generation = world_.generations.newest;
    ModelServer& server = world_.servers.at(connection.port);
    observer_.tally().socket_opened(connection.endpoint, server);
    world_.note("connection % to endpoint % is being opened by worker %", connection.id,
                connection.endpoint, connection.worker);
    if (world_.chance.below(200) == 0) return open_failed(connection, Failure::descriptors);
    const Nanoseconds limit = world_.scenario.upstream.connect_timeout;
    Nanoseconds takes = world_.chance.exponential(world_.scenario.round_trip);
    if (server.state == ModelServer::State::slow) takes *= 30;
    if (server.state == ModelServer::State::black_hole || takes > limit) {
      takes = limit;
      plan(connection, takes,
           [this](ModelConnection& late) { open_failed(late, Failure::timeout); });
      return;
    }
    plan(connection, takes, [this](ModelConnection& answered) { open_answered(answered); });
  }

  void open_answered(ModelConnection& connection) {
    const ModelServer::State state = world_.servers.at(connection.port).state;
    if (state == ModelServer::State::refusing || state == ModelServer::State::black_hole) {
      return open_failed(connection, Failure::refused);
    }
    if (world_.chance.below(300) == 0) return open_failed(connection, Failure::tls_failed);
    if (world_.chance.below(300) == 0) return open_spoilt(connection);
    const std::unique_ptr<Opening> opening = std::move(connection.opening);
    world_.note("connection % is open", connection.id);
    if (state == ModelServer::State::closing) {
      leave_after(connection, world_.chance.exponential(std::chrono::milliseconds(2)));
    } else if (world_.scenario.server_patience > Nanoseconds(0)) {
      lose_patience(connection);
    }
    const Ledger::Placed placed = decide(opening->worker, [&](TimePoint now, Actions& actions) {
      auto result = ledger_.opened(*opening, connection, now, actions);
      observer_.opened(*opening, connection, result, now);
      return result;
    });
    place(connection, placed, true);
  }

  void open_failed(ModelConnection& connection, Failure failure) {
    const std::unique_ptr<Opening> opening = std::move(connection.opening);
    world_.note("connection % to endpoint % cannot be opened, reason %", connection.id,
                opening->endpoint, failure);
    close(connection);
    decide(opening->worker, [&](TimePoint now, Actions& actions) {
      ledger_.open_failed(*opening, failure, "refused", now, actions);
      observer_.open_failed(*opening, failure, now);
    });
  }

  // It was opened, and then closed by its server before it was of use.
  void open_spoilt(ModelConnection& connection) {
    const std::unique_ptr<Opening> opening = std::move(connection.opening);
    world_.note("connection % to endpoint % is of no use", connection.id, opening->endpoint);
    close(connection);
    decide(opening->worker, [&](TimePoint now, Actions& actions) {
      ledger_.open_spoilt(*opening, Failure::refused, "spoilt", Closed::peer_closed, now, actions);
      observer_.open_spoilt(*opening, Failure::refused, Closed::peer_closed, now);
    });
  }

  // --- Where a connection goes ---

  // New: it was opened just now.
  void place(ModelConnection& connection, const Ledger::Placed& placed, bool is_new = false) {
    switch (placed.where) {
      case Ledger::Placed::Where::nobody:
        world_.note("connection % is for nobody", connection.id);
        drop(connection);
        return;
      case Ledger::Placed::Where::idle:
        keep_idle(connection);
        return;
      case Ledger::Placed::Where::waiter:
        break;
    }
    if (placed.waiter->worker == connection.worker) {
      deliver(connection, placed.waiter);
    } else {
      send(connection, placed.waiter, is_new);
    }
  }

  void send(ModelConnection& connection, std::shared_ptr<Waiter> waiter, bool is_new) {
    connection.stage = ModelConnection::Stage::travelling;
    ++connection.turn;
    const WorkerIndex worker = waiter->worker;
    world_.note("connection % goes to worker %", connection.id, worker);
    world_.post(worker, [this, worker, is_new, id = connection.id, to = std::move(waiter)] {
      arrive(*world_.connections.find(id), worker, to, is_new);
    });
  }

  void arrive(ModelConnection& connection, WorkerIndex worker,
              const std::shared_ptr<Waiter>& waiter, bool is_new) {
    connection.worker = worker;
    if (world_.chance.below(100) == 0) return hand_failed(connection, waiter, Closed::descriptors);
    if (!is_new && !connection.good()) {
      return hand_failed(connection, waiter, connection.cause_of_death());
    }
    deliver(connection, waiter);
  }

  void deliver(ModelConnection& connection, const std::shared_ptr<Waiter>& waiter) {
    auto* client = static_cast<Client*>(waiter->session);
    if (client != nullptr) {
      connection.stage = ModelConnection::Stage::leased;
      waiter->session = nullptr;
      sessions_.granted(*client, connection);
      return;
    }
    world_.note("connection % finds its session gone", connection.id);
    const Ledger::Placed placed = decide(connection.worker, [&](TimePoint now, Actions& actions) {
      auto result = ledger_.unwanted(connection, now, actions);
      observer_.came_back(connection, result, now);
      return result;
    });
    place(connection, placed);
  }

  void hand_over(ModelConnection& connection, const std::shared_ptr<Waiter>& waiter) {
    if (!take(connection)) return hand_failed(connection, waiter, connection.cause_of_death());
    if (waiter->worker == connection.worker) {
      deliver(connection, waiter);
    } else {
      send(connection, waiter, false);
    }
  }

  void hand_failed(ModelConnection& connection, const std::shared_ptr<Waiter>& waiter, Closed why) {
    world_.note("connection % cannot be handed over", connection.id);
    shut(connection);
    decide(connection.worker, [&](TimePoint now, Actions& actions) {
      const Waiter::State before = waiter->state;
      ledger_.hand_failed(connection, waiter, why, now, actions);
      observer_.hand_failed(connection, waiter, before, why, now);
    });
    close(connection);
  }

  // --- Idle connections ---

  void keep_idle(ModelConnection& connection) {
    world_.note("connection % is idle at endpoint %, worker %", connection.id, connection.endpoint,
                connection.worker);
    connection.stage = ModelConnection::Stage::idle;
    ++connection.turn;
    plan_expiry(connection);
    if (!connection.good()) stir(connection);
  }

  void plan_expiry(ModelConnection& connection) {
    if (connection.due == TimePoint::max()) return;
    plan_at(connection, connection.due, [this](ModelConnection& old) {
      const TimePoint now = world_.clock(old.worker, old.due);
      world_.note("the time of connection % has come", old.id);
      decide(now, [&](TimePoint time, Actions& actions) { ledger_.expire(old, time, actions); });
      demand(!old.is_linked() || old.due > now,
             "connection % stays, and will not be looked at again", old.id);
      if (old.due > now) plan_expiry(old);
    });
  }

  void idle_stirred(ModelConnection& connection) {
    const Closed why = connection.cause_of_death();
    world_.note("idle connection % has stirred", connection.id);
    shut(connection);
    const bool ours = decide(connection.worker, [&](TimePoint now, Actions& actions) {
      const bool is_lost = ledger_.idle_lost(connection, why, now, actions);
      if (is_lost) observer_.idle_lost(connection, why, now);
      return is_lost;
    });
    if (ours) close(connection);
  }

  // The worker sees what has arrived.
  void stir(ModelConnection& connection) {
    const Nanoseconds delay(static_cast<Nanoseconds::rep>(world_.chance.below(1'000'000)));
    world_.events.after(delay, [this, id = connection.id] {
      ModelConnection* found = world_.connections.find(id);
      if (found == nullptr || found->good()) return;
      switch (found->stage) {
        case ModelConnection::Stage::idle:
          return idle_stirred(*found);
        case ModelConnection::Stage::leased:
          return sessions_.server_left(*found->client);
        case ModelConnection::Stage::resetting:
          return lease_dropped(*found, Closed::reset_failed);
        case ModelConnection::Stage::connecting:
        case ModelConnection::Stage::travelling:
          return;  // it is looked at when it gets where it goes
      }
    });
  }

  // --- The reset exchange ---

  // Two questions, two answers; or none in time, or a wrong one.
  void begin_reset(ModelConnection& connection) {
    const Nanoseconds limit = pool().reset->timeout;
    const Nanoseconds takes = 2 * world_.chance.exponential(world_.scenario.round_trip);
    const bool answers = world_.servers.at(connection.port).answers() && takes < 2 * limit;
    const bool is_right = answers && world_.chance.below(12) != 0;
    plan(connection, answers ? takes : limit, [this, is_right](ModelConnection& reset) {
      if (!is_right) return lease_dropped(reset, Closed::reset_failed);
      reset.remembers = nobody;
      const Ledger::Placed placed = decide(reset.worker, [&](TimePoint now, Actions& actions) {
        auto result = ledger_.returned(reset, now, actions);
        observer_.came_back(reset, result, now);
        return result;
      });
      place(reset, placed);
    });
  }

  // --- Time ---

  // Happens to a connection unless its next turn comes first.
  template <class Happen>
  void plan_at(ModelConnection& connection, TimePoint at, Happen happen) {
    world_.events.at(
        at, [this, id = connection.id, turn = ++connection.turn, happen = std::move(happen)] {
          ModelConnection* found = world_.connections.find(id);
          if (found != nullptr && found->turn == turn) happen(*found);
        });
  }
  template <class Happen>
  void plan(ModelConnection& connection, Nanoseconds delay, Happen happen) {
    plan_at(connection, world_.now() + delay, std::move(happen));
  }

  void leave_after(ModelConnection& connection, Nanoseconds delay) {
    world_.events.after(delay, [this, id = connection.id] {
      if (ModelConnection* found = world_.connections.find(id)) server_leaves(*found);
    });
  }
  // A server closes what has never said anything.
  void lose_patience(ModelConnection& connection) {
    world_.events.after(world_.scenario.server_patience, [this, id = connection.id] {
      ModelConnection* found = world_.connections.find(id);
      if (found != nullptr && found->spoken_on == 0) server_leaves(*found);
    });
  }

  // --- Ends ---

  // Nobody has it any more.
  void drop(ModelConnection& connection) {
    const EndpointIndex endpoint = connection.endpoint;
    const WorkerIndex worker = connection.worker;
    close(connection);
    decide(worker, [&](TimePoint now, Actions& actions) {
      ledger_.gone(endpoint, now, actions);
      observer_.gone(endpoint);
    });
  }
  // Before its place in the books is free.
  void shut(ModelConnection& connection) {
    if (std::exchange(connection.shut, true)) return;
    observer_.tally().socket_shut(connection.endpoint, world_.servers.at(connection.port));
  }
  void close(ModelConnection& connection) {
    shut(connection);
    observer_.tally().shut_forgotten(connection.endpoint);
    demand(!connection.is_linked(), "connection % is closed and may be lent", connection.id);
    world_.connections.remove(connection);
  }

  World& world_;
  Ledger& ledger_;
  Observer& observer_;
  Sessions& sessions_;
  Actions actions_;
  TimePoint alarm_ = TimePoint::max();
};

}  // namespace weir::pool
