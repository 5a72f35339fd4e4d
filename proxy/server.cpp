#include "proxy/server.hpp"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <future>
#include <stdexcept>

#include "proxy/figures.hpp"
#include "proxy/sockets.hpp"
#include "proxy/version.hpp"

namespace weir::proxy {
namespace {

using namespace std::chrono_literals;

// Descriptors that are not for connections: logs, listeners, epoll instances, the admin's clients.
constexpr std::uint64_t reserved_descriptors = 128;

// Each connection may need two descriptors; where the limit is tiny, half of it.
std::uint32_t connection_limit(const config::Config& config, std::uint64_t descriptors,
                               std::uint32_t workers) {
  const std::uint64_t reserved = reserved_descriptors + workers * 2 * PipePool::most_pipes;
  const std::uint64_t spare = descriptors > 3 * reserved ? descriptors - reserved : descriptors / 2;
  const auto possible = static_cast<std::uint32_t>(std::min<std::uint64_t>(spare / 2, 1U << 30));
  return config.limits.connections == 0 ? possible : config.limits.connections;
}

}  // namespace

TlsStore TlsStore::make(const config::Config& config, std::vector<config::Problem>& problems) {
  TlsStore store;
  for (const auto& [name, settings] : config.tls) {
    store.servers[name] = TlsServer::make(settings, problems);
  }
  for (const config::Upstream& upstream : config.upstreams) {
    store.clients.push_back(upstream.tls ? TlsClient::make(*upstream.tls, problems) : nullptr);
  }
  return store;
}

Server::Server(const config::Config& config, TlsStore tls)
    : config_(config),
      tls_(std::move(tls)),
      signals_(io_),
      timer_(io_),
      started_(std::chrono::steady_clock::now()),
      started_wall_(std::chrono::system_clock::now()) {
  // A client that goes away is an error of one write, not a signal (OpenSSL's BIOs aside, all our
  // sends say so themselves; this is for pipes behind stdout).
  std::signal(SIGPIPE, SIG_IGN);
  const std::uint64_t descriptors = raise_descriptor_limit();
  shared_.worker_count = config.workers == 0 ? usable_cpus() : config.workers;
  shared_.connection_limit = connection_limit(config, descriptors, shared_.worker_count);
  shared_.handshake_limit = config.limits.handshakes;
  access_log_ = std::make_unique<AccessLog>(config.access_log, shared_.worker_count);
  build_workers();
  follow_endpoints();
  open_listeners();
  if (config.admin.bind)
    admin_ = std::make_unique<Admin>(*config.admin.bind, static_cast<AdminSource&>(*this));
}

Server::~Server() {
  for (const auto& worker : workers_) worker->stop();
  for (const std::string& path : socket_files_) ::unlink(path.c_str());
}

config::Address Server::admin_address() const {
  return admin_ ? admin_->local_address() : config::Address{};
}

void Server::build_workers() {
  for (std::size_t i = 0; i < config_.upstreams.size(); ++i) {
    upstreams_.push_back(
        std::make_unique<pool::Upstream>(config_.upstreams[i], i, shared_.worker_count,
                                         static_cast<pool::Workers&>(*this), started_));
  }
  for (const config::Listener& listener : config_.listeners) {
    routes_.push_back(std::make_unique<RouteTable>(listener, config_.upstreams));
    shared_.listeners.push_back(std::make_unique<ListenerSeats>());
  }
  bound_.resize(config_.listeners.size());
  for (pool::WorkerIndex w = 0; w < shared_.worker_count; ++w) {
    auto worker =
        std::make_unique<Worker>(w, shared_, static_cast<WorkerHost&>(*this), *access_log_);
    for (const auto& upstream : upstreams_) {
      worker->add_upstream(*upstream, tls_.clients[upstream->index()].get());
    }
    for (std::size_t i = 0; i < config_.listeners.size(); ++i) {
      const config::Listener& listener = config_.listeners[i];
      const TlsServer* tls = listener.tls.empty() ? nullptr : tls_.servers.at(listener.tls).get();
      const config::Duration timeout =
          tls == nullptr ? config::Duration(0) : config_.tls.at(listener.tls).handshake_timeout;
      worker->add_listener(listener, i, tls, timeout, config_.upstreams.size(), *routes_[i]);
    }
    workers_.push_back(std::move(worker));
  }
}

// What changes the endpoints and the pools from outside the workers.
void Server::follow_endpoints() {
  endpoint_books_ = std::make_unique<EndpointBooks>(workers_, upstreams_);
  using Endpoints = std::vector<pool::EndpointPointer>;
  Discoverer::Host host;
  host.before = [this](pool::Upstream& upstream, const Endpoints& seats) {
    const TlsClient* tls = tls_.clients[upstream.index()].get();
    // What is resumed must be the session of the server that is dialled.
    for (const pool::EndpointIndex index : endpoint_books_->seat(upstream, seats)) {
      if (tls != nullptr) tls->forget_sessions(index);
    }
  };
  host.after = [this](pool::Upstream& upstream, const Endpoints& seats) {
    for (const auto& worker : workers_) {
      worker->loop().post([&connections = worker->connections(upstream.index()), seats] {
        connections.seat_endpoints(seats);
      });
    }
  };
  discoverer_ = std::make_unique<Discoverer>(io_, upstreams_, std::move(host));
  descriptor_watch_ = std::make_unique<DescriptorWatch>(io_, upstreams_);
}

void Server::open_listeners() {
  for (std::size_t i = 0; i < config_.listeners.size(); ++i) {
    for (const config::Address& address : config_.listeners[i].bind) open_listener(i, address);
  }
}

// One socket for each worker, so that the kernel spreads the clients; a unix socket cannot be
// bound twice and is shared.
void Server::open_listener(std::size_t index, const config::Address& asked) {
  const bool is_unix = asked.kind == config::Address::Kind::unix_socket;
  config::Address address = asked;
  int first_socket = -1;
  for (const auto& worker : workers_) {
    const bool first = worker->index() == 0;
    std::expected<int, std::string> descriptor;
    if (is_unix && !first) {
      descriptor = ::fcntl(first_socket, F_DUPFD_CLOEXEC, 0);
    } else {
      descriptor = listen_on(address, !first);
    }
    if (!descriptor) throw std::runtime_error(descriptor.error());
    if (first) {
      first_socket = *descriptor;
      address = bound_address(*descriptor, asked);
      bound_[index].push_back(address);
      if (is_unix) socket_files_.push_back(asked.host);
    }
    if (!worker->listeners()[index]->add_socket(*descriptor, is_unix)) {
      throw std::runtime_error("cannot watch " + address.text());
    }
  }
}

int Server::run() {
  wait_for_signals();
  if (admin_) admin_->start();
  for (const auto& worker : workers_) worker->start();
  discoverer_->start();
  descriptor_watch_->start();
  workers_accepting_ = shared_.worker_count;
  phase_ = Phase::serving;
  for (std::size_t i = 0; i < config_.listeners.size(); ++i) {
    for (const config::Address& address : bound_[i]) {
      spdlog::info("listener {}: listening on {}", config_.listeners[i].name, address.text());
    }
  }
  if (admin_) spdlog::info("admin listening on {}", admin_->local_address().text());
  spdlog::info("weir {} serves with {} worker{}", version(), shared_.worker_count,
               shared_.worker_count == 1 ? "" : "s");
  io_.run();
  return 0;
}

void Server::wait_for_signals() {
  boost::system::error_code ignored;
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR1}) signals_.add(number, ignored);
  const auto handler = [this](auto&& self) -> void {
    signals_.async_wait([this, self](const boost::system::error_code& error, int number) {
      if (error) return;
      on_signal(number);
      if (phase_.load() != Phase::stopped) self(self);
    });
  };
  handler(handler);
}

