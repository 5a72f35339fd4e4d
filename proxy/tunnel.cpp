#include "proxy/tunnel.hpp"

#include <algorithm>
#include <cerrno>
#include <span>
#include <utility>

namespace weir::proxy {

Tunnel::Tunnel(Stream& client, Stream& server, TunnelOwner& owner, ClientEnd client_end)
    : owner_(owner),
      loop_(client.loop()),
      can_splice_(!client.is_tls() && !server.is_tls()),
      share_(can_splice_ ? plain_share : tls_share),
      directions_{Direction{client, server, Flow::to_server},
                  Direction{server, client, Flow::to_client}},
      client_end_ends_(client_end == ClientEnd::ends) {}

Tunnel::~Tunnel() {
  for (Direction& direction : directions_) loop_.pipes().give_back(std::move(direction.pipe));
}

void Tunnel::start(std::string_view greeting, std::span<const std::byte> heard) {
  started_ = true;
  for (Direction& direction : directions_) direction.from.change_owner(*this);
  if (!deliver(Flow::to_client, std::as_bytes(std::span(greeting)))) return;
  if (!deliver(Flow::to_server, heard)) return;
  pump_both();
}

// What was read before there was a tunnel. False: the tunnel is over.
bool Tunnel::deliver(Flow flow, std::span<const std::byte> bytes) {
  if (bytes.empty()) return true;
  Direction& direction = directions_[index(flow)];
  direction.bytes += bytes.size();
  last_flow_ = flow;
  owner_.bytes_moved(flow, bytes.size());
  if (!direction.to.write(bytes)) return broken(direction.to), false;
  return true;
}

void Tunnel::give_server_back() {
  Direction& direction = directions_[index(Flow::to_client)];
  if (direction.is_bulk) direction.from.set_low_water(1);
}

void Tunnel::stop() {
  over_ = true;
  unlink();
}

void Tunnel::stream_ready(Stream&) {
  pump_both();
}

void Tunnel::go_on() {
  // Of what has gathered below the mark the kernel has said nothing.
  for (Direction& direction : directions_) {
    if (direction.is_bulk) direction.from.expect_input();
  }
  pump_both();
}

void Tunnel::pump_both() {
  if (std::exchange(turn_, loop_.now()) != loop_.now()) {
    for (Direction& direction : directions_) direction.left = share_;
  }
  for (Direction& direction : directions_) {
    if (over_) return;
    // Nobody reads a side that has ended: a reset of it would go unnoticed until the next write.
    if (direction.ended && direction.from.broken()) return broken(direction.from);
    if (!pump(direction)) return;
  }
  if (is_complete()) {
    finish(first_end_ == Flow::to_server ? TunnelEnd::client_closed : TunnelEnd::server_closed);
  }
}

bool Tunnel::is_complete() const {
  if (directions_[0].has_waiting() || directions_[1].has_waiting()) return false;
  const bool client_is_done = client_end_ends_ && directions_[0].ended;
  return directions_[0].passed_on && (directions_[1].passed_on || client_is_done);
}

// False: the tunnel is over.
bool Tunnel::pump(Direction& direction) {
  Stream& from = direction.from;
  std::size_t moved = 0;
  bool looked = false;
  for (;;) {
    if (direction.has_waiting()) {
      if (!pass_waiting_on(direction)) return broken(direction.to), false;
      if (direction.has_waiting()) {
        // Nobody reads it now, so its end by reset would go unnoticed.
        if (from.broken()) return broken(from), false;
        return true;
      }
    }
    if (direction.ended) return rest(direction, 0, true), pass_end_on(direction);
    if (!from.may_read()) return rest(direction, moved, looked), true;
    if (direction.left == 0) {
      loop_.go_on_later(*this);
      return true;
    }
    looked = true;
    std::size_t size = 0;
    switch (take(direction, size)) {
      case Read::again:
        // Records without data may go on for long: the rest of them is for the next turn.
        if (from.may_read()) loop_.go_on_later(*this);
        return rest(direction, moved, true), true;
      case Read::end:
        if (direction.flow == Flow::to_client && server_left_unheard(TunnelEnd::server_closed)) {
          return false;
        }
        direction.ended = true;
        if (!other(direction).ended) first_end_ = direction.flow;
        continue;
      case Read::reset:
      case Read::failed:
        return broken(from), false;
      case Read::data:
        break;
    }
    direction.bytes += size;
    last_flow_ = direction.flow;
    owner_.bytes_moved(direction.flow, size);
    if (!pass_on(direction, size)) return broken(direction.to), false;
    adapt(direction, size);
    moved += size;
    direction.left -= std::min(direction.left, size);
  }
}

// What waited for the reader goes first. False: the reader is gone.
bool Tunnel::pass_waiting_on(Direction& direction) {
  Stream& to = direction.to;
  if (!to.writable()) return true;
  const std::size_t unsent = to.unsent_size();
  const std::size_t in_pipe = direction.pipe ? direction.pipe->size() : 0;
  if (!to.flush()) return false;
  if (in_pipe > 0 && !to.has_unsent() && !to.splice_from(*direction.pipe)) return false;
  if (to.unsent_size() < unsent || (in_pipe > 0 && direction.pipe->size() < in_pipe)) {
    owner_.progressed();
  }
  return true;
}

Read Tunnel::take(Direction& direction, std::size_t& size) {
  if (direction.pipe && !direction.from.may_splice()) {
    loop_.pipes().give_back(std::move(direction.pipe));
  } else if (direction.is_bulk && can_splice_ && !direction.pipe && direction.from.may_splice()) {
    direction.pipe = loop_.pipes().take();
  }
  if (direction.pipe) {
    const std::size_t most = std::max<std::size_t>(direction.left, largest_chunk);
    return direction.from.splice_to(*direction.pipe, most, size);
  }
  return direction.from.read(loop_.plain_scratch().first(direction.chunk), size);
}

bool Tunnel::pass_on(Direction& direction, std::size_t size) {
  if (direction.pipe) return direction.to.splice_from(*direction.pipe);
  // Last bytes travel with the end that is passed on behind them.
  const bool end_follows = !client_end_ends_ || direction.flow == Flow::to_client;
  const bool more = end_follows && direction.from.end_is_next() && !other(direction).has_waiting();
  return direction.to.write(loop_.plain_scratch().first(size), more);
}

void Tunnel::adapt(Direction& direction, std::size_t size) {
  if (direction.pipe) return;
  if (direction.to.has_unsent()) {
    direction.chunk = std::max(direction.chunk / 2, smallest_chunk);
  } else if (size >= direction.chunk / 2) {
    direction.chunk = std::min(direction.chunk * 2, largest_chunk);
  }
  if (!direction.is_bulk && direction.bytes >= bulk_after && size >= bulk_read) {
    direction.is_bulk = true;
    direction.from.set_low_water(gathered_bytes);
    direction.to.limit_not_sent(most_not_sent);
  }
}

// There is nothing more for now: the pipe is for others, and what comes next may gather. `looked`:
// `moved` is all that there was.
void Tunnel::rest(Direction& direction, std::size_t moved, bool looked) {
  if (direction.pipe) loop_.pipes().give_back(std::move(direction.pipe));
  if (!direction.is_bulk) return;
  if (!looked || moved >= least_bulk) {
    direction.vain_looks = 0;
  } else if (++direction.vain_looks > most_vain_looks || direction.ended) {
    direction.vain_looks = 0;
    direction.is_bulk = false;
    direction.from.set_low_water(1);
    return;
  }
  loop_.go_on_when_gathered(*this);
}

bool Tunnel::pass_end_on(Direction& direction) {
  if (direction.passed_on) return true;
  direction.passed_on = true;
  if (client_end_ends_ && direction.flow == Flow::to_server) {
    if (!is_complete()) owner_.half_closed(direction.flow);
    return !over_;
  }
  // The second end: both sockets close now, and that sends the FIN.
  if (other(direction).passed_on) {
    direction.to.say_goodbye(!other(direction).has_waiting());
    return true;
  }
  if (!direction.to.shutdown_write()) return broken(direction.to), false;
  owner_.half_closed(direction.flow);
  return !over_;
}

// Nothing was said by anyone, and the client has not finished: nothing is lost by another server.
bool Tunnel::server_left_unheard(TunnelEnd end) {
  if (directions_[0].bytes != 0 || directions_[1].bytes != 0 || directions_[0].ended) return false;
  if (owner_.try_elsewhere(end)) stop();
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
  stop();
  owner_.tunnel_ended(end);
}

}  // namespace weir::proxy
