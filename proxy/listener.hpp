#pragma once
// One listener of the configuration as one worker sees it: its sockets, accepting, its share of
// the limits, its counters. Its rules and its sockets change with a reload; its name, its number
// and its counters stay, also while it is not configured. Confined to its worker; the counters may
// be read by any thread.

#include <memory>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "proxy/counters.hpp"
#include "proxy/deadlines.hpp"
#include "proxy/event_loop.hpp"
#include "proxy/listening.hpp"
#include "proxy/rules.hpp"

namespace weir::proxy {

struct ConnectionFacts;
class Listener;
class Worker;

// One listening socket, level triggered.
class AcceptSocket final : private Watch {
 public:
  AcceptSocket(Listener& listener, ListeningSocketPointer socket)
      : listener_(listener), socket_(std::move(socket)) {}
  AcceptSocket(const AcceptSocket&) = delete;
  AcceptSocket& operator=(const AcceptSocket&) = delete;
  ~AcceptSocket() { close(); }

  bool open(EventLoop& loop, bool shared_with_workers);
  void pause();
  void resume();
  void close();
  const ListeningSocketPointer& socket() const { return socket_; }
  int descriptor() const { return socket_->descriptor(); }
  bool is_open() const { return socket_ != nullptr; }

 private:
  void on_events(std::uint32_t events) override;

  Listener& listener_;
  EventLoop* loop_ = nullptr;
  ListeningSocketPointer socket_;
  EventLoop::Slot slot_ = EventLoop::no_slot;
  bool exclusive_ = false;
};

class Listener final : private Deadline {
 public:
  Listener(Worker& worker, std::string name, std::size_t index)
      : worker_(worker), name_(std::move(name)), index_(index) {}

  // From now on, for who is accepted from now on.
  void follow(ListenerRulesPointer rules) { rules_ = std::move(rules); }
  // Unless it has it. `shared`: other workers wait on the same socket (unix). False when the kernel
  // refuses to watch it.
  bool add_socket(const ListeningSocketPointer& socket, bool shared);
  void accept_from(int descriptor);
  // Lets go of all sockets but those. `in_use` are those that any listener will go on with: of the
  // others everybody who is in the kernel's queue is taken first.
  using Sockets = std::set<ListeningSocketPointer>;
  void keep_sockets(const Sockets& kept, const Sockets& in_use);
  // Takes everybody who is in the kernel's queue, then closes the sockets.
  void stop() { keep_sockets({}, {}); }

  // Null before the first follow().
  const ListenerRulesPointer& rules() const { return rules_; }
  const std::string& name() const { return name_; }
  std::size_t index() const { return index_; }
  ListenerCounters& counters() { return counters_; }
  const ListenerCounters& counters() const { return counters_; }

  void handshake_began();
  void handshake_ended();
  void count_handshake(std::string_view result, std::string_view version, bool resumed);
  void session_ended(const ConnectionFacts& facts, std::size_t upstream);

 private:
  bool accept_one(int descriptor);
  bool admit(int descriptor);
  void empty_queue(AcceptSocket& socket);
  void out_of_descriptors(int descriptor);
  bool handshakes_full() const;
  void pause(config::Duration time);
  void expired(TimePoint now) override;

  Worker& worker_;
  std::string name_;
  std::size_t index_;
  ListenerRulesPointer rules_;
  ListenerCounters counters_;
  std::vector<std::unique_ptr<AcceptSocket>> sockets_;
  bool paused_ = false;
  bool short_of_descriptors_ = false;  // why it is paused; else too many handshakes
};

}  // namespace weir::proxy
