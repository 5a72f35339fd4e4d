#include "proxy/connections.hpp"

#include <sys/epoll.h>
#include <sys/socket.h>

#include <cerrno>
#include <cstring>

#include "pool/assert.hpp"
#include "proxy/sockets.hpp"
#include "proxy/worker.hpp"

namespace weir::proxy {
namespace {

pool::Failure failure_of(int error) {
  switch (error) {
    case ECONNREFUSED:
    case ECONNRESET:
    case ENOENT:  // a unix socket that is not there
      return pool::Failure::refused;
    case ETIMEDOUT:
      return pool::Failure::timeout;
    case EMFILE:
    case ENFILE:
    case ENOBUFS:
    case ENOMEM:
    case EADDRNOTAVAIL:  // no local port left
      return pool::Failure::descriptors;
    default:
      return pool::Failure::unreachable;
  }
}

}  // namespace

void ServerConnection::stream_ready(Stream&) {
  switch (stage_) {
    case Stage::connecting:
      if (stream_.writable()) home_->connected(*this);
      return;
    case Stage::handshake:
      home_->handshake(*this);
      return;
    case Stage::idle:
      home_->idle_stirred(*this);
      return;
    case Stage::leased:
      return;  // the session takes the stream over before it returns to the loop
  }
}

void ServerConnection::expired(TimePoint now) {
  home_->deadline_reached(*this, now);
}

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

void Lease::drop() {
  if (connection_) home_->lease_dropped(std::move(connection_));
}

void LeaseRequest::ask(Connections& connections, std::vector<pool::EndpointIndex> passed_over) {
  connections_ = &connections;
  tried = passed_over;
  pool::Upstream& upstream = connections.upstream();
  const TimePoint now = connections.worker().loop().now();
  for (;;) {
    auto asked = upstream.decide([&](pool::Ledger& ledger, pool::Actions& actions) {
      return ledger.acquire(connections.worker().index(), passed_over, now, actions);
    });
    if (asked.waiter) {
      waiter_ = std::move(asked.waiter);
      waiter_->session = this;
      if (asked.failed) settle();
      return;
    }
    auto connection = connections.take(static_cast<ServerConnection&>(*asked.connection));
    const bool alive = connection->stream_.is_quiet();
    if (alive) connection->stage_ = ServerConnection::Stage::leased;
    Lease taken(connections, std::move(connection));
    if (alive) {
      lease = std::move(taken);
      source = pool::Source::idle;
      settled_ = true;
      return;
    }
    // Dead since the last turn: dropping it tells the books, and the next one is asked for.
  }
}

void LeaseRequest::settle() {
  settled_ = true;
  if (waiter_) {
    failure = waiter_->failure;
    detail = waiter_->detail;
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
    ledger.give_up(*waiter_, now, actions);
  });
  waiter_.reset();
}

Connections::Connections(Worker& worker, pool::Upstream& upstream, const TlsClient* tls)
    : worker_(worker),
      upstream_(upstream),
      tls_(tls),
      counters_(upstream.config().endpoints.size()) {}

Connections::~Connections() {
  while (!held_.empty()) take(held_.front());
}

void Connections::perform(pool::Action action) {
  if (auto* begin = std::get_if<pool::Open>(&action)) {
    open(std::move(begin->opening));
  } else if (auto* hand = std::get_if<pool::Hand>(&action)) {
    hand_over(static_cast<ServerConnection&>(*hand->connection), hand->waiter);
  } else if (auto* fail = std::get_if<pool::Fail>(&action)) {
    if (fail->waiter->session != nullptr) {
      static_cast<LeaseRequest*>(fail->waiter->session)->settle();
    }
  } else if (auto* close = std::get_if<pool::Close>(&action)) {
    take(static_cast<ServerConnection&>(*close->connection));
  }
}

void Connections::open(std::unique_ptr<pool::Opening> opening) {
  const config::Upstream& config = upstream_.config();
  auto owned = std::make_unique<ServerConnection>(*this);
  ServerConnection& connection = *owned.release();
  held_.push_back(connection);
  EventLoop& loop = worker_.loop();
  connection.phase_began_ = loop.now();
  connection.opening_ = std::move(opening);
  const KernelAddress address(config.endpoints[connection.opening_->endpoint].address);
  const int descriptor = open_socket(address.family());
  if (descriptor < 0) {
    failed(connection, failure_of(errno), std::strerror(errno));
    return;
  }
  const int result = ::connect(descriptor, address.data(), address.size());
  // A unix socket with a full backlog says EAGAIN and would have to be tried again.
  if (result != 0 && errno != EINPROGRESS) {
    const int error = errno;
    close_descriptor(descriptor);
    failed(connection, error == EAGAIN ? pool::Failure::refused : failure_of(error),
           std::strerror(error));
    return;
  }
  if (!connection.stream_.open(loop, descriptor, address.transport(), connection, result != 0)) {
    failed(connection, pool::Failure::descriptors, std::strerror(connection.stream_.last_error()));
    return;
  }
  if (result == 0) {
    connected(connection);
  } else {
    connection.set(loop.deadlines(), loop.now() + config.connect_timeout);
  }
}

