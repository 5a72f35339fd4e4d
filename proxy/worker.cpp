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

void Worker::add_listener(const std::string& name) {
  const std::size_t index = listeners_.size();
  listeners_.grow_to(index + 1);
  listeners_[index] = std::make_unique<Listener>(*this, name, index);
  listeners_[index]->counters().sessions.grow_to(connections_.size() + 1);
}

void Worker::add_upstream(pool::Upstream& upstream) {
  const std::size_t index = connections_.size();
  connections_.grow_to(index + 1);
  connections_[index] = std::make_unique<Connections>(*this, upstream);
  for (std::size_t i = 0; i < listeners_.size(); ++i) {
    listeners_[i]->counters().sessions.grow_to(index + 2);
  }
}

void Worker::start() {
  thread_ = std::thread([this] { loop_.run(); });
}

void Worker::stop() {
  if (!thread_.joinable()) return;
  loop_.post([this, count = connections_.size()] {
    for (std::size_t i = 0; i < count; ++i) connections_[i]->stop();
  });
  loop_.stop();
  thread_.join();
}

void Worker::stop_accepting(std::size_t listeners) {
  draining_ = true;
  for (std::size_t i = 0; i < listeners; ++i) listeners_[i]->stop();
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
    if (!session.is_connected_to(upstream)) continue;
    if (endpoint == nullptr || session.endpoint()->name == endpoint->name) {
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
