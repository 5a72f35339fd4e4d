#pragma once
// One worker: a thread with its event loop, and everything its sessions touch (listeners, the
// connections it holds for each upstream, deadlines, counters). Other threads reach it by post()
// and read its counters; all else is confined to its thread.

#include <boost/intrusive/list.hpp>
#include <functional>
#include <memory>
#include <random>
#include <string_view>
#include <thread>
#include <vector>

#include "config/config.hpp"
#include "proxy/access_log.hpp"
#include "proxy/connections.hpp"
#include "proxy/event_loop.hpp"
#include "proxy/growing_table.hpp"
#include "proxy/listener.hpp"
#include "proxy/session.hpp"
#include "proxy/shared.hpp"

namespace weir::proxy {

// What a worker needs of the rest of the process.
class WorkerHost {
 public:
  virtual void send_connection(pool::WorkerIndex worker, pool::Upstream& upstream,
                               std::unique_ptr<ServerConnection> connection,
                               std::shared_ptr<pool::Waiter> waiter, pool::Source source) = 0;
  // A draining worker has no session left; on its thread.
  virtual void worker_is_empty() = 0;

 protected:
  ~WorkerHost() = default;
};

class Worker {
 public:
  Worker(pool::WorkerIndex index, Shared& shared, WorkerHost& host, AccessLog& access_log);
  Worker(const Worker&) = delete;
  Worker& operator=(const Worker&) = delete;
  ~Worker();

  // On the main thread, also while it runs: what is added is used when a posted function says so.
  void add_listener(const std::string& name);
  void add_upstream(pool::Upstream& upstream);
  void start();
  // Ends the thread: every session must have ended.
  void stop();

  // On the worker's thread.
  // Of the first `listeners`.
  void stop_accepting(std::size_t listeners);
  void end_all(Reason reason);
  // At one of its endpoints; null = at any.
  void end_sessions_of(const pool::Upstream& upstream, const pool::EndpointPointer& endpoint,
                       std::string_view detail);
  bool end_one(std::uint64_t id, Reason reason);
  std::vector<ConnectionFacts> open_connections() const;

  void start_session(Listener& listener, int descriptor, SocketAddress client);
  void session_ended(Session& session, ConnectionFacts facts);
  void send_connection(pool::WorkerIndex worker, pool::Upstream& upstream,
                       std::unique_ptr<ServerConnection> connection,
                       std::shared_ptr<pool::Waiter> waiter, pool::Source source);
  // Takes the first client out of a listener's queue and closes it, by the reserve descriptor.
  void shed_one(int listening_descriptor);

  pool::WorkerIndex index() const { return index_; }
  EventLoop& loop() { return loop_; }
  const EventLoop& loop() const { return loop_; }
  Shared& shared() { return shared_; }
  // By number.
  Connections& connections(std::size_t upstream) { return *connections_[upstream]; }
  const Connections& connections(std::size_t upstream) const { return *connections_[upstream]; }
  Listener& listener(std::size_t index) { return *listeners_[index]; }
  const Listener& listener(std::size_t index) const { return *listeners_[index]; }
  std::chrono::system_clock::time_point wall_clock() const;
  double random();  // [0, 1)

 private:
  pool::WorkerIndex index_;
  Shared& shared_;
  WorkerHost& host_;
  AccessLog& access_log_;
  EventLoop loop_;
  GrowingTable<std::unique_ptr<Connections>> connections_;
  GrowingTable<std::unique_ptr<Listener>> listeners_;
  boost::intrusive::list<Session> sessions_;
  std::minstd_rand random_;
  std::uint64_t next_session_ = 0;
  int reserve_ = -1;
  bool draining_ = false;
  std::thread thread_;
};

}  // namespace weir::proxy