void Server::on_signal(int number) {
  if (phase_.load() == Phase::stopped) return;
  switch (number) {
    case SIGUSR1:
      access_log_->reopen();
      spdlog::info("SIGUSR1: log files reopened");
      return;
    case SIGHUP:
      access_log_->reopen();
      spdlog::warn(
          "SIGHUP: log files reopened; reloading the configuration is not supported yet, "
          "the running one stays");
      return;
    default:
      break;
  }
  if (phase_.load() == Phase::serving) {
    spdlog::info("signal {}: draining", number);
    drain();
  } else {
    spdlog::warn("signal {} again: stopping at once", number);
    end_sessions();
  }
}

// serving -> draining: readiness is false at once, accepting ends after the delay.
void Server::drain() {
  phase_ = Phase::draining;
  if (config_.drain.delay == 0s) {
    stop_accepting();
    return;
  }
  timer_.expires_after(config_.drain.delay);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) stop_accepting();
  });
}

void Server::stop_accepting() {
  if (!accepting_) return;
  accepting_ = false;
  discoverer_->stop();
  descriptor_watch_->stop();
  for (const auto& upstream : upstreams_) {
    upstream->decide(
        [](pool::Ledger& ledger, pool::Actions& actions) { ledger.shut_down(actions); });
  }
  for (const auto& worker : workers_) {
    worker->loop().post([this, &worker = *worker] {
      worker.stop_accepting();
      workers_accepting_.fetch_sub(1);
      worker_is_empty();
    });
  }
  if (ending_) return;
  if (config_.drain.timeout == 0s) {
    end_sessions();
    return;
  }
  timer_.expires_after(config_.drain.timeout);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) {
      spdlog::warn("drain.timeout: ending the sessions that are left");
      end_sessions();
    }
  });
}

