#pragma once
// The clients: they come in bunches, wait, lose patience, use their connection and end, as
// proxy/session.cpp and proxy/lease.cpp have them do. What a client sends is remembered by its
// server until that has answered the reset exchange: nobody else may meet it.

#include <algorithm>
#include <memory>
#include <vector>

#include "tests/support/simulation/shell.hpp"

namespace weir::pool {

struct Client {
  enum class State : std::uint8_t { waiting, using_it, ended };

  ClientId id = nobody;
  WorkerIndex worker = 0;
  std::uint64_t key = 0;
  State state = State::waiting;
  std::shared_ptr<Waiter> waiter;
  ModelConnection* connection = nullptr;
  bool has_spoken = false;
  std::vector<EndpointIndex> tried;
  TimePoint impatient_at;
  std::uint32_t turn = 0;
};

class Sessions final : public Shell::Sessions {
 public:
  explicit Sessions(World& world) : world_(world), shell_(world, *this) {}

  Shell& shell() { return shell_; }
  std::size_t present() const { return present_; }

  void arrive() {
    Chance& chance = world_.chance;
    clients_.push_back(std::make_unique<Client>());
    Client& client = *clients_.back();
    client.id = static_cast<ClientId>(clients_.size());
    const std::size_t workers = world_.scenario.workers;
    client.worker = world_.scenario.is_skewed && chance.percent(80)
                        ? 0
                        : static_cast<WorkerIndex>(chance.below(workers));
    client.key = chance.below(20) * 7919;
    const Nanoseconds patience = world_.scenario.upstream.pool.acquire_timeout;
    client.impatient_at = patience == Nanoseconds(0) ? TimePoint::max() : world_.now() + patience;
    if (chance.percent(15)) {
      const Nanoseconds own = chance.between(std::chrono::milliseconds(1), std::chrono::seconds(5));
      client.impatient_at = std::min(client.impatient_at, world_.now() + own);
    }
    ++present_;
    world_.note("client % comes to worker %", client.id, client.worker);
    ask(client);
  }

  // Whoever is still there goes soon.
  void send_home() {
    for (const auto& client : clients_) {
      if (client->state != Client::State::using_it) continue;
      end_after(*client, world_.chance.exponential(world_.scenario.use / 4));
    }
  }

  // --- From the shell ---

  void granted(Client& client, ModelConnection& connection) override {
    demand(client.state == Client::State::waiting && client.waiter,
           "client % gets a connection and does not wait", client.id);
    client.tried = client.waiter->tried;
    client.waiter.reset();
    begin(client, connection);
  }
  void failed(Client& client, Waiter& waiter) override {
    demand(client.waiter.get() == &waiter, "client % fails and does not wait", client.id);
    waiter.session = nullptr;
    world_.note("client % is told to go, reason %", client.id, waiter.failure);
    leave(client);
  }
  void server_left(Client& client) override {
    ModelConnection& connection = *client.connection;
    if (client.has_spoken || !may_try_elsewhere(client)) return end(client, false);
    world_.note("client % tries elsewhere", client.id);
    client.tried.push_back(connection.endpoint);
    client.connection = nullptr;
    ++client.turn;
    shell_.lease_dropped(connection, Closed::peer_closed);
    ask(client);
  }
  void end_all(WorkerIndex worker, const EndpointPointer& endpoint) override {
    for (const auto& client : clients_) {
      if (client->worker != worker || client->state != Client::State::using_it) continue;
      if (client->connection->port == endpoint->address.port) end(*client, false);
    }
  }

 private:
  void ask(Client& client) {
    client.state = Client::State::waiting;
    for (;;) {
      const auto asked = shell_.decide(client.worker, [&](TimePoint now, Actions& actions) {
        auto result = world_.ledger.acquire(client.worker, client.tried, client.key, now, actions);
        world_.observer.asked(result, client.tried, actions);
        return result;
      });
      if (asked.waiter) return wait(client, asked);
      auto& connection = static_cast<ModelConnection&>(*asked.connection);
      if (shell_.take(connection)) return begin(client, connection);
      shell_.found_dead(connection);
    }
  }

  void wait(Client& client, const Ledger::Asked& asked) {
    client.waiter = asked.waiter;
    client.waiter->session = &client;
    if (asked.failed) return failed(client, *client.waiter);
    if (client.impatient_at == TimePoint::max()) return;
    plan_at(client, client.impatient_at, [this](Client& tired) { give_up(tired); });
  }

  void give_up(Client& client) {
    const std::shared_ptr<Waiter> waiter = client.waiter;
    waiter->session = nullptr;
    world_.note("client % gives up", client.id);
    shell_.decide(client.worker, [&](TimePoint now, Actions& actions) {
      const Waiter::State before = waiter->state;
      const bool left = world_.ledger.give_up(*waiter, now, actions);
      world_.observer.gave_up(*waiter, before, left);
    });
    leave(client);
  }

