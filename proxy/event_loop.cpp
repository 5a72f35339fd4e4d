#include "proxy/event_loop.hpp"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <system_error>

#include "pool/assert.hpp"

namespace weir::proxy {
namespace {

constexpr int events_per_turn = 256;

// How long bulk gathers: what comes piece by piece costs a wake-up for each. Long enough to save a
// fifth of the CPU per MiB (tests/bench/README.md), short beside what a MiB takes on a network.
constexpr Nanoseconds gathering_time = std::chrono::microseconds(500);

// The eventfd's tag: no slot has it, since generations count from 0 and slots below 2^32 - 1.
constexpr std::uint64_t wakeup_tag = ~std::uint64_t{0};

}  // namespace

thread_local const EventLoop* EventLoop::current_ = nullptr;

EventLoop::EventLoop()
    : now_(std::chrono::steady_clock::now()),
      deadlines_(now_),
      plain_scratch_(std::make_unique_for_overwrite<std::byte[]>(scratch_size)),
      cipher_scratch_(std::make_unique_for_overwrite<std::byte[]>(cipher_scratch_size)),
      turn_lengths_(metrics::Buckets::durations),
      work_(io_.get_executor()),
      tasks_(io_) {
  epoll_ = ::epoll_create1(EPOLL_CLOEXEC);
  if (epoll_ < 0) throw std::system_error(errno, std::system_category(), "epoll_create1");
  wakeup_ = ::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  epoll_event event{.events = EPOLLIN | EPOLLET, .data = {.u64 = wakeup_tag}};
  if (wakeup_ < 0 || ::epoll_ctl(epoll_, EPOLL_CTL_ADD, wakeup_, &event) != 0) {
    const int error = errno;
    if (wakeup_ >= 0) ::close(wakeup_);
    ::close(epoll_);
    throw std::system_error(error, std::system_category(), "eventfd");
  }
}

EventLoop::~EventLoop() {
  ::close(wakeup_);
  ::close(epoll_);
}

void EventLoop::run() {
  current_ = this;
  while (!stopping_.load(std::memory_order_acquire)) turn();
  current_ = nullptr;
}

void EventLoop::stop() {
  stopping_.store(true, std::memory_order_release);
  if (current_ != this) wake();
}

void EventLoop::wake() {
  // One write wakes the loop for all that was posted before it looks.
  if (wake_pending_.exchange(true)) return;
  const std::uint64_t one = 1;
  [[maybe_unused]] const auto written = ::write(wakeup_, &one, sizeof one);
}

bool EventLoop::add(int descriptor, std::uint32_t events, Watch& watch, Slot& slot) {
  if (free_slots_.empty()) {
    free_slots_.push_back(static_cast<Slot>(slots_.size()));
    slots_.emplace_back();
  }
  const Slot candidate = free_slots_.back();
  Entry& entry = slots_[candidate];
  const std::uint64_t tag = (std::uint64_t{entry.generation} << 32) | candidate;
  epoll_event event{.events = events, .data = {.u64 = tag}};
  if (::epoll_ctl(epoll_, EPOLL_CTL_ADD, descriptor, &event) != 0) return false;
  free_slots_.pop_back();
  entry.watch = &watch;
  slot = candidate;
  return true;
}

bool EventLoop::change(int descriptor, std::uint32_t events, Slot slot) {
  const std::uint64_t tag = (std::uint64_t{slots_[slot].generation} << 32) | slot;
  epoll_event event{.events = events, .data = {.u64 = tag}};
  return ::epoll_ctl(epoll_, EPOLL_CTL_MOD, descriptor, &event) == 0;
}

void EventLoop::forget(Slot slot) {
  Entry& entry = slots_[slot];
  WEIR_ASSERT(entry.watch != nullptr, "a slot is forgotten once");
  entry.watch = nullptr;
  ++entry.generation;
  free_slots_.push_back(slot);
}

void EventLoop::remove(int descriptor, Slot slot) {
  ::epoll_ctl(epoll_, EPOLL_CTL_DEL, descriptor, nullptr);
  forget(slot);
}

void EventLoop::go_on_later(Unfinished& unfinished) {
  unfinished.unlink();
  unfinished_.push_back(unfinished);
}

void EventLoop::go_on_when_gathered(Unfinished& unfinished) {
  if (unfinished.is_linked()) return;
  if (gathering_.empty()) gathered_at_ = now_ + gathering_time;
  gathering_.push_back(unfinished);
}

void EventLoop::dispose(std::unique_ptr<Disposable> disposable) {
  disposables_.push_back(std::move(disposable));
}

void EventLoop::turn() {
  io_.poll();
  disposables_.clear();
  std::array<epoll_event, events_per_turn> ready;
  turn_lengths_.observe(std::chrono::steady_clock::now() - now_);
  const int count = wait(ready);
  refresh_now();
  for (int i = 0; i < count; ++i) {
    const epoll_event& event = ready[static_cast<std::size_t>(i)];
    dispatch(event.data.u64, event.events);
  }
  deadlines_.advance_to(now_);
  run(unfinished_);
  if (now_ >= gathered_at_) run(gathering_);
  disposables_.clear();
}

// What is added meanwhile is for the next turn.
void EventLoop::run(UnfinishedList& list) {
  UnfinishedList due;
  due.swap(list);
  while (!due.empty()) {
    Unfinished& first = due.front();
    due.pop_front();
    first.go_on();
  }
}

int EventLoop::wait(std::span<epoll_event> ready) {
  const int most = static_cast<int>(ready.size());
  if (gathering_.empty() || !unfinished_.empty()) {
    return ::epoll_wait(epoll_, ready.data(), most, timeout());
  }
  // Sooner than any deadline is precise.
  const Nanoseconds left = gathered_at_ - std::chrono::steady_clock::now();
  const timespec sleep{.tv_sec = 0, .tv_nsec = std::max<long>(left.count(), 0)};
  const int count = ::epoll_pwait2(epoll_, ready.data(), most, &sleep, nullptr);
  if (count >= 0 || errno != ENOSYS) return count;
  return ::epoll_wait(epoll_, ready.data(), most, 1);  // Linux before 5.11
}

// Rounded up to whole milliseconds, so that the loop does not spin through the last one.
int EventLoop::timeout() const {
  if (!unfinished_.empty()) return 0;
  const auto sleep = deadlines_.may_sleep(std::chrono::steady_clock::now());
  if (!sleep) return -1;
  constexpr Nanoseconds longest = std::chrono::minutes(1);
  const Nanoseconds bounded = std::min(*sleep, longest);
  return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(bounded).count());
}

void EventLoop::dispatch(std::uint64_t tag, std::uint32_t events) {
  if (tag == wakeup_tag) {
    // Edge triggered: each write is an event of its own, so the eventfd is never read.
    wake_pending_.store(false);
    return;
  }
  const auto slot = static_cast<Slot>(tag);
  const Entry& entry = slots_[slot];
  if (entry.watch == nullptr || entry.generation != static_cast<std::uint32_t>(tag >> 32)) return;
  entry.watch->on_events(events);
}

}  // namespace weir::proxy
