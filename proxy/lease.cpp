#include "proxy/lease.hpp"

#include "proxy/connections.hpp"
#include "proxy/worker.hpp"

namespace weir::proxy {

Lease::Lease(Connections& home, std::unique_ptr<ServerConnection> connection)
    : home_(&home), connection_(std::move(connection)) {}

Lease& Lease::operator=(Lease&& other) noexcept {
  if (this == &other) return *this;
  drop();
  home_ = other.home_;
  connection_ = std::move(other.connection_);
  return *this;
}

Lease::~Lease() {
  drop();
}

void Lease::drop(pool::Closed why) {
  if (connection_) home_->lease_dropped(std::move(connection_), why);
}

void Lease::keep() {
  home_->lease_kept(std::move(connection_));
}

void LeaseRequest::ask(Connections& connections, std::span<const pool::EndpointIndex> passed_over,
                       std::uint64_t key) {
  connections_ = &connections;
  tried.assign(passed_over.begin(), passed_over.end());
  pool::Upstream& upstream = connections.upstream();
  const TimePoint now = connections.worker().loop().now();
  for (;;) {
    auto asked = upstream.decide([&](pool::Ledger& ledger, pool::Actions& actions) {
      return ledger.acquire(connections.worker().index(), passed_over, key, now, actions);
    });
    if (asked.waiter) {
      waiter_ = std::move(asked.waiter);
      waiter_->session = this;
      if (asked.failed) settle();
      return;
    }
    auto connection = connections.take(static_cast<ServerConnection&>(*asked.connection));
    if (connection->is_good()) {
      connection->stage_ = ServerConnection::Stage::leased;
      lease = Lease(connections, std::move(connection));
      source = pool::Source::idle;
      settled_ = true;
      return;
    }
    // Dead since the last turn: that is told to the books, and the next one is asked for.
    const pool::Closed why = connection->cause_of_death();
    connection->stream_.close();
    upstream.decide([&](pool::Ledger& ledger, pool::Actions& actions) {
      ledger.found_dead(*connection, why, now, actions);
    });
  }
}

void LeaseRequest::settle() {
  settled_ = true;
  if (waiter_) {
    failure = waiter_->failure;
    detail = waiter_->detail;
    failed_at = waiter_->failed_at;
    tried = waiter_->tried;
    if (lease) failure = pool::Failure::none;
    waiter_->session = nullptr;
    waiter_.reset();
  }
  wakeup_.wake();
}

void LeaseRequest::cancel() {
  if (!waiter_) return;
  const TimePoint now = connections_->worker().loop().now();
  waiter_->session = nullptr;
  connections_->upstream().decide([&](pool::Ledger& ledger, pool::Actions& actions) {
    failure = waiter_->failure;
    detail = waiter_->detail;
    failed_at = waiter_->failed_at;
    ledger.give_up(*waiter_, now, actions);
  });
  waiter_.reset();
}

}  // namespace weir::proxy
