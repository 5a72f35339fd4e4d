#pragma once
// How a session asks the pool for a connection, and holds it. Confined to one worker.

#include <memory>
#include <span>
#include <string>
#include <vector>

#include "pool/ledger.hpp"
#include "proxy/server_connection.hpp"
#include "proxy/task.hpp"

namespace weir::proxy {

class Connections;

// A connection on loan. Dropping it closes the connection and tells the books.
class Lease {
 public:
  Lease() = default;
  Lease(Connections& home, std::unique_ptr<ServerConnection> connection);
  Lease(Lease&& other) noexcept = default;
  Lease& operator=(Lease&& other) noexcept;
  ~Lease();

  explicit operator bool() const { return connection_ != nullptr; }
  ServerConnection* operator->() const { return connection_.get(); }
  Stream& stream() const { return connection_->stream(); }
  pool::EndpointIndex endpoint() const { return connection_->endpoint; }
  const pool::EndpointPointer& target() const { return connection_->target(); }
  void drop(pool::Closed why = pool::Closed::consumed);
  // `mode: reset`: the client has ended cleanly and nothing is on its way.
  void keep();

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

  // May be settled at once. `key` is what `balance: hash` goes by.
  void ask(Connections& connections, std::span<const pool::EndpointIndex> passed_over,
           std::uint64_t key);
  bool settled() const { return settled_; }
  // Leaves the queue. `failure` and `detail` then say the last real cause, if there was one.
  void cancel();

  // Once settled: the lease, or the failure.
  Lease lease;
  pool::Source source = pool::Source::idle;
  pool::Failure failure = pool::Failure::none;
  std::string detail;
  pool::EndpointPointer failed_at;         // where `failure` happened; may be null
  std::vector<pool::EndpointIndex> tried;  // endpoints that failed for this session

 private:
  friend class Connections;
  void settle();

  Wakeup& wakeup_;
  Connections* connections_ = nullptr;
  std::shared_ptr<pool::Waiter> waiter_;
  bool settled_ = false;
};

}  // namespace weir::proxy
