#include "proxy/listener.hpp"

#include <spdlog/spdlog.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>

#include "proxy/connection_facts.hpp"
#include "proxy/session.hpp"
#include "proxy/shared.hpp"
#include "proxy/sockets.hpp"
#include "proxy/worker.hpp"

namespace weir::proxy {
namespace {

using namespace std::chrono_literals;

// How many connections one event may bring in: enough to keep up, few enough to stay fair.
constexpr int accepts_per_event = 16;

// How many clients are taken out of a queue before its socket closes: the backlog, and not those
// who come meanwhile, for ever.
constexpr int most_last_accepts = 4096;

// How long accepting rests when there is no descriptor, or when handshakes are at their limit and
// no one of this worker ends.
constexpr config::Duration descriptor_pause = 100ms;
constexpr config::Duration handshake_pause = 10ms;

}  // namespace

bool AcceptSocket::open(EventLoop& loop, bool shared_with_workers) {
  loop_ = &loop;
  exclusive_ = shared_with_workers;
  resume();
  return slot_ != EventLoop::no_slot;
}

void AcceptSocket::pause() {
  if (slot_ != EventLoop::no_slot) {
    loop_->remove(descriptor_, std::exchange(slot_, EventLoop::no_slot));
  }
}

void AcceptSocket::resume() {
  if (slot_ != EventLoop::no_slot || !is_open()) return;
  const std::uint32_t events = exclusive_ ? EPOLLIN | EPOLLEXCLUSIVE : EPOLLIN;
  if (!loop_->add(descriptor_, events, *this, slot_)) slot_ = EventLoop::no_slot;
}

void AcceptSocket::close() {
  pause();
  if (is_open()) ::close(std::exchange(descriptor_, -1));
}

void AcceptSocket::on_events(std::uint32_t) {
  listener_.accept_from(descriptor_);
}

Listener::Listener(Worker& worker, const config::Listener& config, std::size_t index,
                   const TlsServer* tls, config::Duration handshake_timeout,
                   std::size_t upstream_count, const RouteTable& routes)
    : worker_(worker),
      config_(config),
      index_(index),
      tls_(tls),
      handshake_timeout_(handshake_timeout),
      routes_(routes),
      counters_(upstream_count) {}

bool Listener::add_socket(int descriptor, bool shared) {
  sockets_.push_back(std::make_unique<AcceptSocket>(*this, descriptor));
  return sockets_.back()->open(worker_.loop(), shared);
}

void Listener::accept_from(int descriptor) {
  for (int i = 0; i < accepts_per_event && !paused_; ++i) {
    if (tls_ == nullptr) {
      if (!accept_one(descriptor)) return;
      continue;
    }
    // A seat is held while the client is accepted, so that workers together keep the limit.
    Shared& shared = worker_.shared();
    if (!shared.handshakes.take(shared.handshake_limit)) return pause(handshake_pause);
    const bool more = accept_one(descriptor);
    shared.handshakes.give_back();
    if (!more) return;
  }
}

void Listener::stop() {
  clear();
  paused_ = false;
  for (const auto& socket : sockets_) {
    // Closing a socket resets whoever is in its queue.
    for (int i = 0; i < most_last_accepts && socket->is_open() && !paused_; ++i) {
      if (!accept_one(socket->descriptor())) break;
    }
    socket->close();
  }
  clear();
}

// False when nobody else waits.
bool Listener::accept_one(int descriptor) {
  sockaddr_storage peer{};
  socklen_t size = sizeof peer;
  const int accepted = ::accept4(descriptor, reinterpret_cast<sockaddr*>(&peer), &size,
                                 SOCK_NONBLOCK | SOCK_CLOEXEC);
  if (accepted < 0) {
    switch (errno) {
      case EMFILE:
      case ENFILE:
      case ENOBUFS:
      case ENOMEM:
        out_of_descriptors(descriptor);
        return false;
      // The client is gone already, or the network says so: accept(2), error handling.
      case ECONNABORTED:
      case EINTR:
      case EPROTO:
      case ENETDOWN:
      case EHOSTUNREACH:
      case ENETUNREACH:
        return true;
      default:
        return false;
    }
  }
  if (admit(accepted)) {
    worker_.start_session(*this, accepted,
                          SocketAddress::from(reinterpret_cast<const sockaddr*>(&peer)));
  }
  return true;
}

// Counts the connection in, or closes it when a limit is reached.
bool Listener::admit(int descriptor) {
  Shared& shared = worker_.shared();
  const bool fits_process = shared.connections.take(shared.connection_limit);
  if (fits_process && shared.listeners[index_]->connections.take(config_.limits.connections)) {
    counters_.accepted.add();
    counters_.open.add();
    return true;
  }
  if (fits_process) shared.connections.give_back();
  counters_.refused[static_cast<std::size_t>(Refused::connection_limit)].add();
  ::close(descriptor);
  return false;
}

// The client at the head of the queue is told (by a close) instead of being left to wait; then
// accepting rests, since the queue would wake us at once.
void Listener::out_of_descriptors(int descriptor) {
  counters_.refused[static_cast<std::size_t>(Refused::descriptors)].add();
  worker_.shed_one(descriptor);
  short_of_descriptors_ = true;
  pause(descriptor_pause);
}

bool Listener::handshakes_full() const {
  const Shared& shared = worker_.shared();
  return tls_ != nullptr && shared.handshakes.count() >= shared.handshake_limit;
}

bool Listener::trusts(const SocketAddress& address) const {
  // Who comes by a unix socket was let in by its file's permissions.
  return address.family == SocketAddress::Family::unix_socket ||
         std::ranges::any_of(config_.trusted, [&](const config::Network& network) {
           return contains(network, address);
         });
}

void Listener::handshake_began() {
  worker_.shared().handshakes.add();
}

void Listener::handshake_ended() {
  worker_.shared().handshakes.give_back();
  if (paused_ && !short_of_descriptors_ && !handshakes_full()) expired(worker_.loop().now());
}

void Listener::pause(config::Duration time) {
  if (!paused_) {
    paused_ = true;
    for (const auto& socket : sockets_) socket->pause();
  }
  set(worker_.loop().deadlines(), worker_.loop().now() + time);
}

void Listener::expired(TimePoint) {
  clear();
  short_of_descriptors_ = false;
  if (handshakes_full()) return pause(handshake_pause);
  paused_ = false;
  for (const auto& socket : sockets_) socket->resume();
}

void Listener::count_handshake(std::string_view result, std::string_view version, bool resumed) {
  std::size_t row = 0;
  if (result != "ok") {
    const auto& reasons = tls_failure_reasons();
    row = 1 + static_cast<std::size_t>(std::ranges::find(reasons, result) - reasons.begin());
  }
  const std::size_t column = version == "TLSv1.2" ? 0 : version == "TLSv1.3" ? 1 : 2;
  counters_.handshakes[row][column][resumed ? 1 : 0].add();
}

void Listener::session_ended(const ConnectionFacts& facts, std::size_t upstream) {
  const std::size_t row = std::min(upstream, counters_.sessions.size() - 1);
  counters_.sessions[row][static_cast<std::size_t>(facts.outcome.reason)].add();
  counters_.open.subtract();
  counters_.duration.observe(facts.age);
  counters_.received.observe_bytes(facts.client_received);
  counters_.sent.observe_bytes(facts.client_sent);
  worker_.shared().connections.give_back();
  worker_.shared().listeners[index_]->connections.give_back();
}

}  // namespace weir::proxy
