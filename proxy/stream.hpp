#pragma once
// One end of a tunnel: a connected socket, with TLS on it or not. It never blocks and never waits:
// read() takes what is there, write() sends what goes and keeps the rest (at most what one call
// brought), and its owner is told when the socket is ready again. Registered with the loop once,
// edge triggered; so it remembers whether it may still be readable, and a read that came back short
// is not repeated until the kernel says so.
//
// Movable, also while registered; confined to one worker, but attach() and detach() carry an idle
// stream from one worker to another.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "proxy/event_loop.hpp"

struct ssl_st;

namespace weir::proxy {

class Pipe;
class Stream;
class TlsChannel;

class StreamOwner {
 public:
  virtual void stream_ready(Stream& stream) = 0;

 protected:
  ~StreamOwner() = default;
};

// What a read brought, or why it brought nothing.
enum class Read : std::uint8_t { data, again, end, reset, failed };

class Stream final : private Watch {
 public:
  Stream();
  Stream(Stream&& other) noexcept;
  Stream& operator=(Stream&& other) noexcept;
  ~Stream();

  enum class Transport : std::uint8_t { tcp, unix_socket };
  // Takes over a non-blocking socket. False when the loop cannot watch it; then it is closed.
  // `connecting`: it becomes writable once connected.
  bool open(EventLoop& loop, int descriptor, Transport transport, StreamOwner& owner,
            bool connecting);
  bool is_open() const { return descriptor_ >= 0; }
  int descriptor() const { return descriptor_; }
  EventLoop& loop() const { return *loop_; }
  void change_owner(StreamOwner& owner) { owner_ = &owner; }

  // Carries the stream between workers: detached it is a plain value that any thread may move.
  void detach();
  bool attach(EventLoop& loop, StreamOwner& owner);

  // TLS from here on; call handshake() until it is done. Takes the SSL over.
  void start_tls(ssl_st* ssl);
  bool is_tls() const { return tls_ != nullptr; }
  ssl_st* ssl() const;
  enum class Handshake : std::uint8_t { done, wait, failed };
  Handshake handshake();
  // After the handshake, when nobody asks the SSL any more: it is freed where the connection can
  // go on without it, and ssl() is null from then on.
  void leave_ssl();

  // From how many bytes on the kernel says that there is input (SO_RCVLOWAT); of an end always.
  void set_low_water(int bytes);
  void expect_input() { readable_ = true; }
  // How many bytes the kernel takes before it has sent what it took (TCP_NOTSENT_LOWAT).
  void limit_not_sent(int bytes);
  // TCP keep-alive and TCP_USER_TIMEOUT (0 = the kernel's own). On a unix socket they do
  // nothing.
  void watch_peer(const config::Keepalive& keepalive, config::Duration user_timeout);

  // Plain bytes that lie before TLS or the payload: looks at them, then takes as many as belong to
  // what comes first. peek() is as read(), but what it shows is still there.
  Read peek(std::span<std::byte> to, std::size_t& size);
  void skip(std::size_t size);

  // May there be something to read? (Or an end, or an error.)
  bool may_read() const { return readable_ || has_input_; }
  // Is it known already that the next read brings the end and nothing else?
  bool end_is_next() const { return behind_data_ == Read::end && !is_tls(); }
  // Reads at most `size` bytes (application data) to `to`.
  Read read(std::span<std::byte> to, std::size_t& size);

  // The same without a copy, through a pipe: plain streams only, and only as long as there is no
  // urgent data. The pipe is empty before splice_to(), which takes at most `most` bytes (up to
  // Pipe::capacity), and holds what the socket has not taken
  // after splice_from() (false: broken).
  bool may_splice() const { return !tls_ && !saw_urgent_; }
  Read splice_to(Pipe& pipe, std::size_t most, std::size_t& size);
  bool splice_from(Pipe& pipe);

  // Sends; what the socket does not take is kept. False: the connection is broken (last_error()).
  // `more`: shutdown_write() or close() follows within this turn, so the bytes travel with it.
  bool write(std::span<const std::byte> bytes, bool more = false);
  bool has_unsent() const { return unsent_begin_ < unsent_.size(); }
  std::size_t unsent_size() const { return unsent_.size() - unsent_begin_; }
  // Sends what was kept; false: broken. has_unsent() tells whether all went.
  bool flush();
  bool writable() const { return writable_; }

  // Ends our direction: close_notify on TLS, then FIN, once everything was sent. False: broken.
  bool shutdown_write();
  // TLS only: close_notify without FIN. `more`: close() follows within this turn and sends that.
  void say_goodbye(bool more = true);

  void close();  // an orderly end: the kernel still delivers what was sent
  // Says goodbye and closes although the peer may still be talking. Its bytes are thrown away
  // first, because the kernel answers unread ones with a reset, which could overtake our last
  // words.
  void hang_up();
  void abort();  // RST: the other side learns that the stream is incomplete

  // Has the peer's kernel acknowledged all that was sent?
  bool is_acknowledged() const;

  // One look at an idle stream: again = the peer is there and has not spoken, data = it has, else
  // it has left. Takes nothing; but on TLS, records without data (tickets, key updates) are taken
  // and are fine, and what data there was is gone.
  Read look();
  bool is_quiet() { return look() == Read::again; }
  bool hung_up() const { return hung_up_; }
  bool broken() const { return broken_; }
  int last_error() const { return error_; }

 private:
  friend class TlsChannel;

  void on_events(std::uint32_t events) override;
  Read receive(std::span<std::byte> to, std::size_t& size);
  Read read_failed();
  bool send_now(std::span<const std::byte> bytes, std::size_t& sent, bool more = false);
  bool send_or_keep(std::span<const std::byte> bytes, bool more);
  bool want_write_events();
  bool send_fin();
  void release();

  EventLoop* loop_ = nullptr;
  StreamOwner* owner_ = nullptr;
  std::unique_ptr<TlsChannel> tls_;
  std::vector<std::byte> unsent_;
  std::size_t unsent_begin_ = 0;
  int descriptor_ = -1;
  EventLoop::Slot slot_ = EventLoop::no_slot;
  int error_ = 0;
  bool readable_ = false;           // the kernel may have input
  bool writable_ = true;            // the kernel may have room
  bool has_input_ = false;          // bytes already taken from the kernel wait in the TLS channel
  bool hung_up_ = false;            // EPOLLRDHUP, EPOLLHUP or EPOLLERR was seen
  bool broken_ = false;             // EPOLLERR was seen: an error waits to be read
  Read behind_data_ = Read::again;  // an end that a read has met behind the bytes it brought
  bool short_is_all_ = false;       // a read that brings less than it could has emptied the socket
  bool saw_urgent_ = false;         // there is or was a mark that a splice does not pass
  bool watches_writes_ = false;
  bool sent_before_ = false;
  bool no_delay_ = false;
  bool fin_waits_ = false;  // shutdown_write() was asked for, unsent bytes go first
};

}  // namespace weir::proxy
