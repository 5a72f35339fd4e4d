#include "proxy/connections.hpp"

#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#include <algorithm>
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

Connections::Connections(Worker& worker, pool::Upstream& upstream)
    : worker_(worker),
      upstream_(upstream),
      counters_(upstream.capacity()),
      alarm_(std::make_unique<Alarm>(*this)) {}

Connections::~Connections() {
  while (!held_.empty()) take(held_.front());
}

void Connections::start() {
  seat_those_present();
  if (worker_.index() == 0) alarm_->ring(worker_.loop().now());
}

void Connections::seat_those_present() {
  const auto seats = upstream_.look([&](const pool::Ledger& ledger) {
    std::vector<pool::EndpointPointer> all;
    for (pool::EndpointIndex i = 0; i < ledger.seat_count(); ++i) {
      all.push_back(ledger.is_present(i) ? ledger.endpoint(i) : nullptr);
    }
    return all;
  });
  seat_endpoints(seats);
}

void Connections::stop() {
  alarm_->clear();
  for (auto& checker : checkers_) checker.reset();
}

void Connections::reconsider() {
  seat_those_present();
  for (auto next = held_.begin(); next != held_.end();) {
    ServerConnection& connection = *next++;
    if (connection.stage_ != ServerConnection::Stage::idle) continue;
    const TimePoint now = worker_.loop().now();
    upstream_.decide([&](pool::Ledger& ledger, pool::Actions& actions) {
      ledger.reconsider(connection, now, actions);
    });
    await_due(connection, now);
  }
}

void Connections::seat_endpoints(const std::vector<pool::EndpointPointer>& seats) {
  checkers_.resize(std::max(checkers_.size(), seats.size()));
  for (pool::EndpointIndex i = 0; i < seats.size(); ++i) {
    if (i % worker_.shared().worker_count != worker_.index()) continue;
    std::unique_ptr<Checker>& checker = checkers_[i];
    const bool stays = checker && seats[i] && checker->endpoint()->name == seats[i]->name &&
                       checker->endpoint()->host == seats[i]->host && checks_alike(*checker);
    if (stays) continue;
    checker.reset();
    if (seats[i] == nullptr || !rules_->config.health_check) continue;
    checker = std::make_unique<Checker>(worker_, *this, i, seats[i]);
    checker->start();
  }
}

// Would one that is made now do what this one does?
bool Connections::checks_alike(const Checker& checker) const {
  const UpstreamRules& its = checker.rules();
  return its.config.health_check == rules_->config.health_check && its.tls == rules_->tls &&
         its.config.proxy_protocol == rules_->config.proxy_protocol;
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
  const config::Upstream& config = rules_->config;
  auto owned = std::make_unique<ServerConnection>(*this, opening->target, rules_);
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
  const bool waits_for_client = connection.rules().config.proxy_protocol != config::SendProxy::off;
  const TlsClient* const tls = connection.rules().tls.get();
  if (tls == nullptr || waits_for_client) {
    await_greeting(connection);
    return;
  }
  ssl_st* ssl = tls->connect(connection.target_->host, connection.opening_->endpoint);
  if (ssl == nullptr) {
    failed(connection, pool::Failure::tls_failed, "out of memory");
    return;
  }
  connection.stream_.start_tls(ssl);
  connection.stage_ = ServerConnection::Stage::handshake;
  connection.phase_began_ = loop.now();
  connection.clear();
  connection.set(loop.deadlines(), loop.now() + connection.rules().config.tls_timeout);
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
      connection.rules().tls->forget_sessions(connection.opening_->endpoint);
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
  const config::Pool& pool = connection.rules().config.pool;
  if (!pool.server_speaks_first || pool.mode == config::PoolMode::off) return ready(connection);
  connection.stage_ = ServerConnection::Stage::greeting;
  EventLoop& loop = worker_.loop();
  connection.clear();
  connection.set(loop.deadlines(), loop.now() + connection.rules().config.connect_timeout);
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
  spdlog::warn("upstream {}: endpoint {} is ejected for a while: {}", upstream_.name(), endpoint,
               why);
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
  await_due(connection, now);
}

// Where it is closed, or on its way to a session, an action about it is on its way here.
void Connections::await_due(ServerConnection& connection, TimePoint now) {
  const TimePoint due = connection.pool::Connection::due;
  if (due == TimePoint::max()) {
    connection.clear();
  } else if (due > now) {
    connection.set(worker_.loop().deadlines(), due);
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

}  // namespace weir::proxy
