#include "proxy/checker.hpp"

#include <spdlog/spdlog.h>

#include <utility>

#include "proxy/connections.hpp"
#include "proxy/worker.hpp"

namespace weir::proxy {

Checker::Checker(Worker& worker, Connections& connections, pool::EndpointIndex index,
                 pool::EndpointPointer endpoint)
    : worker_(worker),
      connections_(connections),
      index_(index),
      endpoint_(std::move(endpoint)),
      rules_(connections.rules()),
      config_(*rules_->config.health_check) {}

// The first checks of many endpoints are spread over one fast interval.
void Checker::start() {
  const auto spread =
      std::chrono::duration_cast<Nanoseconds>(config_.fast_interval * worker_.random());
  set(worker_.loop().deadlines(), worker_.loop().now() + spread);
}

// More than a connection: it has to answer.
bool Checker::talks() const {
  return config_.type != config::CheckType::tcp;
}

void Checker::check() {
  EventLoop& loop = worker_.loop();
  began_ = loop.now();
  DialOrder order;
  order.address = endpoint_->address;
  if (config_.port != 0) order.address.port = config_.port;
  if (talks()) {
    order.proxy_protocol = rules_->config.proxy_protocol;
    order.tls = rules_->tls.get();
    order.tls_host = endpoint_->host;
    order.tls_sessions = index_;
    order.check = &config_;
    order.name = endpoint_->name;
  }
  set(loop.deadlines(), loop.now() + config_.timeout);
  dial_.begin(loop, std::move(order));
}

void Checker::dial_ended(Dial&, DialEnd end, std::string why) {
  if (end == DialEnd::ours) {
    dial_.close();
    return plan(config_.interval);
  }
  finish(end == DialEnd::good, why);
}

void Checker::expired(TimePoint) {
  switch (dial_.step()) {
    case Dial::Step::none:
      return check();
    case Dial::Step::connecting:
      return finish(false, "no connection within health_check.timeout");
    case Dial::Step::handshake:
    case Dial::Step::settling:
      return finish(false, "no TLS handshake within health_check.timeout");
    case Dial::Step::talking:
      return finish(false, "no answer within health_check.timeout");
  }
}

void Checker::finish(bool passed, const std::string& why) {
  clear();
  dial_.close();
  const TimePoint now = worker_.loop().now();
  UpstreamCounters& counters = connections_.counters();
  EndpointCounters& endpoint = counters.endpoints[index_];
  (passed ? endpoint.checks_passed : endpoint.checks_failed).add();
  counters.check.observe(now - began_);
  pool::Upstream& upstream = connections_.upstream();
  const auto checked = upstream.decide([&](pool::Ledger& ledger, pool::Actions& actions) {
    return ledger.checked(endpoint_, index_, passed, why, now, actions);
  });
  if (checked && checked->change == pool::Health::Change::became_healthy) {
    spdlog::info("upstream {}: endpoint {} is healthy", upstream.name(), endpoint_->name);
  } else if (checked && checked->change == pool::Health::Change::became_unhealthy) {
    spdlog::warn("upstream {}: endpoint {} is unhealthy: {}", upstream.name(), endpoint_->name,
                 why);
  }
  plan(checked ? checked->next : config_.interval);
}

void Checker::plan(config::Duration interval) {
  const auto jittered = interval * (0.9 + 0.2 * worker_.random());
  set(worker_.loop().deadlines(),
      worker_.loop().now() + std::chrono::duration_cast<Nanoseconds>(jittered));
}

}  // namespace weir::proxy
