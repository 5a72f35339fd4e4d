#pragma once
// The loop of one worker: Asio's io_context runs the coroutines and what is posted, and a thin
// layer of our own waits for descriptors, because Asio's async_wait costs an epoll_ctl for each
// wait and its timers a timerfd_settime for each change. A descriptor is registered once, edge
// triggered, and stays registered until it is closed. One turn of the loop: run what is ready on
// the io_context, then one epoll_wait, then the descriptors that are ready, then the deadlines.
//
// All but post() and stop() is confined to the thread that calls run().

#include <sys/epoll.h>

#include <atomic>
#include <boost/asio/executor_work_guard.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/asio/post.hpp>
#include <boost/intrusive/list.hpp>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <vector>

#include "metrics/histogram.hpp"
#include "proxy/deadlines.hpp"
#include "proxy/pipe.hpp"
#include "proxy/task_group.hpp"

namespace weir::proxy {

// Told when its descriptor is ready. Level: `events` are epoll's flags.
class Watch {
 public:
  virtual void on_events(std::uint32_t events) = 0;

 protected:
  ~Watch() = default;
};

// Something with more to do than was fair in one turn: it goes on in the next turn, before the
// loop sleeps.
class Unfinished : public boost::intrusive::list_base_hook<
                       boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
 public:
  virtual void go_on() = 0;

 protected:
  ~Unfinished() = default;
};

// Something whose end has come while its own functions may still be on the stack.
class Disposable {
 public:
  virtual ~Disposable() = default;
};

class EventLoop {
 public:
  // Throws std::system_error when the kernel refuses an epoll instance or an eventfd.
  EventLoop();
  EventLoop(const EventLoop&) = delete;
  EventLoop& operator=(const EventLoop&) = delete;
  ~EventLoop();

  void run();
  void stop();  // from any thread: run() returns after its turn
  // One turn of run(), for a test that drives the loop by hand: it sleeps until something happens.
  void turn();

  // From any thread: `work` runs on this loop's thread.
  template <class Work>
  void post(Work&& work) {
    asio::post(io_, std::forward<Work>(work));
    if (current_ != this) wake();
  }

  // Registers a descriptor; `slot` names it from then on. False when the kernel refuses (errno).
  using Slot = std::uint32_t;
  static constexpr Slot no_slot = ~Slot{0};
  bool add(int descriptor, std::uint32_t events, Watch& watch, Slot& slot);
  bool change(int descriptor, std::uint32_t events, Slot slot);
  // Forgets the slot; events of this turn that are still to come for it are dropped. The caller
  // closes the descriptor (which takes it out of epoll), or passes it to take it out at once.
  void forget(Slot slot);
  void remove(int descriptor, Slot slot);
  void move_watch(Slot slot, Watch& watch) { slots_[slot].watch = &watch; }

  void go_on_later(Unfinished& unfinished);
  // Lets bytes gather for a moment first: for bulk, where each look costs more than what it finds.
  void go_on_when_gathered(Unfinished& unfinished);
  // Destroys it before this turn is over, from an empty stack.
  void dispose(std::unique_ptr<Disposable> disposable);

  // The time at which this turn began: good enough for everything but measuring a turn.
  TimePoint now() const { return now_; }
  void refresh_now() { now_ = std::chrono::steady_clock::now(); }
  Deadlines& deadlines() { return deadlines_; }
  TaskGroup& tasks() { return tasks_; }
  asio::io_context& io() { return io_; }

  // Buffers of this turn: whoever uses one is done with it before it returns to the loop.
  static constexpr std::size_t scratch_size = 256 * 1024;
  std::span<std::byte> plain_scratch() { return {plain_scratch_.get(), scratch_size}; }
  // With room for what TLS adds to a whole plain one.
  static constexpr std::size_t cipher_scratch_size = scratch_size + 8 * 1024;
  std::span<std::byte> cipher_scratch() { return {cipher_scratch_.get(), cipher_scratch_size}; }
  std::vector<std::byte>& outgoing() { return outgoing_; }
  PipePool& pipes() { return pipes_; }

  const metrics::Histogram& turn_lengths() const { return turn_lengths_; }

 private:
  struct Entry {
    Watch* watch = nullptr;
    std::uint32_t generation = 0;
  };
  using UnfinishedList =
      boost::intrusive::list<Unfinished, boost::intrusive::constant_time_size<false>>;

  // The loop that runs on this thread: what it posts to itself it finds without being woken.
  static thread_local const EventLoop* current_;

  void wake();
  void run(UnfinishedList& list);
  int wait(std::span<epoll_event> ready);
  int timeout() const;
  void dispatch(std::uint64_t tag, std::uint32_t events);

  int epoll_ = -1;
  int wakeup_ = -1;
  std::atomic<bool> wake_pending_{false};
  std::atomic<bool> stopping_{false};
  TimePoint now_;
  Deadlines deadlines_;
  std::vector<Entry> slots_;
  std::vector<Slot> free_slots_;
  UnfinishedList unfinished_;
  UnfinishedList gathering_;
  TimePoint gathered_at_;  // when those go on
  PipePool pipes_;
  std::vector<std::unique_ptr<Disposable>> disposables_;
  std::unique_ptr<std::byte[]> plain_scratch_;
  std::unique_ptr<std::byte[]> cipher_scratch_;
  std::vector<std::byte> outgoing_;
  metrics::Histogram turn_lengths_;
  // Last, so destroyed first: coroutines that never ended still hold deadlines and descriptors.
  asio::io_context io_{1};
  asio::executor_work_guard<asio::io_context::executor_type> work_;
  TaskGroup tasks_;
};

}  // namespace weir::proxy
