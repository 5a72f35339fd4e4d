#include "proxy/connections.hpp"

#include <spdlog/spdlog.h>
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

// A half-finished command may swallow one reset, but not two, each sent after the answer to the one
// before.
constexpr std::uint8_t resets = 2;

}  // namespace

// Calls the ledger when it has asked to be: on the first worker, for the whole process.
class Connections::Alarm final : public Deadline {
 public:
  explicit Alarm(Connections& home) : home_(home) {}

  void ring_at(TimePoint at) {
    if (!is_set() || at < due()) set(home_.worker_.loop().deadlines(), at);
  }
  void ring(TimePoint now) {
    home_.upstream_.decide(
        [&](pool::Ledger& ledger, pool::Actions& actions) { ledger.tick(now, actions); });
  }

 private:
  void expired(TimePoint now) override { ring(now); }

  Connections& home_;
};

Connections::Connections(Worker& worker, pool::Upstream& upstream, const TlsClient* tls)
    : worker_(worker),
      upstream_(upstream),
      tls_(tls),
      counters_(upstream.capacity()),
      alarm_(std::make_unique<Alarm>(*this)),
      checkers_(upstream.capacity()) {}

Connections::~Connections() {
  while (!held_.empty()) take(held_.front());
}

void Connections::start() {
  const auto seats = upstream_.look([&](const pool::Ledger& ledger) {
    std::vector<pool::EndpointPointer> all;
    for (pool::EndpointIndex i = 0; i < ledger.seat_count(); ++i) {
      all.push_back(ledger.is_present(i) ? ledger.endpoint(i) : nullptr);
    }
    return all;
  });
  seat_endpoints(seats);
  if (worker_.index() == 0) alarm_->ring(worker_.loop().now());
}

void Connections::stop() {
  alarm_->clear();
  for (auto& checker : checkers_) checker.reset();
}

void Connections::seat_endpoints(const std::vector<pool::EndpointPointer>& seats) {
  for (pool::EndpointIndex i = 0; i < seats.size(); ++i) {
    if (i % worker_.shared().worker_count != worker_.index()) continue;
    std::unique_ptr<Checker>& checker = checkers_[i];
    const bool stays = checker && seats[i] && checker->endpoint()->name == seats[i]->name &&
                       checker->endpoint()->host == seats[i]->host;
    if (stays) continue;
    checker.reset();
    if (seats[i] == nullptr || !upstream_.config().health_check) continue;
    checker = std::make_unique<Checker>(worker_, *this, i, seats[i]);
    checker->start();
  }
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
    drop(take(static_cast<ServerConnection&>(*close->connection)));
  } else if (const auto* wake = std::get_if<pool::Wake>(&action)) {
    alarm_->ring_at(wake->at);
  } else if (const auto* end = std::get_if<pool::EndSessions>(&action)) {
    worker_.end_sessions_of(
        upstream_, end->endpoint,
        end->removed ? "the endpoint was removed" : "the endpoint is unhealthy");
  }
}

void Connections::open(std::unique_ptr<pool::Opening> opening) {
  const config::Upstream& config = upstream_.config();
  auto owned = std::make_unique<ServerConnection>(*this, opening->target);
  ServerConnection& connection = *owned.release();
  held_.push_back(connection);
  EventLoop& loop = worker_.loop();
  connection.phase_began_ = loop.now();
  connection.opening_ = std::move(opening);
  const KernelAddress address(connection.target_->address);
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
  // A PROXY header names the client and comes before everything else: so at the lease.
  const bool waits_for_client = upstream_.config().proxy_protocol != config::SendProxy::off;
  if (tls_ == nullptr || waits_for_client) {
    await_greeting(connection);
    return;
  }
  ssl_st* ssl = tls_->connect(connection.target_->host, connection.opening_->endpoint);
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
      await_greeting(connection);
  }
}

// A server that speaks first is ready once it has.
void Connections::await_greeting(ServerConnection& connection) {
  const config::Pool& pool = upstream_.config().pool;
  if (!pool.server_speaks_first || pool.mode == config::PoolMode::off) return ready(connection);
  connection.stage_ = ServerConnection::Stage::greeting;
  EventLoop& loop = worker_.loop();
  connection.clear();
  connection.set(loop.deadlines(), loop.now() + upstream_.config().connect_timeout);
  greet(connection);
}

