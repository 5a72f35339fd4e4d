#include "proxy/server.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <array>
#include <csignal>
#include <future>

#include "proxy/figures.hpp"
#include "proxy/service_notify.hpp"
#include "proxy/sockets.hpp"
#include "proxy/version.hpp"

namespace weir::proxy {
namespace {

using namespace std::chrono_literals;

}  // namespace

Server::Server(Loaded loaded, LoadAgain load_again, Inheritance inheritance,
               std::optional<Invocation> invocation)
    : load_again_(std::move(load_again)),
      inheritance_(std::move(inheritance)),
      invocation_(std::move(invocation)),
      signals_(io_),
      timer_(io_),
      started_(std::chrono::steady_clock::now()),
      started_wall_(std::chrono::system_clock::now()),
      configuration_watch_(io_, [this](const auto& paths) { configuration_changed(paths); }),
      tls_watch_(io_, [this](const auto& paths) { certificates_changed(paths); }) {
  // A client that goes away is an error of one write, not a signal (OpenSSL's BIOs aside, all our
  // sends say so themselves; this is for pipes behind stdout).
  std::signal(SIGPIPE, SIG_IGN);
  reloads_.last_good = started_wall_;
  const config::Config& config = *loaded.config;
  shared_.worker_count = config.workers == 0 ? usable_cpus() : config.workers;
  access_log_ = std::make_unique<AccessLog>(config.access_log, shared_.worker_count);
  for (pool::WorkerIndex i = 0; i < shared_.worker_count; ++i) {
    workers_.push_back(
        std::make_unique<Worker>(i, shared_, static_cast<WorkerHost&>(*this), *access_log_));
  }
  follow_endpoints();
  change_to(*prepare(loaded));
  follow_files(loaded);
}

Server::~Server() {
  for (const auto& worker : workers_) worker->stop();
}

InForcePointer Server::in_force() const {
  const std::scoped_lock lock(mutex_);
  return in_force_;
}

std::vector<config::Address> Server::addresses(std::size_t listener) const {
  std::vector<config::Address> all;
  for (const BindingPointer& binding : in_force()->listeners[listener].bindings) {
    all.push_back(binding->bound);
  }
  return all;
}

config::Address Server::admin_address() const {
  return admin_ ? admin_->local_address() : config::Address{};
}

// What changes the endpoints and the pools from outside the workers.
void Server::follow_endpoints() {
  endpoint_books_ = std::make_unique<EndpointBooks>(workers_);
  using Endpoints = std::vector<pool::EndpointPointer>;
  Discoverer::Host host;
  host.before = [this](pool::Upstream& upstream, const Endpoints& seats) {
    const TlsClient* tls = upstream_rules_[upstream.index()]->tls.get();
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
  discoverer_ = std::make_unique<Discoverer>(io_, std::move(host));
  descriptor_watch_ = std::make_unique<DescriptorWatch>(io_, upstreams_);
}

int Server::run() {
  wait_for_signals();
  for (const auto& worker : workers_) worker->start();
  discoverer_->start();
  descriptor_watch_->start();
  workers_accepting_ = shared_.worker_count;
  phase_ = Phase::serving;
  // Not earlier: what asks whether the service is ready must not hear no from the process that
  // takes the place of one that is.
  if (admin_) admin_->start();
  const InForcePointer in_force = this->in_force();
  for (std::size_t i = 0; i < in_force->listeners.size(); ++i) {
    for (const config::Address& address : addresses(i)) {
      spdlog::info("listener {}: listening on {}", in_force->config->listeners[i].name,
                   address.text());
    }
  }
  if (admin_) spdlog::info("admin listening on {}", admin_->local_address().text());
  spdlog::info("weir {} serves with {} worker{}", version(), shared_.worker_count,
               shared_.worker_count == 1 ? "" : "s");
  notify_service("READY=1");
  inheritance_.enter();
  io_.run();
  return 0;
}

void Server::wait_for_signals() {
  boost::system::error_code ignored;
  for (const int number : {SIGTERM, SIGINT, SIGHUP, SIGUSR1, SIGUSR2}) {
    signals_.add(number, ignored);
  }
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
      notify_reloading();
      reload();
      notify_service("READY=1");
      return;
    case SIGUSR2:
      replace();
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
  reload_put_off_ = false;
  successor_.give_up();
  if (phase_.load() != Phase::serving) return;  // it serves already
  notify_service("STOPPING=1");
  phase_ = Phase::draining;
  const config::Duration delay = in_force()->config->drain.delay;
  if (delay == 0s) {
    stop_accepting();
    return;
  }
  timer_.expires_after(delay);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error) stop_accepting();
  });
}

void Server::stop_accepting() {
  if (!accepting_) return;
  accepting_ = false;
  discoverer_->stop();
  descriptor_watch_->stop();
  for (std::size_t i = 0; i < upstreams_.size(); ++i) {
    upstreams_[i]->decide(
        [](pool::Ledger& ledger, pool::Actions& actions) { ledger.shut_down(actions); });
  }
  for (const auto& worker : workers_) {
    worker->loop().post([this, &worker = *worker, listeners = shared_.listeners.size()] {
      worker.stop_accepting(listeners);
      workers_accepting_.fetch_sub(1);
      worker_is_empty();
    });
  }
  if (ending_) return;
  const config::Duration timeout = in_force()->config->drain.timeout;
  if (timeout == 0s) {
    end_sessions();
    return;
  }
  timer_.expires_after(timeout);
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
  configuration_watch_.stop();
  tls_watch_.stop();
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

FigureSources Server::figure_sources(const InForce& in_force) const {
  const std::scoped_lock lock(mutex_);
  return {in_force,         reloads_,     workers_, upstreams_,   *access_log_,
          *endpoint_books_, *discoverer_, started_, started_wall_};
}

std::string Server::metrics() {
  const InForcePointer in_force = this->in_force();
  return render_figures(figure_sources(*in_force));
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
  const InForcePointer in_force = this->in_force();
  return render_status(figure_sources(*in_force), phases[static_cast<std::size_t>(phase_.load())]);
}

}  // namespace weir::proxy
