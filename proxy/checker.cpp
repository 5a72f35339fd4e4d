#include "proxy/checker.hpp"

#include <spdlog/spdlog.h>

#include <cerrno>
#include <cstring>

#include "proxy/connections.hpp"
#include "proxy/proxy_protocol.hpp"
#include "proxy/sockets.hpp"
#include "proxy/worker.hpp"

namespace weir::proxy {
namespace {

constexpr std::size_t most_answer = 16 * 1024;

// A shortage of this machine, which says nothing about the endpoint. (EAGAIN: a unix socket's
// backlog is full, so somebody listens.)
bool is_ours(int error) {
  return error == EADDRNOTAVAIL || error == ENOBUFS || error == ENOMEM || error == EAGAIN;
}

}  // namespace

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

bool Checker::uses_tls() const {
  return talks() && rules_->tls != nullptr;
}

void Checker::check() {
  EventLoop& loop = worker_.loop();
  began_ = loop.now();
  answer_.clear();
  stream_ = Stream();
  config::Address target = endpoint_->address;
  if (config_.port != 0) target.port = config_.port;
  const KernelAddress address(target);
  const int descriptor = open_socket(address.family());
  // Our own shortage says nothing about the endpoint.
  if (descriptor < 0) return plan(config_.interval);
  const int result = ::connect(descriptor, address.data(), address.size());
  const int error = errno;
  if (result != 0 && error != EINPROGRESS) {
    close_descriptor(descriptor);
    if (is_ours(error)) return plan(config_.interval);
    return finish(false, std::strerror(error));
  }
  if (!stream_.open(loop, descriptor, address.transport(), *this, result != 0)) {
    return plan(config_.interval);
  }
  stage_ = Stage::connecting;
  set(loop.deadlines(), loop.now() + config_.timeout);
  if (result == 0) connected();
}

void Checker::stream_ready(Stream&) {
  switch (stage_) {
    case Stage::waiting:
      return;
    case Stage::connecting: {
      if (!stream_.writable()) return;
      const int error = stream_.broken() ? pending_error(stream_.descriptor()) : 0;
      if (error != 0) return finish(false, std::strerror(error));
      return connected();
    }
    case Stage::handshake:
      return shake_hands();
    case Stage::talking:
      return listen();
  }
}

// A connection of our own, without a client. Some servers refuse the UNKNOWN of version 1: they are
// told our address.
std::string Checker::own_header(config::SendProxy version) const {
  if (version == config::SendProxy::v2) return local_proxy_header(version);
  ProxyFacts facts;
  facts.source = local_address(stream_.descriptor());
  facts.destination = SocketAddress::from(KernelAddress(endpoint_->address).data());
  return proxy_header(version, facts);
}

void Checker::connected() {
  if (!talks()) return finish(true, {});
  const config::SendProxy version = rules_->config.proxy_protocol;
  if (version != config::SendProxy::off) {
    const std::string header = own_header(version);
    if (!stream_.write(std::as_bytes(std::span(header)))) {
      return finish(false, std::strerror(stream_.last_error()));
    }
  }
  if (!uses_tls()) return talk();
  ssl_st* ssl = rules_->tls->connect(endpoint_->host, index_);
  if (ssl == nullptr) {
    stream_.abort();
    return plan(config_.interval);
  }
  stream_.start_tls(ssl);
  stage_ = Stage::handshake;
  shake_hands();
}

void Checker::shake_hands() {
  if (stream_.has_unsent() && !stream_.flush()) {
    return finish(false, std::strerror(stream_.last_error()));
  }
  switch (stream_.handshake()) {
    case Stream::Handshake::wait:
      return;
    case Stream::Handshake::failed: {
      TlsFailure failure = tls_failure(stream_);
      rules_->tls->forget_sessions(index_);
      return finish(false, std::move(failure.words));
    }
    case Stream::Handshake::done:
      return talk();
  }
}

void Checker::talk() {
  stage_ = Stage::talking;
  const std::string sent = question(config_, endpoint_->name);
  if (!sent.empty() && !stream_.write(std::as_bytes(std::span(sent)))) {
    return finish(false, std::strerror(stream_.last_error()));
  }
  listen();
}

void Checker::listen() {
  if (stream_.has_unsent() && !stream_.flush()) {
    return finish(false, std::strerror(stream_.last_error()));
  }
  for (;;) {
    Judgement judgement = judge(config_, answer_);
    if (judgement.verdict != Verdict::incomplete) {
      return finish(judgement.verdict == Verdict::good, std::move(judgement.why));
    }
    if (answer_.size() >= most_answer) return finish(false, "the answer is too long");
    if (!stream_.may_read()) return;
    std::size_t size = 0;
    const std::span<std::byte> room = worker_.loop().plain_scratch();
    switch (stream_.read(room, size)) {
      case Read::again:
        if (!stream_.may_read()) return;
        continue;
      case Read::data:
        answer_.append(reinterpret_cast<const char*>(room.data()), size);
        continue;
      case Read::end:
        return finish(false, "closed before it had answered");
      case Read::reset:
      case Read::failed:
        return finish(false, std::strerror(stream_.last_error()));
    }
  }
}

void Checker::expired(TimePoint) {
  switch (stage_) {
    case Stage::waiting:
      return check();
    case Stage::connecting:
      return finish(false, "no connection within health_check.timeout");
    case Stage::handshake:
      return finish(false, "no TLS handshake within health_check.timeout");
    case Stage::talking:
      return finish(false, "no answer within health_check.timeout");
  }
}

void Checker::finish(bool passed, std::string why) {
  stage_ = Stage::waiting;
  clear();
  // A reset instead of a goodbye: a server that only saw a connection has nothing to clean up, and
  // we keep no TIME_WAIT.
  if (talks()) {
    stream_.hang_up();
  } else {
    stream_.abort();
  }
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
  stage_ = Stage::waiting;
  const auto jittered = interval * (0.9 + 0.2 * worker_.random());
  set(worker_.loop().deadlines(),
      worker_.loop().now() + std::chrono::duration_cast<Nanoseconds>(jittered));
}

}  // namespace weir::proxy
