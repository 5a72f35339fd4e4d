#include "proxy/worker.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "pool/assert.hpp"

namespace weir::proxy {
namespace {

int open_reserve() {
  return ::open("/dev/null", O_RDONLY | O_CLOEXEC);
}

}  // namespace

Worker::Worker(pool::WorkerIndex index, Shared& shared, WorkerHost& host, AccessLog& access_log)
    : index_(index),
      shared_(shared),
      host_(host),
      access_log_(access_log),
      random_(std::random_device{}()),
      reserve_(open_reserve()) {}

Worker::~Worker() {
  WEIR_ASSERT(!thread_.joinable(), "a worker is stopped before it is destroyed");
  if (reserve_ >= 0) ::close(reserve_);
}

Listener& Worker::add_listener(const config::Listener& config, std::size_t index,
                               const TlsServer* tls, config::Duration handshake_timeout,
                               std::size_t upstream_count, const RouteTable& routes) {
  listeners_.push_back(std::make_unique<Listener>(*this, config, index, tls, handshake_timeout,
                                                  upstream_count, routes));
  return *listeners_.back();
}

Connections& Worker::add_upstream(pool::Upstream& upstream, const TlsClient* tls) {
  connections_.push_back(std::make_unique<Connections>(*this, upstream, tls));
  return *connections_.back();
}

void Worker::start() {
  loop_.post([this] {
    for (const auto& connections : connections_) connections->start();
  });
  thread_ = std::thread([this] { loop_.run(); });
}

void Worker::stop() {
  if (!thread_.joinable()) return;
  loop_.post([this] {
    for (const auto& connections : connections_) connections->stop();
  });
  loop_.stop();
  thread_.join();
}

void Worker::stop_accepting() {
  draining_ = true;
  for (const auto& listener : listeners_) listener->stop();
}

void Worker::end_all(Reason reason) {
  for (auto next = sessions_.begin(); next != sessions_.end();) {
    Session& session = *next++;
    session.end_with(reason);
  }
}

void Worker::end_sessions_of(const pool::Upstream& upstream, const pool::EndpointPointer& endpoint,
                             std::string_view detail) {
  for (auto next = sessions_.begin(); next != sessions_.end();) {
    Session& session = *next++;
    const pool::EndpointPointer& its = session.endpoint();
    if (session.is_connected_to(upstream) && its->name == endpoint->name) {
      session.end_with(Reason::drained, detail);
    }
  }
}

bool Worker::end_one(std::uint64_t id, Reason reason) {
  const auto found = std::ranges::find(sessions_, id, &Session::id);
  if (found == sessions_.end()) return false;
  found->end_with(reason);
  return true;
}

std::vector<ConnectionFacts> Worker::open_connections() const {
  std::vector<ConnectionFacts> all;
  all.reserve(sessions_.size());
  for (const Session& session : sessions_) all.push_back(session.facts());
  return all;
}

void Worker::start_session(Listener& listener, int descriptor, SocketAddress client) {
  // Ids are unique in the process: the worker is in the low bits.
  const std::uint64_t id = next_session_++ * shared_.worker_count + index_ + 1;
  auto session = std::make_unique<Session>(*this, listener, id, client);
  sessions_.push_back(*session);
  session.release()->start(descriptor);
}

void Worker::session_ended(Session& session, ConnectionFacts facts) {
  sessions_.erase(sessions_.iterator_to(session));
  access_log_.write(index_, std::move(facts));
  loop_.dispose(std::unique_ptr<Disposable>(&session));
  if (draining_ && sessions_.empty()) host_.worker_is_empty();
}

void Worker::send_connection(pool::WorkerIndex worker, pool::Upstream& upstream,
                             std::unique_ptr<ServerConnection> connection,
                             std::shared_ptr<pool::Waiter> waiter, pool::Source source) {
  host_.send_connection(worker, upstream, std::move(connection), std::move(waiter), source);
}

void Worker::shed_one(int listening_descriptor) {
  if (reserve_ < 0) reserve_ = open_reserve();
  if (reserve_ < 0) return;
  ::close(reserve_);
  const int shed = ::accept4(listening_descriptor, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK);
  if (shed >= 0) ::close(shed);
  reserve_ = open_reserve();
}

std::chrono::system_clock::time_point Worker::wall_clock() const {
  return std::chrono::system_clock::now();
}

double Worker::random() {
  return std::uniform_real_distribution<double>(0.0, 1.0)(random_);
}

}  // namespace weir::proxy
