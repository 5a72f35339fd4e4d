#pragma once
// The connections of one upstream that one worker holds: it opens them (TCP, then TLS), keeps the
// idle ones armed so that a dead or speaking one leaves the pool at once, hands them to sessions
// and to other workers. What to do it is told by the upstream's ledger. Confined to its worker.

#include <boost/intrusive/list.hpp>
#include <memory>
#include <string>
#include <vector>

#include "pool/upstream.hpp"
#include "proxy/counters.hpp"
#include "proxy/deadlines.hpp"
#include "proxy/stream.hpp"
#include "proxy/task.hpp"
#include "proxy/tls.hpp"

namespace weir::proxy {

class Connections;
class Worker;

struct HeldTag;
using HeldHook = boost::intrusive::list_base_hook<boost::intrusive::tag<HeldTag>>;

// A connection to an endpoint, from socket() to the lease.
class ServerConnection final : public pool::Connection,
                               public HeldHook,
                               private StreamOwner,
                               private Deadline {
 public:
  explicit ServerConnection(Connections& home) : home_(&home) {}

  Stream& stream() { return stream_; }

 private:
  friend class Connections;
  friend class LeaseRequest;
  enum class Stage : std::uint8_t { connecting, handshake, idle, leased };

  void stream_ready(Stream& stream) override;
  void expired(TimePoint now) override;

  Connections* home_;
  Stream stream_;
  Stage stage_ = Stage::connecting;
  std::unique_ptr<pool::Opening> opening_;
  TimePoint phase_began_;
  pool::Ledger::Expiry expiry_ = pool::Ledger::Expiry::idle_timeout;
};

// A connection on loan. Dropping it closes the connection and tells the books.
class Lease {
 public:
  Lease() = default;
  Lease(Connections& home, std::unique_ptr<ServerConnection> connection);
  Lease(Lease&& other) noexcept = default;
  Lease& operator=(Lease&& other) noexcept;
  ~Lease();

  explicit operator bool() const { return connection_ != nullptr; }
  Stream& stream() const { return connection_->stream(); }
  pool::EndpointIndex endpoint() const { return connection_->endpoint; }
  void drop();

 private:
  Connections* home_ = nullptr;
  std::unique_ptr<ServerConnection> connection_;
};

// A session's place in the queue of an upstream. Dropping it gives the place up.
class LeaseRequest {
 public:
  explicit LeaseRequest(Wakeup& wakeup) : wakeup_(wakeup) {}
  LeaseRequest(const LeaseRequest&) = delete;
  LeaseRequest& operator=(const LeaseRequest&) = delete;
  ~LeaseRequest() { cancel(); }

  // May be settled at once.
  void ask(Connections& connections, std::vector<pool::EndpointIndex> tried);
  bool settled() const { return settled_; }
  // Leaves the queue. `failure` and `detail` then say the last real cause, if there was one.
  void cancel();

  // Once settled: the lease, or the failure.
  Lease lease;
  pool::Source source = pool::Source::idle;
  pool::Failure failure = pool::Failure::none;
  std::string detail;
  std::vector<pool::EndpointIndex> tried;  // endpoints that failed for this session

 private:
  friend class Connections;
  void settle();

  Wakeup& wakeup_;
  Connections* connections_ = nullptr;
  std::shared_ptr<pool::Waiter> waiter_;
  bool settled_ = false;
};

class Connections {
 public:
  Connections(Worker& worker, pool::Upstream& upstream, const TlsClient* tls);
  Connections(const Connections&) = delete;
  Connections& operator=(const Connections&) = delete;
  ~Connections();

  // Carries out what the ledger decided for this worker; on the worker's thread.
  void perform(pool::Action action);
  // A connection that another worker gave up arrives here, for a waiter of this worker or to stay.
  void arrive(std::unique_ptr<ServerConnection> connection, std::shared_ptr<pool::Waiter> waiter,
              pool::Source source);

  pool::Upstream& upstream() { return upstream_; }
  UpstreamCounters& counters() { return counters_; }
  const UpstreamCounters& counters() const { return counters_; }
  Worker& worker() { return worker_; }

  void lease_dropped(std::unique_ptr<ServerConnection> connection);

 private:
  friend class ServerConnection;
  friend class LeaseRequest;

  void open(std::unique_ptr<pool::Opening> opening);
  void connected(ServerConnection& connection);
  void handshake(ServerConnection& connection);
  void ready(ServerConnection& connection);
  void failed(ServerConnection& connection, pool::Failure failure, std::string detail);
  void place(std::unique_ptr<ServerConnection> connection, pool::Ledger::Placed placed);
  void deliver(std::unique_ptr<ServerConnection> connection,
               const std::shared_ptr<pool::Waiter>& waiter, pool::Source source);
  void keep_idle(std::unique_ptr<ServerConnection> connection);
  void idle_stirred(ServerConnection& connection);
  void hand_over(ServerConnection& connection, const std::shared_ptr<pool::Waiter>& waiter);
  void set_expiry(ServerConnection& connection);
  void deadline_reached(ServerConnection& connection, TimePoint now);
  std::unique_ptr<ServerConnection> take(ServerConnection& connection);

  Worker& worker_;
  pool::Upstream& upstream_;
  const TlsClient* tls_;
  UpstreamCounters counters_;
  boost::intrusive::list<ServerConnection, boost::intrusive::base_hook<HeldHook>> held_;
};

}  // namespace weir::proxy
