#include "proxy/tunnel.hpp"

#include <algorithm>
#include <cerrno>

namespace weir::proxy {

Tunnel::Tunnel(Stream& client, Stream& server, TunnelOwner& owner)
    : owner_(owner),
      directions_{Direction{client, server, Flow::to_server},
                  Direction{server, client, Flow::to_client}} {}

void Tunnel::start() {
  started_ = true;
  for (Direction& direction : directions_) direction.from.change_owner(*this);
  pump_both();
}

void Tunnel::stream_ready(Stream&) {
  pump_both();
}

void Tunnel::go_on() {
  pump_both();
}

void Tunnel::pump_both() {
  for (Direction& direction : directions_) {
    if (over_) return;
    // Nobody reads a side that has ended: a reset of it would go unnoticed until the next write.
    if (direction.ended && direction.from.broken()) return broken(direction.from);
    if (!pump(direction)) return;
  }
  if (directions_[0].passed_on && directions_[1].passed_on && !directions_[0].to.has_unsent() &&
      !directions_[1].to.has_unsent()) {
    finish(first_end_ == Flow::to_server ? TunnelEnd::client_closed : TunnelEnd::server_closed);
  }
}

// False: the tunnel is over.
bool Tunnel::pump(Direction& direction) {
  Stream& from = direction.from;
  Stream& to = direction.to;
  std::size_t share = share_bytes;
  for (;;) {
    if (to.has_unsent()) {
      const std::size_t before = to.unsent_size();
      if (to.writable() && !to.flush()) return broken(to), false;
      if (to.unsent_size() < before) owner_.progressed();
      if (to.has_unsent()) {
        // Nobody reads it now, so its end by reset would go unnoticed.
        if (from.broken()) return broken(from), false;
        return true;
      }
    }
    if (direction.ended) return pass_end_on(direction);
    if (!from.may_read()) return true;
    std::size_t size = 0;
    switch (from.read(from.loop().plain_scratch().first(direction.chunk), size)) {
      case Read::again:
        // Records without data may go on for long: the rest of them is for the next turn.
        if (from.may_read()) from.loop().go_on_later(*this);
        return true;
      case Read::end:
        if (direction.flow == Flow::to_client && server_left_unheard(TunnelEnd::server_closed)) {
          return false;
        }
        direction.ended = true;
        if (!directions_[1 - index(direction.flow)].ended) first_end_ = direction.flow;
        continue;
      case Read::reset:
      case Read::failed:
        return broken(from), false;
      case Read::data:
        break;
    }
    direction.bytes += size;
    owner_.bytes_moved(direction.flow, size);
    if (!to.write(from.loop().plain_scratch().first(size))) return broken(to), false;
    if (to.has_unsent()) {
      direction.chunk = std::max(direction.chunk / 2, smallest_chunk);
    } else if (size == direction.chunk) {
      direction.chunk = std::min(direction.chunk * 2, largest_chunk);
    }
    if (size >= share) {
      from.loop().go_on_later(*this);
      return true;
    }
    share -= size;
  }
}

bool Tunnel::pass_end_on(Direction& direction) {
  if (direction.passed_on) return true;
  direction.passed_on = true;
  // The second end: both sockets close now, and that sends the FIN.
  const bool last = directions_[1 - index(direction.flow)].passed_on;
  if (last) {
    direction.to.say_goodbye();
    return true;
  }
  if (!direction.to.shutdown_write()) return broken(direction.to), false;
  owner_.half_closed(direction.flow);
  return !over_;
}

// Nothing was said by anyone, and the client has not finished: nothing is lost by another server.
bool Tunnel::server_left_unheard(TunnelEnd end) {
  if (directions_[0].bytes != 0 || directions_[1].bytes != 0 || directions_[0].ended) return false;
  over_ = owner_.try_elsewhere(end);
  return over_;
}

void Tunnel::broken(const Stream& stream) {
  const bool is_client = &stream == &directions_[0].from;
  if (!is_client && server_left_unheard(TunnelEnd::server_reset)) return;
  if (stream.last_error() == EPROTO) {
    finish(is_client ? TunnelEnd::client_failed : TunnelEnd::server_failed);
    return;
  }
  // Both sides have said that they are done: whoever does not wait for our goodbye has closed.
  if (directions_[0].ended && directions_[1].ended) {
    finish(first_end_ == Flow::to_server ? TunnelEnd::client_closed : TunnelEnd::server_closed);
    return;
  }
  finish(is_client ? TunnelEnd::client_reset : TunnelEnd::server_reset);
}

void Tunnel::finish(TunnelEnd end) {
  if (over_) return;
  over_ = true;
  if (is_linked()) unlink();
  owner_.tunnel_ended(end);
}

}  // namespace weir::proxy
