#pragma once
// All timeouts of one worker, in a hierarchical timing wheel (Varghese and Lauck, 1987): setting,
// moving and dropping a deadline is O(1) and costs no system call. The wheel never reads a clock:
// its owner asks next() how long it may sleep and calls advance_to(now), so tests and production
// run the same code. Deadlines fire at or after their time, never before, at a resolution of 1 ms.
// Confined to one thread.

#include <array>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

namespace weir::proxy {

using TimePoint = std::chrono::steady_clock::time_point;
using Nanoseconds = std::chrono::nanoseconds;

class Deadlines;

// One timeout. Derive from it, or hold one as a member; dropping it cancels it. Not movable: the
// wheel links to it. Must not outlive its Deadlines while it is set.
class Deadline {
 public:
  Deadline() = default;
  Deadline(const Deadline&) = delete;
  Deadline& operator=(const Deadline&) = delete;
  virtual ~Deadline();

  // Fires once at `due`. Moving a set deadline to a later time is a plain store: it is found to be
  // early when its old time comes, and filed again then.
  void set(Deadlines& deadlines, TimePoint due);
  void clear();
  bool is_set() const { return due_ != TimePoint::max(); }
  TimePoint due() const { return due_; }

 private:
  friend class Deadlines;
  // Called with the deadline already cleared: it may be set again, or destroyed.
  virtual void expired(TimePoint now) = 0;

  Deadline* next_ = nullptr;
  Deadline** link_ = nullptr;  // what points at this one; null when not in the wheel
  Deadlines* wheel_ = nullptr;
  TimePoint due_ = TimePoint::max();
  std::uint64_t filed_tick_ = 0;  // the tick of the slot it lies in
  std::uint16_t slot_ = 0;
};

class Deadlines {
 public:
  explicit Deadlines(TimePoint now);
  Deadlines(const Deadlines&) = delete;
  Deadlines& operator=(const Deadlines&) = delete;
  ~Deadlines();

  // How long the owner may sleep: until the first slot with a deadline in it. A deadline that was
  // moved later still wakes its owner at the old time, once.
  std::optional<Nanoseconds> may_sleep(TimePoint now) const;

  // Fires every deadline that is due, in the order of their ticks.
  void advance_to(TimePoint now);

  std::size_t count() const { return count_; }

 private:
  friend class Deadline;
  static constexpr unsigned level_bits = 6;
  static constexpr unsigned level_count = 7;  // 64^7 ms: 139 years
  static constexpr unsigned slots_per_level = 1U << level_bits;

  void file(Deadline& deadline, std::uint64_t tick);
  void unlink(Deadline& deadline);
  std::uint64_t tick_of(TimePoint due) const;
  std::optional<std::uint64_t> next_tick() const;
  void run_tick(TimePoint now);
  void fire(Deadline& deadline, TimePoint now);

  TimePoint origin_;
  std::uint64_t tick_ = 0;  // everything due at or before this tick has fired
  std::size_t count_ = 0;
  std::array<std::uint64_t, level_count> occupied_{};  // a bit for each slot that is not empty
  std::array<Deadline*, level_count * slots_per_level> slots_{};
};

}  // namespace weir::proxy
