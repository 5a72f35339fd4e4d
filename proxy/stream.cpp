#include "proxy/stream.hpp"

#include <fcntl.h>
#include <linux/sockios.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>

#include "pool/assert.hpp"
#include "proxy/pipe.hpp"
#include "proxy/tls_channel.hpp"

namespace weir::proxy {
namespace {

constexpr std::uint32_t read_events = EPOLLIN | EPOLLPRI | EPOLLRDHUP | EPOLLET;
constexpr std::uint32_t all_events = read_events | EPOLLOUT;

constexpr std::size_t most_discarded = 1024 * 1024;

}  // namespace

Stream::Stream() = default;
Stream::Stream(Stream&& other) noexcept {
  *this = std::move(other);
}

Stream& Stream::operator=(Stream&& other) noexcept {
  if (this == &other) return *this;
  close();
  loop_ = other.loop_;
  owner_ = other.owner_;
  tls_ = std::move(other.tls_);
  unsent_ = std::move(other.unsent_);
  unsent_begin_ = std::exchange(other.unsent_begin_, 0);
  descriptor_ = std::exchange(other.descriptor_, -1);
  slot_ = std::exchange(other.slot_, EventLoop::no_slot);
  error_ = other.error_;
  readable_ = other.readable_;
  writable_ = other.writable_;
  has_input_ = other.has_input_;
  hung_up_ = other.hung_up_;
  broken_ = other.broken_;
  behind_data_ = other.behind_data_;
  short_is_all_ = other.short_is_all_;
  saw_urgent_ = other.saw_urgent_;
  watches_writes_ = other.watches_writes_;
  sent_before_ = other.sent_before_;
  no_delay_ = other.no_delay_;
  fin_waits_ = other.fin_waits_;
  if (slot_ != EventLoop::no_slot) loop_->move_watch(slot_, *this);
  if (tls_) tls_->moved_to(*this);
  return *this;
}

Stream::~Stream() {
  close();
}

bool Stream::open(EventLoop& loop, int descriptor, Transport transport, StreamOwner& owner,
                  bool connecting) {
  WEIR_ASSERT(!is_open(), "a stream is opened once");
  // On a unix socket a read also ends where a descriptor was sent along.
  short_is_all_ = transport == Transport::tcp;
  loop_ = &loop;
  owner_ = &owner;
  descriptor_ = descriptor;
  writable_ = !connecting;
  watches_writes_ = connecting;
  no_delay_ = !connecting;  // an accepted socket has it from its listener
  if (!loop.add(descriptor, connecting ? all_events : read_events, *this, slot_)) {
    error_ = errno;
    release();
    return false;
  }
  return true;
}

void Stream::detach() {
  loop_->remove(descriptor_, slot_);
  slot_ = EventLoop::no_slot;
  loop_ = nullptr;
  owner_ = nullptr;
}

bool Stream::attach(EventLoop& loop, StreamOwner& owner) {
  loop_ = &loop;
  owner_ = &owner;
  if (!loop.add(descriptor_, watches_writes_ ? all_events : read_events, *this, slot_)) {
    error_ = errno;
    release();
    return false;
  }
  return true;
}

void Stream::start_tls(ssl_st* ssl) {
  tls_ = std::make_unique<TlsChannel>(ssl, *this);
}

ssl_st* Stream::ssl() const {
  return tls_ ? tls_->ssl() : nullptr;
}

Stream::Handshake Stream::handshake() {
  return tls_->handshake();
}

void Stream::leave_ssl() {
  tls_->leave_ssl();
}

void Stream::set_low_water(int bytes) {
  ::setsockopt(descriptor_, SOL_SOCKET, SO_RCVLOWAT, &bytes, sizeof bytes);
}

void Stream::limit_not_sent(int bytes) {
  ::setsockopt(descriptor_, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes);
}

void Stream::watch_peer(const config::Keepalive& keepalive, config::Duration user_timeout) {
  const auto set = [this](int level, int option, std::int64_t value) {
    const int number = static_cast<int>(value);
    ::setsockopt(descriptor_, level, option, &number, sizeof number);
  };
  using std::chrono::ceil;
  using std::chrono::seconds;
  set(SOL_SOCKET, SO_KEEPALIVE, 1);
  set(IPPROTO_TCP, TCP_KEEPIDLE, ceil<seconds>(keepalive.idle).count());
  set(IPPROTO_TCP, TCP_KEEPINTVL, ceil<seconds>(keepalive.interval).count());
  set(IPPROTO_TCP, TCP_KEEPCNT, keepalive.count);
  if (user_timeout.count() > 0) set(IPPROTO_TCP, TCP_USER_TIMEOUT, user_timeout.count());
}

Read Stream::peek(std::span<std::byte> to, std::size_t& size) {
  size = 0;
  for (;;) {
    const ssize_t count = ::recv(descriptor_, to.data(), to.size(), MSG_PEEK);
    if (count > 0) {
      size = static_cast<std::size_t>(count);
      return Read::data;
    }
    if (count == 0) return Read::end;
    if (errno != EINTR) return read_failed();
  }
}

void Stream::skip(std::size_t size) {
  std::array<std::byte, 4096> taken;
  while (size > 0) {
    const ssize_t count = ::recv(descriptor_, taken.data(), std::min(size, taken.size()), 0);
    if (count < 0 && errno == EINTR) continue;
    if (count <= 0) return;  // peek() has seen them: only an error can be between
    size -= static_cast<std::size_t>(count);
  }
}

Read Stream::read(std::span<std::byte> to, std::size_t& size) {
  return tls_ ? tls_->read(to, size) : receive(to, size);
}

bool Stream::write(std::span<const std::byte> bytes, bool more) {
  return tls_ ? tls_->write(bytes, more) : send_or_keep(bytes, more);
}

bool Stream::flush() {
  while (has_unsent() && writable_) {
    std::size_t sent = 0;
    if (!send_now(std::span(unsent_).subspan(unsent_begin_), sent)) return false;
    unsent_begin_ += sent;
  }
  if (!has_unsent() && unsent_.capacity() != 0) {
    std::vector<std::byte>().swap(unsent_);
    unsent_begin_ = 0;
  }
  return has_unsent() || !fin_waits_ || send_fin();
}

bool Stream::shutdown_write() {
  if (tls_ && !tls_->close_notify(true)) return false;
  fin_waits_ = true;
  return has_unsent() || send_fin();
}

bool Stream::send_fin() {
  fin_waits_ = false;
  if (::shutdown(descriptor_, SHUT_WR) == 0) return true;
  error_ = errno;
  return false;
}

void Stream::say_goodbye(bool more) {
  if (tls_ && is_open() && !broken_) tls_->close_notify(more);
}

void Stream::close() {
  if (is_open()) release();
}

void Stream::hang_up() {
  if (!is_open()) return;
  say_goodbye();
  const std::span<std::byte> room = loop_->plain_scratch();
  for (std::size_t discarded = 0; discarded < most_discarded; discarded += room.size()) {
    // MSG_TRUNC: thrown away, not copied.
    const ssize_t count = ::recv(descriptor_, room.data(), room.size(), MSG_TRUNC | MSG_DONTWAIT);
    if (count < static_cast<ssize_t>(room.size())) break;
  }
  close();
}

void Stream::abort() {
  if (!is_open()) return;
  const linger at_once{.l_onoff = 1, .l_linger = 0};
  ::setsockopt(descriptor_, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
  release();
}

bool Stream::is_acknowledged() const {
  int bytes = 0;
  return ::ioctl(descriptor_, SIOCOUTQ, &bytes) == 0 && bytes == 0;
}

Read Stream::look() {
  if (!is_open() || broken_ || hung_up_) return Read::end;
  std::size_t size = 0;
  readable_ = true;
  if (tls_) return tls_->read(loop_->plain_scratch(), size);
  char byte = 0;
  const ssize_t count = ::recv(descriptor_, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
  if (count > 0) return Read::data;
  if (count == 0) return Read::end;
  return errno == EAGAIN || errno == EWOULDBLOCK ? Read::again : Read::reset;
}

void Stream::on_events(std::uint32_t events) {
  if (events & (EPOLLIN | EPOLLRDHUP | EPOLLHUP | EPOLLERR)) readable_ = true;
  if (events & (EPOLLOUT | EPOLLHUP | EPOLLERR)) writable_ = true;
  if (events & (EPOLLRDHUP | EPOLLHUP | EPOLLERR)) hung_up_ = true;
  // At urgent data a read stops, whatever lies behind it.
  if (events & EPOLLPRI) {
    saw_urgent_ = true;
    short_is_all_ = false;
  }
  if (events & EPOLLERR) broken_ = true;
  owner_->stream_ready(*this);
}

Read Stream::receive(std::span<std::byte> to, std::size_t& size) {
  size = 0;
  if (behind_data_ != Read::again) return std::exchange(behind_data_, Read::again);
  for (;;) {
    const ssize_t count = ::recv(descriptor_, to.data(), to.size(), 0);
    if (count > 0) {
      size = static_cast<std::size_t>(count);
      // A short read has emptied the socket; what comes later is a new edge. Only an end that was
      // announced already has no edge of its own left: it is all that can follow.
      const bool is_all = short_is_all_ && size < to.size();
      if (is_all && hung_up_ && !broken_) behind_data_ = Read::end;
      readable_ = !is_all || hung_up_;
      return Read::data;
    }
    if (count == 0) return Read::end;
    if (errno != EINTR) return read_failed();
  }
}

// What errno means after a read that brought nothing.
Read Stream::read_failed() {
  if (errno == EAGAIN || errno == EWOULDBLOCK) {
    readable_ = false;
    return Read::again;
  }
  error_ = errno;
  return error_ == ECONNRESET || error_ == EPIPE ? Read::reset : Read::failed;
}

Read Stream::splice_to(Pipe& pipe, std::size_t most, std::size_t& size) {
  WEIR_ASSERT(may_splice() && pipe.empty(), "plain bytes go into an empty pipe");
  size = 0;
  if (behind_data_ != Read::again) return std::exchange(behind_data_, Read::again);
  for (;;) {
    const ssize_t count = ::splice(descriptor_, nullptr, pipe.write_end(), nullptr,
                                   most - pipe.size(), SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (count > 0) {
      size += static_cast<std::size_t>(count);
      pipe.filled(static_cast<std::size_t>(count));
      // As much as there is, so that it leaves with one call.
      if (pipe.size() < most / 2) continue;
      return Read::data;
    }
    if (count < 0 && errno == EINTR) continue;
    // At an urgent mark a splice brings nothing, as at the end.
    char byte = 0;
    if (count == 0 && ::recv(descriptor_, &byte, 1, MSG_PEEK | MSG_DONTWAIT) > 0) {
      saw_urgent_ = true;
      short_is_all_ = false;
      return size == 0 ? Read::again : Read::data;
    }
    if (size == 0) return count == 0 ? Read::end : read_failed();
    // Pages and not bytes fill a pipe: that there is no more only an empty one can say.
    if (count < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) return Read::data;
    behind_data_ = count == 0 ? Read::end : read_failed();
    return Read::data;
  }
}

bool Stream::splice_from(Pipe& pipe) {
  while (!pipe.empty() && writable_) {
    const ssize_t count = ::splice(pipe.read_end(), nullptr, descriptor_, nullptr, pipe.size(),
                                   SPLICE_F_MOVE | SPLICE_F_NONBLOCK);
    if (count > 0) {
      pipe.drained(static_cast<std::size_t>(count));
    } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
      return want_write_events();
    } else if (errno != EINTR) {
      error_ = errno;
      return false;
    }
  }
  return true;
}

bool Stream::send_now(std::span<const std::byte> bytes, std::size_t& sent, bool more) {
  sent = 0;
  const int flags = more ? MSG_NOSIGNAL | MSG_MORE : MSG_NOSIGNAL;
  // A fresh socket sends its first segment at once; from the second on, Nagle would wait for the
  // peer's acknowledgement. So a connection that sends once saves this call.
  if (!sent_before_) {
    sent_before_ = true;
  } else if (!no_delay_) {
    no_delay_ = true;
    const int on = 1;
    ::setsockopt(descriptor_, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  }
  for (;;) {
    const ssize_t count = ::send(descriptor_, bytes.data(), bytes.size(), flags);
    if (count >= 0) {
      sent = static_cast<std::size_t>(count);
      if (sent < bytes.size()) return want_write_events();
      return true;
    }
    if (errno == EINTR) continue;
    if (errno == EAGAIN || errno == EWOULDBLOCK) return want_write_events();
    error_ = errno;
    return false;
  }
}

bool Stream::send_or_keep(std::span<const std::byte> bytes, bool more) {
  std::size_t sent = 0;
  if (!has_unsent() && writable_ && !bytes.empty()) {
    if (!send_now(bytes, sent, more)) return false;
  }
  if (sent < bytes.size()) {
    unsent_.insert(unsent_.end(), bytes.begin() + static_cast<std::ptrdiff_t>(sent), bytes.end());
  }
  return true;
}

// The socket is full. Most connections never are, so writes are watched from the first time on.
bool Stream::want_write_events() {
  writable_ = false;
  if (watches_writes_) return true;
  watches_writes_ = true;
  if (loop_->change(descriptor_, all_events, slot_)) return true;
  error_ = errno;
  return false;
}

void Stream::release() {
  tls_.reset();
  std::vector<std::byte>().swap(unsent_);
  unsent_begin_ = 0;
  if (slot_ != EventLoop::no_slot) loop_->forget(std::exchange(slot_, EventLoop::no_slot));
  ::close(std::exchange(descriptor_, -1));
}

}  // namespace weir::proxy