void Connections::connected(ServerConnection& connection) {
  if (connection.stream_.broken()) {
    const int error = pending_error(connection.stream_.descriptor());
    // No error, but hung up: the server accepted and closed at once.
    if (error != 0) {
      failed(connection, failure_of(error), std::strerror(error));
      return;
    }
  }
  EventLoop& loop = worker_.loop();
  counters_.open_tcp.observe(loop.now() - connection.phase_began_);
  if (tls_ == nullptr) {
    ready(connection);
    return;
  }
  const pool::EndpointIndex endpoint = connection.opening_->endpoint;
  ssl_st* ssl = tls_->connect(upstream_.config().endpoints[endpoint].address, endpoint);
  if (ssl == nullptr) {
    failed(connection, pool::Failure::tls_failed, "out of memory");
    return;
  }
  connection.stream_.start_tls(ssl);
  connection.stage_ = ServerConnection::Stage::handshake;
  connection.phase_began_ = loop.now();
  connection.clear();
  connection.set(loop.deadlines(), loop.now() + upstream_.config().tls_timeout);
  handshake(connection);
}

void Connections::handshake(ServerConnection& connection) {
  if (connection.stream_.has_unsent() && !connection.stream_.flush()) {
    failed(connection, pool::Failure::tls_failed, std::strerror(connection.stream_.last_error()));
    return;
  }
  switch (connection.stream_.handshake()) {
    case Stream::Handshake::wait:
      return;
    case Stream::Handshake::failed: {
      TlsFailure failure = tls_failure(connection.stream_);
      tls_->forget_sessions(connection.opening_->endpoint);
      failed(connection, pool::Failure::tls_failed, std::move(failure.words));
      return;
    }
    case Stream::Handshake::done:
      counters_.open_tls.observe(worker_.loop().now() - connection.phase_began_);
      ready(connection);
  }
}

void Connections::ready(ServerConnection& connection) {
  connection.clear();
  std::unique_ptr<ServerConnection> owned = take(connection);
  const std::unique_ptr<pool::Opening> opening = std::move(connection.opening_);
  const TimePoint now = worker_.loop().now();
  auto placed = upstream_.decide([&](pool::Ledger& ledger, pool::Actions& actions) {
    return ledger.opened(*opening, connection, now, actions);
  });
  place(std::move(owned), std::move(placed));
}

void Connections::failed(ServerConnection& connection, pool::Failure failure, std::string detail) {
  const std::unique_ptr<ServerConnection> owned = take(connection);
  const std::unique_ptr<pool::Opening> opening = std::move(connection.opening_);
  owned->clear();
  owned->stream_.close();
  counters_.endpoints[opening->endpoint].open_failures[static_cast<std::size_t>(failure)].add();
  const TimePoint now = worker_.loop().now();
  upstream_.decide([&](pool::Ledger& ledger, pool::Actions& actions) {
    ledger.open_failed(*opening, failure, std::move(detail), now, actions);
  });
}

void Connections::place(std::unique_ptr<ServerConnection> connection, pool::Ledger::Placed placed) {
  switch (placed.where) {
    case pool::Ledger::Placed::Where::nobody:
      return;
    case pool::Ledger::Placed::Where::idle:
      keep_idle(std::move(connection));
      return;
    case pool::Ledger::Placed::Where::waiter:
      break;
  }
  if (placed.waiter->worker == worker_.index()) {
    deliver(std::move(connection), placed.waiter, pool::Source::opened);
    return;
  }
  connection->stream_.detach();
  const pool::WorkerIndex target = placed.waiter->worker;
  worker_.send_connection(target, upstream_, std::move(connection), std::move(placed.waiter),
                          pool::Source::opened);
}

void Connections::arrive(std::unique_ptr<ServerConnection> connection,
                         std::shared_ptr<pool::Waiter> waiter, pool::Source source) {
  connection->home_ = this;
  connection->worker = worker_.index();
  if (!connection->stream_.attach(worker_.loop(), *connection)) {
    const TimePoint now = worker_.loop().now();
    upstream_.decide([&](pool::Ledger& ledger, pool::Actions& actions) {
      ledger.hand_failed(connection->endpoint, waiter, pool::Closed::descriptors, now, actions);
    });
    return;
  }
  deliver(std::move(connection), waiter, source);
}

void Connections::deliver(std::unique_ptr<ServerConnection> connection,
                          const std::shared_ptr<pool::Waiter>& waiter, pool::Source source) {
  auto* request = static_cast<LeaseRequest*>(waiter->session);
  if (request == nullptr) {
    // The session has gone: the connection is as fresh as it was.
    const TimePoint now = worker_.loop().now();
    auto placed = upstream_.decide([&](pool::Ledger& ledger, pool::Actions& actions) {
      return ledger.unwanted(*connection, now, actions);
    });
    place(std::move(connection), std::move(placed));
    return;
  }
  connection->stage_ = ServerConnection::Stage::leased;
  request->lease = Lease(*this, std::move(connection));
  request->source = source;
  request->settle();
}