void Server::end_sessions() {
  if (accepting_) {
    ending_ = true;
    stop_accepting();
  }
  for (const auto& worker : workers_) {
    worker->loop().post([&worker = *worker] { worker.end_all(Reason::drained); });
  }
}

void Server::worker_is_empty() {
  if (workers_accepting_.load() > 0 || shared_.connections.count() > 0) return;
  asio::post(io_, [this] { finish(); });
}

void Server::finish() {
  if (phase_.load() == Phase::stopped) return;
  phase_ = Phase::stopped;
  // First, while the workers can still answer a request that is on its way.
  if (admin_) admin_->stop();
  for (const auto& worker : workers_) worker->stop();
  timer_.cancel();
  boost::system::error_code ignored;
  signals_.cancel(ignored);
  access_log_.reset();
  spdlog::info("stopped");
}

void Server::perform(pool::Upstream& upstream, pool::Action action) {
  struct Target {
    pool::WorkerIndex operator()(const pool::Open& open) const { return open.opening->worker; }
    pool::WorkerIndex operator()(const pool::Hand& hand) const { return hand.connection->worker; }
    pool::WorkerIndex operator()(const pool::Fail& fail) const { return fail.waiter->worker; }
    pool::WorkerIndex operator()(const pool::Close& close) const {
      return close.connection->worker;
    }
    pool::WorkerIndex operator()(const pool::EndSessions&) const { return 0; }
    pool::WorkerIndex operator()(const pool::Wake&) const { return 0; }
  };
  if (const auto* end = std::get_if<pool::EndSessions>(&action)) {
    for (const auto& worker : workers_) {
      worker->loop().post([&connections = worker->connections(upstream.index()), copy = *end] {
        connections.perform(copy);
      });
    }
    return;
  }
  Worker& worker = *workers_[std::visit(Target{}, action)];
  worker.loop().post(
      [&connections = worker.connections(upstream.index()), moved = std::move(action)]() mutable {
        connections.perform(std::move(moved));
      });
}

void Server::send_connection(pool::WorkerIndex worker, pool::Upstream& upstream,
                             std::unique_ptr<ServerConnection> connection,
                             std::shared_ptr<pool::Waiter> waiter, pool::Source source) {
  Worker& target = *workers_[worker];
  target.loop().post([&connections = target.connections(upstream.index()),
                      moved = std::move(connection), to = std::move(waiter), source]() mutable {
    connections.arrive(std::move(moved), std::move(to), source);
  });
}

std::string Server::metrics() {
  return render_figures({config_, workers_, upstreams_, tls_.servers, *access_log_,
                         *endpoint_books_, *discoverer_, started_, started_wall_});
}

std::vector<ConnectionFacts> Server::connections() {
  std::vector<ConnectionFacts> all;
  for (const auto& worker : workers_) {
    auto answer = std::make_shared<std::promise<std::vector<ConnectionFacts>>>();
    std::future<std::vector<ConnectionFacts>> future = answer->get_future();
    worker->loop().post(
        [&worker = *worker, answer] { answer->set_value(worker.open_connections()); });
    // A worker that has stopped never answers.
    if (future.wait_for(2s) != std::future_status::ready) continue;
    std::ranges::move(future.get(), std::back_inserter(all));
  }
  return all;
}

bool Server::kill(std::uint64_t id) {
  if (id == 0) return false;
  Worker& worker = *workers_[(id - 1) % shared_.worker_count];
  auto answer = std::make_shared<std::promise<bool>>();
  std::future<bool> future = answer->get_future();
  worker.loop().post(
      [&worker, answer, id] { answer->set_value(worker.end_one(id, Reason::killed)); });
  return future.wait_for(2s) == std::future_status::ready && future.get();
}

boost::json::value Server::status() {
  static constexpr std::array<std::string_view, 4> phases{"starting", "serving", "draining",
                                                          "stopped"};
  return render_status({config_, workers_, upstreams_, tls_.servers, *access_log_, *endpoint_books_,
                        *discoverer_, started_, started_wall_},
                       bound_, phases[static_cast<std::size_t>(phase_.load())]);
}

}  // namespace weir::proxy