void Connections::greet(ServerConnection& connection) {
  if (!connection.is_good()) {
    if (connection.cause_of_death() == pool::Closed::peer_closed) {
      failed(connection, pool::Failure::refused, "closed before it said anything",
             pool::Closed::peer_closed);
    } else {
      failed(connection, pool::Failure::refused, "said more than 4 KiB before it was asked",
             pool::Closed::unexpected_bytes);
    }
  } else if (connection.heard_) {
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
  place(std::move(owned), std::move(placed), pool::Source::opened);
}

void Connections::failed(ServerConnection& connection, pool::Failure failure, std::string detail,
                         std::optional<pool::Closed> spoilt) {
  const std::unique_ptr<ServerConnection> owned = take(connection);
  const std::unique_ptr<pool::Opening> opening = std::move(connection.opening_);
  owned->clear();
  owned->stream_.close();
  counters_.endpoints[opening->endpoint].open_failures[static_cast<std::size_t>(failure)].add();
  const TimePoint now = worker_.loop().now();
  const bool ejected = upstream_.decide([&](pool::Ledger& ledger, pool::Actions& actions) {
    const bool before = ledger.ejected(opening->endpoint);
    if (spoilt) {
      ledger.open_spoilt(*opening, failure, detail, *spoilt, now, actions);
    } else {
      ledger.open_failed(*opening, failure, detail, now, actions);
    }
    return !before && ledger.ejected(opening->endpoint);
  });
  if (ejected) log_ejection(opening->target->name, detail);
}

void Connections::log_ejection(const std::string& endpoint, std::string_view why) const {
  spdlog::warn("upstream {}: endpoint {} is ejected for a while: {}", upstream_.config().name,
               endpoint, why);
}

void Connections::place(std::unique_ptr<ServerConnection> connection, pool::Ledger::Placed placed,
                        pool::Source source) {
  switch (placed.where) {
    case pool::Ledger::Placed::Where::nobody:
      drop(std::move(connection));
      return;
    case pool::Ledger::Placed::Where::idle:
      keep_idle(std::move(connection));
      return;
    case pool::Ledger::Placed::Where::waiter:
      break;
  }
  if (placed.waiter->worker == worker_.index()) {
    deliver(std::move(connection), placed.waiter, source);
    return;
  }
  connection->stream_.detach();
  const pool::WorkerIndex target = placed.waiter->worker;
  worker_.send_connection(
      target, upstream_, std::move(connection), std::move(placed.waiter),
      source == pool::Source::idle ? pool::Source::other_worker : pool::Source::opened);
}

void Connections::arrive(std::unique_ptr<ServerConnection> connection,
                         std::shared_ptr<pool::Waiter> waiter, pool::Source source) {
  connection->home_ = this;
  connection->worker = worker_.index();
  std::optional<pool::Closed> dead;
  if (!connection->stream_.attach(worker_.loop(), *connection)) {
    dead = pool::Closed::descriptors;
  } else if (source != pool::Source::opened && !connection->is_good()) {
    dead = connection->cause_of_death();  // on the way here
  }
  if (dead) {
    connection->stream_.close();
    const TimePoint now = worker_.loop().now();
    upstream_.decide([&](pool::Ledger& ledger, pool::Actions& actions) {
      ledger.hand_failed(*connection, waiter, *dead, now, actions);
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
    place(std::move(connection), std::move(placed), source);
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
  connection.watch_peer();
  held_.push_back(connection);
  if (connection.pool::Connection::due != TimePoint::max()) {
    connection.set(worker_.loop().deadlines(), connection.pool::Connection::due);
  }
  // What happened since the last event would never show: the edge has passed.
  if (connection.stream_.may_read() || connection.stream_.hung_up()) idle_stirred(connection);
}

// An idle connection has something to say: tickets and key updates are fine, and more of a greeting
// is; all else ends it.
void Connections::idle_stirred(ServerConnection& connection) {
  if (!connection.stream_.hung_up() && connection.is_good()) return;
  const pool::Closed why = connection.cause_of_death();
  // Before its place in the books is given to another one. If it has left them, an action about it
  // is on its way here, and must find it dead even where the look above has taken bytes.
  connection.died_of_ = why;
  connection.stream_.close();
  const TimePoint now = worker_.loop().now();
  const bool ours = upstream_.decide([&](pool::Ledger& ledger, pool::Actions& actions) {
    return ledger.idle_lost(connection, why, now, actions);
  });
  if (ours) take(connection);
}

void Connections::hand_over(ServerConnection& connection,
                            const std::shared_ptr<pool::Waiter>& waiter) {
  std::unique_ptr<ServerConnection> owned = take(connection);
  if (!owned->is_good()) {
    const pool::Closed why = owned->cause_of_death();
    owned->stream_.close();
    const TimePoint now = worker_.loop().now();
    upstream_.decide([&](pool::Ledger& ledger, pool::Actions& actions) {
      ledger.hand_failed(connection, waiter, why, now, actions);
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
    case ServerConnection::Stage::greeting:
      failed(connection, pool::Failure::timeout, "the server has not spoken");
      return;
    case ServerConnection::Stage::resetting:
      reset_failed(connection);
      return;
    case ServerConnection::Stage::leased:
      return;
    case ServerConnection::Stage::idle:
      break;
  }
  upstream_.decide([&](pool::Ledger& ledger, pool::Actions& actions) {
    ledger.expire(connection, now, actions);
  });
  // Closed, or on its way to a session: an action about it is on its way here.
  if (connection.pool::Connection::due > now &&
      connection.pool::Connection::due != TimePoint::max()) {
    connection.set(worker_.loop().deadlines(), connection.pool::Connection::due);
  }
}

// Out of what this worker holds; the caller drops it or passes it on.
std::unique_ptr<ServerConnection> Connections::take(ServerConnection& connection) {
  held_.erase(held_.iterator_to(connection));
  connection.clear();
  return std::unique_ptr<ServerConnection>(&connection);
}

// Nobody has it any more: closed, then its place is given back.
void Connections::drop(std::unique_ptr<ServerConnection> connection) {
  const pool::EndpointIndex endpoint = connection->endpoint;
  connection.reset();
  const TimePoint now = worker_.loop().now();
  upstream_.decide(
      [&](pool::Ledger& ledger, pool::Actions& actions) { ledger.gone(endpoint, now, actions); });
}

void Connections::lease_dropped(std::unique_ptr<ServerConnection> connection, pool::Closed why) {
  const pool::EndpointIndex endpoint = connection->endpoint;
  const pool::EndpointPointer target = connection->target();
  const TimePoint opened_at = connection->opened_at;
  connection.reset();
  const TimePoint now = worker_.loop().now();
  const bool ejected = upstream_.decide([&](pool::Ledger& ledger, pool::Actions& actions) {
    const bool before = ledger.ejected(endpoint);
    ledger.released(endpoint, why, now, actions, opened_at);
    return !before && ledger.ejected(endpoint);
  });
  if (ejected) log_ejection(target->name, "it closes connections at once");
}

void Connections::lease_kept(std::unique_ptr<ServerConnection> owned) {
  const TimePoint now = worker_.loop().now();
  const auto worn_out =
      upstream_.look([&](const pool::Ledger& ledger) { return ledger.worn_out(*owned, now); });
  if (worn_out) {
    lease_dropped(std::move(owned), *worn_out);
    return;
  }
  ServerConnection& connection = *owned.release();
  held_.push_back(connection);
  connection.stream_.change_owner(connection);
  connection.stage_ = ServerConnection::Stage::resetting;
  connection.resets_left_ = resets;
  send_reset(connection);
}

void Connections::send_reset(ServerConnection& connection) {
  const config::Reset& reset = *upstream_.config().pool.reset;
  connection.heard_ = nullptr;
  EventLoop& loop = worker_.loop();
  connection.clear();
  connection.set(loop.deadlines(), loop.now() + reset.timeout);
  if (!connection.stream_.write(std::as_bytes(std::span(reset.send)))) reset_failed(connection);
}

void Connections::reset_answered(ServerConnection& connection) {
  const std::string& expected = upstream_.config().pool.reset->expect;
  Stream& stream = connection.stream_;
  if (stream.has_unsent() && !stream.flush()) return reset_failed(connection);
  if (stream.hung_up() || !connection.hear(expected.size())) return reset_failed(connection);
  if (!connection.heard_) return;
  if (!expected.starts_with(*connection.heard_)) return reset_failed(connection);
  if (connection.heard_->size() < expected.size()) return;
  if (--connection.resets_left_ > 0) return send_reset(connection);
  connection.heard_ = nullptr;
  std::unique_ptr<ServerConnection> owned = take(connection);
  const TimePoint now = worker_.loop().now();
  auto placed = upstream_.decide([&](pool::Ledger& ledger, pool::Actions& actions) {
    return ledger.returned(connection, now, actions);
  });
  place(std::move(owned), std::move(placed), pool::Source::idle);
}

void Connections::reset_failed(ServerConnection& connection) {
  lease_dropped(take(connection), pool::Closed::reset_failed);
}

}  // namespace weir::proxy