void Connections::keep_idle(std::unique_ptr<ServerConnection> owned) {
  ServerConnection& connection = *owned.release();
  connection.stage_ = ServerConnection::Stage::idle;
  held_.push_back(connection);
  set_expiry(connection);
  // What happened since the last event would never show: the edge has passed.
  if (connection.stream_.may_read() || connection.stream_.hung_up()) idle_stirred(connection);
}

// A fresh connection leaves the pool for one of two ages, whichever comes first.
void Connections::set_expiry(ServerConnection& connection) {
  const config::Pool& pool = upstream_.config().pool;
  const auto idle_time = pool.idle_timeout * (1.0 - 0.1 * worker_.random());
  const auto fresh_time = pool.fresh_max_age * (1.0 - 0.2 * worker_.random());
  const bool idles = pool.idle_timeout.count() > 0;
  const bool ages = pool.fresh_max_age.count() > 0;
  if (!idles && !ages) return;
  const bool idle_first = idles && (!ages || idle_time < fresh_time);
  connection.expiry_ =
      idle_first ? pool::Ledger::Expiry::idle_timeout : pool::Ledger::Expiry::fresh_age;
  const auto time = std::chrono::duration_cast<Nanoseconds>(idle_first ? idle_time : fresh_time);
  connection.set(worker_.loop().deadlines(),
                 (idle_first ? connection.idle_since : connection.opened_at) + time);
}

// An idle connection has something to say: tickets and key updates are fine, all else ends it.
void Connections::idle_stirred(ServerConnection& connection) {
  const bool hung_up = connection.stream_.hung_up();
  if (!hung_up && connection.stream_.is_quiet()) return;
  const pool::Closed why = hung_up ? pool::Closed::peer_closed : pool::Closed::unexpected_bytes;
  const TimePoint now = worker_.loop().now();
  const bool ours = upstream_.decide([&](pool::Ledger& ledger, pool::Actions& actions) {
    return ledger.idle_lost(connection, why, now, actions);
  });
  if (ours) {
    take(connection);
  } else {
    // Not in the books any more: an action about it is on its way here, and must find it dead even
    // where the look above has taken bytes.
    connection.stream_.close();
  }
}

void Connections::hand_over(ServerConnection& connection,
                            const std::shared_ptr<pool::Waiter>& waiter) {
  std::unique_ptr<ServerConnection> owned = take(connection);
  if (!owned->stream_.is_quiet()) {
    owned->stream_.close();
    const TimePoint now = worker_.loop().now();
    upstream_.decide([&](pool::Ledger& ledger, pool::Actions& actions) {
      ledger.hand_failed(connection.endpoint, waiter, pool::Closed::peer_closed, now, actions);
    });
    return;
  }
  if (waiter->worker == worker_.index()) {
    deliver(std::move(owned), waiter, pool::Source::idle);
    return;
  }
  owned->stream_.detach();
  worker_.send_connection(waiter->worker, upstream_, std::move(owned), waiter,
                          pool::Source::other_worker);
}

void Connections::deadline_reached(ServerConnection& connection, TimePoint now) {
  switch (connection.stage_) {
    case ServerConnection::Stage::connecting:
      failed(connection, pool::Failure::timeout, "connect_timeout");
      return;
    case ServerConnection::Stage::handshake:
      failed(connection, pool::Failure::tls_failed, "tls_timeout");
      return;
    case ServerConnection::Stage::leased:
      return;
    case ServerConnection::Stage::idle:
      break;
  }
  const auto again = upstream_.decide([&](pool::Ledger& ledger, pool::Actions& actions) {
    return ledger.expire(connection, connection.expiry_, now, actions);
  });
  if (!again) return;
  if (connection.expiry_ == pool::Ledger::Expiry::idle_timeout) {
    // Needed for min_idle: from now on only its age counts.
    const config::Pool& pool = upstream_.config().pool;
    if (pool.fresh_max_age.count() > 0) {
      connection.expiry_ = pool::Ledger::Expiry::fresh_age;
      const auto age = pool.fresh_max_age * (1.0 - 0.2 * worker_.random());
      connection.set(worker_.loop().deadlines(),
                     connection.opened_at + std::chrono::duration_cast<Nanoseconds>(age));
      return;
    }
  }
  connection.set(worker_.loop().deadlines(), now + *again);
}

// Out of what this worker holds; the caller drops it or passes it on.
std::unique_ptr<ServerConnection> Connections::take(ServerConnection& connection) {
  held_.erase(held_.iterator_to(connection));
  connection.clear();
  return std::unique_ptr<ServerConnection>(&connection);
}

void Connections::lease_dropped(std::unique_ptr<ServerConnection> connection) {
  const pool::EndpointIndex endpoint = connection->endpoint;
  const bool was_lent = connection->stage_ == ServerConnection::Stage::leased;
  connection.reset();
  const TimePoint now = worker_.loop().now();
  const pool::Closed why = was_lent ? pool::Closed::consumed : pool::Closed::peer_closed;
  upstream_.decide([&](pool::Ledger& ledger, pool::Actions& actions) {
    ledger.released(endpoint, why, now, actions);
  });
}

}  // namespace weir::proxy
