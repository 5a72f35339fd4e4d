#pragma once
// The connections of one upstream that one worker holds: it opens them (TCP, then TLS, then the
// greeting of a server that speaks first), keeps the idle ones armed so that a dead or speaking one
// leaves the pool at once, has used ones forget their client (`mode: reset`), hands them to
// sessions and to other workers, and checks the health of its share of the endpoints. What to do it
// is told by the upstream's ledger; how, by the upstream's rules, which change with a reload.
// Confined to its worker.

#include <boost/intrusive/list.hpp>
#include <memory>
#include <optional>
#include <vector>

#include "pool/upstream.hpp"
#include "proxy/checker.hpp"
#include "proxy/counters.hpp"
#include "proxy/deadlines.hpp"
#include "proxy/lease.hpp"
#include "proxy/rules.hpp"
#include "proxy/server_connection.hpp"

namespace weir::proxy {

class Worker;

class Connections {
 public:
  Connections(Worker& worker, pool::Upstream& upstream);
  Connections(const Connections&) = delete;
  Connections& operator=(const Connections&) = delete;
  ~Connections();

  // On the worker's thread, as everything below.
  void start();
  void stop();
  // Those are the rules from now on: what is opened from now on is opened under them.
  void follow(UpstreamRulesPointer rules) { rules_ = std::move(rules); }
  // The ledger has been configured: checks, and the times of idle connections, may have changed.
  void reconsider();
  // The upstream's endpoints have changed: who sits on each seat now.
  void seat_endpoints(const std::vector<pool::EndpointPointer>& seats);

  // Carries out what the ledger decided for this worker.
  void perform(pool::Action action);
  // A connection that another worker gave up arrives here, for a waiter of this worker or to stay.
  void arrive(std::unique_ptr<ServerConnection> connection, std::shared_ptr<pool::Waiter> waiter,
              pool::Source source);

  pool::Upstream& upstream() { return upstream_; }
  // Null before the first follow().
  const UpstreamRulesPointer& rules() const { return rules_; }
  UpstreamCounters& counters() { return counters_; }
  const UpstreamCounters& counters() const { return counters_; }
  Worker& worker() { return worker_; }

  // A lease is over. `why`: consumed; peer_closed when the server left before it said anything.
  void lease_dropped(std::unique_ptr<ServerConnection> connection, pool::Closed why);
  // A lease is over, and the line is quiet: lent again once the server has forgotten its client.
  void lease_kept(std::unique_ptr<ServerConnection> connection);

 private:
  friend class ServerConnection;
  friend class LeaseRequest;
  class Alarm;

  void open(std::unique_ptr<pool::Opening> opening);
  void connected(ServerConnection& connection);
  void handshake(ServerConnection& connection);
  void await_greeting(ServerConnection& connection);
  void greet(ServerConnection& connection);
  void ready(ServerConnection& connection);
  void failed(ServerConnection& connection, pool::Failure failure, std::string detail,
              std::optional<pool::Closed> spoilt = std::nullopt);
  void log_ejection(const std::string& endpoint, std::string_view why) const;
  void place(std::unique_ptr<ServerConnection> connection, pool::Ledger::Placed placed,
             pool::Source source);
  void deliver(std::unique_ptr<ServerConnection> connection,
               const std::shared_ptr<pool::Waiter>& waiter, pool::Source source);
  void keep_idle(std::unique_ptr<ServerConnection> connection);
  void idle_stirred(ServerConnection& connection);
  void hand_over(ServerConnection& connection, const std::shared_ptr<pool::Waiter>& waiter);
  void send_reset(ServerConnection& connection);
  void reset_answered(ServerConnection& connection);
  void reset_failed(ServerConnection& connection);
  bool checks_alike(const Checker& checker) const;
  void deadline_reached(ServerConnection& connection, TimePoint now);
  void seat_those_present();
  void await_due(ServerConnection& connection, TimePoint now);
  std::unique_ptr<ServerConnection> take(ServerConnection& connection);
  void drop(std::unique_ptr<ServerConnection> connection);

  Worker& worker_;
  pool::Upstream& upstream_;
  UpstreamRulesPointer rules_;
  UpstreamCounters counters_;
  boost::intrusive::list<ServerConnection, boost::intrusive::base_hook<HeldHook>> held_;
  std::unique_ptr<Alarm> alarm_;
  std::vector<std::unique_ptr<Checker>> checkers_;  // by seat; null where another worker checks
};

}  // namespace weir::proxy
