#include "proxy/worker.hpp"

#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>

#include "pool/assert.hpp"

namespace weir::proxy {
namespace {

using namespace std::chrono_literals;

// How often a worker looks whether its share of the pools wants warming.
constexpr config::Duration maintenance_interval = 100ms;

int open_reserve() {
  return ::open("/dev/null", O_RDONLY | O_CLOEXEC);
}

}  // namespace

// The first worker warms the pools of the process: at start, and after failures.
class Worker::Maintenance final : private Deadline {
 public:
  explicit Maintenance(Worker& worker) : worker_(worker) {}
  void start() { expired(worker_.loop_.now()); }
  using Deadline::clear;

 private:
  void expired(TimePoint now) override {
    bool wanted = false;
    for (const auto& connections : worker_.connections_) {
      if (connections->upstream().config().pool.min_idle == 0) continue;
      wanted = true;
      connections->upstream().decide(
          [&](pool::Ledger& ledger, pool::Actions& actions) { ledger.warm(now, actions); });
    }
    if (wanted) set(worker_.loop_.deadlines(), now + maintenance_interval);
  }

  Worker& worker_;
};

Worker::Worker(pool::WorkerIndex index, Shared& shared, WorkerHost& host, AccessLog& access_log)
    : index_(index),
      shared_(shared),
      host_(host),
      access_log_(access_log),
      maintenance_(std::make_unique<Maintenance>(*this)),
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
  auto& names = endpoint_names_.emplace_back();
  for (const config::Endpoint& endpoint : upstream.config().endpoints) {
    names.push_back(endpoint.address.text());
  }
  return *connections_.back();
}

void Worker::start() {
  for (const auto& connections : connections_) {
    const config::Upstream& config = connections->upstream().config();
    if (!config.health_check) continue;
    for (pool::EndpointIndex i = 0; i < config.endpoints.size(); ++i) {
      if (i % shared_.worker_count != index_) continue;
      checkers_.push_back(std::make_unique<Checker>(*this, *connections, i));
    }
  }
  loop_.post([this] {
    for (const auto& checker : checkers_) checker->start();
    if (index_ == 0) maintenance_->start();
  });
  thread_ = std::thread([this] { loop_.run(); });
}

void Worker::stop() {
  if (!thread_.joinable()) return;
  loop_.post([this] {
    for (const auto& checker : checkers_) checker->stop();
    maintenance_->clear();
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
