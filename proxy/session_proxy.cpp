// What the PROXY protocol adds to setting a session up: who the client is, as whoever is in front
// says, and as the server is told.

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstring>
#include <span>

#include "proxy/session.hpp"
#include "proxy/sockets.hpp"
#include "proxy/worker.hpp"

namespace weir::proxy {
namespace {

// May whoever connects from this address say who its client is?
bool trusts(const config::Listener& listener, const SocketAddress& address) {
  // Who comes by a unix socket was let in by its file's permissions.
  return address.family == SocketAddress::Family::unix_socket ||
         std::ranges::any_of(listener.trusted, [&](const config::Network& network) {
           return contains(network, address);
         });
}

}  // namespace

Task<bool> Session::read_header() {
  stage_ = Stage::header;
  setup_due_ = accepted_at_ + rules_->config.timeouts.header;
  set_deadline();
  for (;;) {
    const auto settled = judge_header();
    if (settled) co_return *settled;
    co_await wakeup_.wait();
  }
}

// Nothing: more has to come. False: the session has ended.
std::optional<bool> Session::judge_header() {
  const config::Listener& listener = rules_->config;
  const bool required = listener.proxy_protocol == config::AcceptProxy::require;
  const auto deny = [this](std::string_view why) {
    detail_ = why;
    end(Reason::client_denied, false);
    return false;
  };
  const bool trusted = trusts(listener, address_);
  if (required && !trusted) return deny("not trusted to send a PROXY header");
  std::array<std::byte, ProxyHeader::most_size> seen;
  std::size_t size = 0;
  const Read result = client_.may_read() ? client_.peek(seen, size) : Read::again;
  const ProxyReading reading = read_proxy_header(std::span(seen).first(size));
  switch (reading.state) {
    case ProxyReading::State::incomplete:
      break;
    case ProxyReading::State::absent:
      if (required) return deny("no PROXY header");
      return true;
    case ProxyReading::State::malformed:
      return deny(reading.why);
    case ProxyReading::State::complete:
      if (!trusted) return deny("not trusted to send a PROXY header");
      client_.skip(reading.header.size);
      header_ = std::make_unique<ProxyHeader>(reading.header);
      if (!header_->local) address_ = header_->source;
      return true;
  }
  if (result == Read::reset || client_.broken()) {
    end(Reason::client_reset, true);
    return false;
  }
  const bool has_ended = result == Read::end || client_.hung_up();
  if (size > 0 && has_ended) return deny("the PROXY header is cut off");
  if (has_ended) {
    end(Reason::client_closed, false);
    return false;
  }
  // A server may have to speak first, and where no header is required nobody has to send one.
  const bool silent = !required && size == 0;
  if (silent && worker_.loop().now() >= setup_due_) return true;
  if (const auto reason = verdict()) {
    end(*reason, true);
    return false;
  }
  return std::nullopt;
}

// Tells the server who its client is, and only then speaks TLS with it.
Task<Session::Introduced> Session::introduce() {
  Stream& server = lease_.stream();
  server.change_owner(*this);
  const std::string header = header_for_server();
  std::optional<std::string> failure;
  if (!server.write(std::as_bytes(std::span(header)))) {
    failure = std::strerror(server.last_error());
  } else if (lease_->rules().tls != nullptr) {
    failure = co_await shake_hands_with_server();
  }
  if (ended_) co_return Introduced::ended;
  if (!failure) co_return Introduced::yes;
  detail_ = std::move(*failure);
  const bool elsewhere = may_try_elsewhere();
  tried_.push_back(lease_.endpoint());
  lost_server_ =
      lease_->rules().tls != nullptr ? Reason::upstream_tls_failed : Reason::server_reset;
  lease_.drop(pool::Closed::peer_closed);
  if (elsewhere) co_return Introduced::elsewhere;
  end(*lost_server_, false);
  co_return Introduced::ended;
}

// Nothing: it is done, or the session has ended meanwhile.
Task<std::optional<std::string>> Session::shake_hands_with_server() {
  Stream& server = lease_.stream();
  UpstreamCounters& counters = connections_->counters();
  const TimePoint began = worker_.loop().now();
  const UpstreamRules& rules = lease_->rules();
  ssl_st* ssl = rules.tls->connect(lease_.target()->host, lease_.endpoint());
  if (ssl == nullptr) co_return "out of memory";
  server.start_tls(ssl);
  setup_due_ = began + rules.config.tls_timeout;
  set_deadline();
  std::optional<std::string> failure;
  while (!failure) {
    if (server.has_unsent() && !server.flush()) {
      failure = std::strerror(server.last_error());
      break;
    }
    const Stream::Handshake state = server.handshake();
    if (state == Stream::Handshake::done) {
      counters.open_tls.observe(worker_.loop().now() - began);
      co_return std::nullopt;
    }
    const auto reason = verdict();
    if (state == Stream::Handshake::failed) {
      failure = tls_failure(server).words;
      rules.tls->forget_sessions(lease_.endpoint());
    } else if (reason == Reason::acquire_timeout) {
      failure = "tls_timeout";
    } else if (reason) {
      end(*reason, true);
      co_return std::nullopt;
    } else {
      co_await wakeup_.wait();
    }
  }
  const auto row = static_cast<std::size_t>(pool::Failure::tls_failed);
  counters.endpoints[lease_.endpoint()].open_failures[row].add();
  co_return failure;
}

std::string Session::header_for_server() const {
  ProxyFacts facts;
  facts.source = address_;
  const bool passed_on = header_ && !header_->local;
  facts.destination = passed_on ? header_->destination : local_address(client_.descriptor());
  if (tls_) {
    facts.tls = true;
    facts.tls_version = tls_->version;
    facts.tls_cipher = tls_->cipher;
    facts.certificate = facts.verified = !tls_->client_identity.empty();
    facts.resumed = tls_->resumed;
    facts.common_name = tls_->client_common_name;
    facts.authority = tls_->server_name;
    facts.alpn = tls_->alpn;
  } else if (header_) {
    facts.tls = header_->client_tls;
    facts.tls_version = header_->tls_version;
    facts.tls_cipher = header_->tls_cipher;
    facts.common_name = header_->tls_common_name;
    facts.certificate = header_->client_certificate;
    facts.verified = header_->client_verified;
    facts.authority = header_->authority;
    facts.alpn = header_->alpn;
  }
  if (offer_) {
    facts.authority = offer_->server_name;
    // Which of several will be spoken is the server's choice.
    facts.alpn = offer_->is_one_protocol ? offer_->protocols : std::string();
  }
  if (header_ && !header_->unique_id.empty()) {
    facts.unique_id = header_->unique_id;
  } else {
    // Ids are unique in a process, the time tells processes apart.
    facts.unique_id = fmt::format("{:x}-{:x}", accepted_wall_.time_since_epoch().count(), id_);
  }
  return proxy_header(lease_->rules().config.proxy_protocol, facts);
}

}  // namespace weir::proxy
