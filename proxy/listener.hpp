#pragma once
// One listener of the configuration as one worker sees it: its sockets, accepting, its share of
// the limits, its counters. Confined to its worker; the counters may be read by any thread.

#include <memory>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "proxy/counters.hpp"
#include "proxy/deadlines.hpp"
#include "proxy/event_loop.hpp"
#include "proxy/route.hpp"
#include "proxy/tls.hpp"

namespace weir::proxy {

struct ConnectionFacts;
class Listener;
class Worker;

// One listening socket, level triggered.
class AcceptSocket final : private Watch {
 public:
  AcceptSocket(Listener& listener, int descriptor) : listener_(listener), descriptor_(descriptor) {}
  AcceptSocket(const AcceptSocket&) = delete;
  AcceptSocket& operator=(const AcceptSocket&) = delete;
  ~AcceptSocket() { close(); }

  bool open(EventLoop& loop, bool shared_with_workers);
  void pause();
  void resume();
  void close();
  int descriptor() const { return descriptor_; }
  bool is_open() const { return descriptor_ >= 0; }

 private:
  void on_events(std::uint32_t events) override;

  Listener& listener_;
  EventLoop* loop_ = nullptr;
  int descriptor_;
  EventLoop::Slot slot_ = EventLoop::no_slot;
  bool exclusive_ = false;
};

class Listener final : private Deadline {
 public:
  Listener(Worker& worker, const config::Listener& config, std::size_t index, const TlsServer* tls,
           config::Duration handshake_timeout, std::size_t upstream_count,
           const RouteTable& routes);

  // Takes the socket over. `shared`: other workers wait on the same socket (unix).
  bool add_socket(int descriptor, bool shared);
  void accept_from(int descriptor);
  // Takes everybody who is in the kernel's queue, then closes the sockets.
  void stop();

  // May whoever connects from this address say who its client is?
  bool trusts(const SocketAddress& address) const;
  const config::Listener& config() const { return config_; }
  std::size_t index() const { return index_; }
  const TlsServer* tls() const { return tls_; }
  config::Duration handshake_timeout() const { return handshake_timeout_; }
  const RouteTable& routes() const { return routes_; }
  ListenerCounters& counters() { return counters_; }
  const ListenerCounters& counters() const { return counters_; }

  void handshake_began();
  void handshake_ended();
  void count_handshake(std::string_view result, std::string_view version, bool resumed);
  void session_ended(const ConnectionFacts& facts, std::size_t upstream);

 private:
  bool accept_one(int descriptor);
  bool admit(int descriptor);
  void out_of_descriptors(int descriptor);
  bool handshakes_full() const;
  void pause(config::Duration time);
  void expired(TimePoint now) override;

  Worker& worker_;
  const config::Listener& config_;
  std::size_t index_;
  const TlsServer* tls_;
  config::Duration handshake_timeout_;
  const RouteTable& routes_;
  ListenerCounters counters_;
  std::vector<std::unique_ptr<AcceptSocket>> sockets_;
  bool paused_ = false;
  bool short_of_descriptors_ = false;  // why it is paused; else too many handshakes
};

}  // namespace weir::proxy
