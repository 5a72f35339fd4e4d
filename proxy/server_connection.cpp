#include "proxy/server_connection.hpp"

#include <span>
#include <utility>

#include "proxy/connections.hpp"

namespace weir::proxy {
namespace {

// What a server may say before it is lent.
constexpr std::size_t most_greeting = 4096;

}  // namespace

void ServerConnection::stream_ready(Stream&) {
  switch (stage_) {
    case Stage::connecting:
      if (stream_.writable()) home_->connected(*this);
      return;
    case Stage::handshake:
      home_->handshake(*this);
      return;
    case Stage::greeting:
      home_->greet(*this);
      return;
    case Stage::idle:
      home_->idle_stirred(*this);
      return;
    case Stage::resetting:
      home_->reset_answered(*this);
      return;
    case Stage::leased:
      return;  // the session takes the stream over before it returns to the loop
  }
}

void ServerConnection::expired(TimePoint now) {
  home_->deadline_reached(*this, now);
}

std::string ServerConnection::take_greeting() {
  if (!heard_) return {};
  const std::unique_ptr<std::string> greeting = std::move(heard_);
  return std::move(*greeting);
}

void ServerConnection::watch_peer() {
  if (std::exchange(peer_watched_, true)) return;
  const config::Pool& pool = rules_->config.pool;
  stream_.watch_peer(pool.keepalive, pool.user_timeout);
}

bool ServerConnection::hear(std::size_t most) {
  while (stream_.may_read()) {
    std::size_t size = 0;
    const std::span<std::byte> room = stream_.loop().plain_scratch();
    const Read result = stream_.read(room, size);
    if (result == Read::again) return true;
    if (result != Read::data) {
      has_ended_ = true;
      return false;
    }
    if (!heard_) heard_ = std::make_unique<std::string>();
    heard_->append(reinterpret_cast<const char*>(room.data()), size);
    if (heard_->size() > most) return false;
  }
  return true;
}

bool ServerConnection::is_good() {
  if (!rules_->config.pool.server_speaks_first) {
    const Read seen = stream_.look();
    has_ended_ = seen != Read::again && seen != Read::data;
    return seen == Read::again;
  }
  if (!stream_.is_open() || stream_.hung_up() || stream_.broken()) return false;
  // What has come since the last event counts too.
  stream_.expect_input();
  return hear(most_greeting);
}

}  // namespace weir::proxy
