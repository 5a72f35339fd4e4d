#include "proxy/checker.hpp"

#include <spdlog/spdlog.h>

#include <cerrno>
#include <cstring>

#include "proxy/connections.hpp"
#include "proxy/sockets.hpp"
#include "proxy/worker.hpp"

namespace weir::proxy {
namespace {

// A shortage of this machine, which says nothing about the endpoint. (EAGAIN: a unix socket's
// backlog is full, so somebody listens.)
bool is_ours(int error) {
  return error == EADDRNOTAVAIL || error == ENOBUFS || error == ENOMEM || error == EAGAIN;
}

}  // namespace

Checker::Checker(Worker& worker, Connections& connections, pool::EndpointIndex endpoint)
    : worker_(worker),
      connections_(connections),
      endpoint_(endpoint),
      config_(*connections.upstream().config().health_check),
      health_(config_) {}

// The first checks of many endpoints are spread over one fast interval.
void Checker::start() {
  const auto spread =
      std::chrono::duration_cast<Nanoseconds>(config_.fast_interval * worker_.random());
  set(worker_.loop().deadlines(), worker_.loop().now() + spread);
}

void Checker::check() {
  EventLoop& loop = worker_.loop();
  began_ = loop.now();
  checking_ = true;
  config::Address target = connections_.upstream().config().endpoints[endpoint_].address;
  if (config_.port != 0) target.port = config_.port;
  const KernelAddress address(target);
  const int descriptor = open_socket(address.family());
  if (descriptor < 0) {
    // Our own shortage says nothing about the endpoint.
    checking_ = false;
    plan(config_.interval);
    return;
  }
  const int result = ::connect(descriptor, address.data(), address.size());
  const int error = errno;
  if (result != 0 && error != EINPROGRESS) {
    close_descriptor(descriptor);
    if (is_ours(error)) {
      checking_ = false;
      plan(config_.interval);
    } else {
      finish(false, std::strerror(error));
    }
    return;
  }
  if (!stream_.open(loop, descriptor, address.transport(), *this, result != 0)) {
    checking_ = false;
    plan(config_.interval);
    return;
  }
  if (result == 0) {
    finish(true, {});
  } else {
    set(loop.deadlines(), loop.now() + config_.timeout);
  }
}

void Checker::stream_ready(Stream& stream) {
  if (!checking_ || !stream.writable()) return;
  const int error = stream.broken() ? pending_error(stream.descriptor()) : 0;
  finish(error == 0, error == 0 ? "" : std::strerror(error));
}

void Checker::expired(TimePoint) {
  if (checking_) {
    finish(false, "no connection within health_check.timeout");
  } else {
    check();
  }
}

void Checker::finish(bool success, const std::string& why) {
  checking_ = false;
  clear();
  // A reset instead of a goodbye: the server has nothing to clean up, we keep no TIME_WAIT.
  stream_.abort();
  const TimePoint now = worker_.loop().now();
  UpstreamCounters& counters = connections_.counters();
  EndpointCounters& endpoint = counters.endpoints[endpoint_];
  (success ? endpoint.checks_passed : endpoint.checks_failed).add();
  counters.check.observe(now - began_);
  const pool::Health::Change change = health_.record(success);
  if (change != pool::Health::Change::none) {
    const config::Upstream& upstream = connections_.upstream().config();
    const std::string name = upstream.endpoints[endpoint_].address.text();
    if (success) {
      spdlog::info("upstream {}: endpoint {} is healthy", upstream.name, name);
    } else {
      spdlog::warn("upstream {}: endpoint {} is unhealthy: {}", upstream.name, name, why);
    }
    connections_.upstream().decide([&](pool::Ledger& ledger, pool::Actions& actions) {
      ledger.set_healthy(endpoint_, success, now, actions);
    });
  }
  plan(health_.next_interval());
}

void Checker::plan(config::Duration interval) {
  const auto jittered = interval * (0.9 + 0.2 * worker_.random());
  set(worker_.loop().deadlines(),
      worker_.loop().now() + std::chrono::duration_cast<Nanoseconds>(jittered));
}

}  // namespace weir::proxy
