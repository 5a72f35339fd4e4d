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
    loop_->remove(descriptor(), std::exchange(slot_, EventLoop::no_slot));
  }
}

void AcceptSocket::resume() {
  if (slot_ != EventLoop::no_slot || !is_open()) return;
  const std::uint32_t events = exclusive_ ? EPOLLIN | EPOLLEXCLUSIVE : EPOLLIN;
  if (!loop_->add(descriptor(), events, *this, slot_)) slot_ = EventLoop::no_slot;
}

void AcceptSocket::close() {
  pause();
  socket_.reset();
}

void AcceptSocket::on_events(std::uint32_t) {
  listener_.accept_from(descriptor());
}

bool Listener::add_socket(const ListeningSocketPointer& socket, bool shared) {
  if (std::ranges::any_of(sockets_, [&](const auto& each) { return each->socket() == socket; })) {
    return true;
  }
  sockets_.push_back(std::make_unique<AcceptSocket>(*this, socket));
  const bool good = sockets_.back()->open(worker_.loop(), shared);
  if (paused_) sockets_.back()->pause();
  return good;
}

void Listener::accept_from(int descriptor) {
  for (int i = 0; i < accepts_per_event && !paused_; ++i) {
    if (rules_->tls == nullptr) {
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

void Listener::keep_sockets(const Sockets& kept, const Sockets& in_use) {
  for (const auto& socket : sockets_) {
    if (kept.contains(socket->socket())) continue;
    if (!in_use.contains(socket->socket())) empty_queue(*socket);
    socket->close();
  }
  std::erase_if(sockets_, [](const auto& socket) { return !socket->is_open(); });
  if (sockets_.empty()) {
    clear();
    paused_ = short_of_descriptors_ = false;
  }
}

// Closing a socket resets whoever is in its queue.
void Listener::empty_queue(AcceptSocket& socket) {
  const bool was_paused = std::exchange(paused_, false);
  for (int i = 0; i < most_last_accepts && !paused_; ++i) {
    if (!accept_one(socket.descriptor())) break;
  }
  paused_ = paused_ || was_paused;
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
  if (fits_process &&
      shared.listeners[index_].connections.take(rules_->config.limits.connections)) {
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
  return rules_->tls != nullptr && shared.handshakes.count() >= shared.handshake_limit;
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
  const std::size_t row = upstream == RouteChoice::no_upstream ? 0 : upstream + 1;
  counters_.sessions[row].add(facts.outcome.reason);
  counters_.open.subtract();
  counters_.duration.observe(facts.age);
  counters_.received.observe_bytes(facts.client_received);
  counters_.sent.observe_bytes(facts.client_sent);
  worker_.shared().connections.give_back();
  worker_.shared().listeners[index_].connections.give_back();
}

}  // namespace weir::proxy