  void begin(Client& client, ModelConnection& connection) {
    world_.note("client % gets connection % of endpoint %", client.id, connection.id,
                connection.endpoint);
    check_clean(connection);
    client.state = Client::State::using_it;
    client.connection = &connection;
    client.has_spoken = false;
    connection.client = &client;
    ++connection.lent;
    if (world_.scenario.upstream.proxy_protocol != config::SendProxy::off) {
      demand(connection.header == nobody, "connection % has named client % already", connection.id,
             connection.header);
      connection.header = client.id;
    }
    // It may have been closed on its way between workers.
    if (!connection.good()) shell_.server_leaves(connection);
    const Nanoseconds use = world_.chance.exponential(world_.scenario.use);
    if (world_.chance.percent(80)) {
      speak(client);
    } else if (world_.chance.percent(60)) {
      plan_at(client, world_.now() + use / 2, [this, use](Client& slow) {
        speak(slow);
        end_after(slow, use / 2);
      });
      return;
    }
    end_after(client, use);
  }

  // Nobody meets what another client has left, nor a connection that was used up.
  void check_clean(const ModelConnection& connection) const {
    const config::Pool& pool = world_.scenario.upstream.pool;
    demand(connection.remembers == nobody, "connection % still knows client %", connection.id,
           connection.remembers);
    // What was on its way in that moment is lent as it was.
    if (world_.now() - world_.configured_at < std::chrono::seconds(2) + model_slack) return;
    demand(pool.mode == config::PoolMode::reset || connection.lent == 0,
           "connection % is lent again", connection.id);
    demand(pool.max_uses == 0 || connection.lent < pool.max_uses, "connection % is lent % times",
           connection.id, connection.lent + 1);
    check_age(connection);
    demand(connection.uses == connection.lent + 1, "connection % counts % uses after %",
           connection.id, connection.uses, connection.lent);
  }

  // Whoever is to be replaced has two seconds more; an exchange may have gone before.
  void check_age(const ModelConnection& connection) const {
    const config::Pool& pool = world_.scenario.upstream.pool;
    const Nanoseconds age = world_.now() - connection.opened_at;
    const Nanoseconds exchange = pool.reset ? 2 * pool.reset->timeout : config::Duration(0);
    const Nanoseconds slack = std::chrono::seconds(2) + exchange + model_slack;
    demand(pool.max_lifetime.count() == 0 || age <= pool.max_lifetime + slack,
           "connection % is lent in old age", connection.id);
    demand(
        pool.fresh_max_age.count() == 0 || connection.lent > 0 || age <= pool.fresh_max_age + slack,
        "connection % is lent, and is not fresh any more", connection.id);
  }

  void speak(Client& client) {
    ModelConnection& connection = *client.connection;
    client.has_spoken = true;
    connection.remembers = client.id;
    ++connection.spoken_on;
    demand(connection.header == nobody || connection.header == client.id,
           "client % speaks on a connection that names client %", client.id, connection.header);
  }

  void end(Client& client, bool cleanly) {
    ModelConnection& connection = *client.connection;
    world_.note("client % ends", client.id);
    client.connection = nullptr;
    leave(client);
    const bool is_quiet = cleanly && connection.good() && !world_.chance.percent(10);
    if (is_quiet && world_.scenario.upstream.pool.mode == config::PoolMode::reset) {
      shell_.lease_kept(connection);
    } else {
      shell_.lease_dropped(connection, Closed::consumed);
    }
  }
  void end_after(Client& client, Nanoseconds use) {
    const bool cleanly = world_.chance.percent(85);
    plan_at(client, world_.now() + use, [this, cleanly](Client& done) { end(done, cleanly); });
  }

  void leave(Client& client) {
    demand(client.state != Client::State::ended, "client % ends twice", client.id);
    client.state = Client::State::ended;
    client.waiter.reset();
    ++client.turn;
    --present_;
  }

  bool may_try_elsewhere(const Client& client) const {
    const auto most =
        std::min<std::size_t>(world_.scenario.upstream.attempts, world_.ledger.endpoint_count());
    return client.tried.size() + 1 < most;
  }

  // What a client does next, unless something else happens to it before.
  template <class Happen>
  void plan_at(Client& client, TimePoint at, Happen happen) {
    world_.events.at(at, [&client, turn = ++client.turn, happen = std::move(happen)] {
      if (client.turn == turn) happen(client);
    });
  }

  World& world_;
  Shell shell_;
  std::vector<std::unique_ptr<Client>> clients_;
  std::size_t present_ = 0;
};

}  // namespace weir::pool
