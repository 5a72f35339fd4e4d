#include "proxy/deadlines.hpp"

#include <algorithm>
#include <bit>

#include "pool/assert.hpp"

namespace weir::proxy {
namespace {

constexpr Nanoseconds tick_length = std::chrono::milliseconds(1);

}  // namespace

Deadline::~Deadline() {
  clear();
}

void Deadline::set(Deadlines& deadlines, TimePoint due) {
  if (link_ != nullptr && wheel_ == &deadlines && due >= due_) {
    due_ = due;
    return;
  }
  clear();
  wheel_ = &deadlines;
  due_ = due;
  deadlines.file(*this, deadlines.tick_of(due));
}

void Deadline::clear() {
  if (link_ != nullptr) wheel_->unlink(*this);
  due_ = TimePoint::max();
}

Deadlines::Deadlines(TimePoint now) : origin_(now) {}

Deadlines::~Deadlines() {
  for (Deadline* first : slots_) {
    WEIR_ASSERT(first == nullptr, "a deadline outlived its worker's wheel");
  }
}

std::optional<Nanoseconds> Deadlines::may_sleep(TimePoint now) const {
  const std::optional<std::uint64_t> tick = next_tick();
  if (!tick) return std::nullopt;
  const TimePoint wake = origin_ + static_cast<std::int64_t>(*tick) * tick_length;
  return std::max(Nanoseconds(0), wake - now);
}

void Deadlines::advance_to(TimePoint now) {
  if (now <= origin_) return;
  const auto target = static_cast<std::uint64_t>((now - origin_) / tick_length);
  while (tick_ < target) {
    const std::optional<std::uint64_t> next = next_tick();
    if (!next || *next > target) {
      tick_ = target;
      return;
    }
    tick_ = *next;
    run_tick(now);
  }
}

// A deadline lies on the level of the highest 6-bit digit in which its tick differs from the
// current one, in the slot of that digit: so it is touched again only when the current tick
// reaches that digit, and then moves to a lower level.
void Deadlines::file(Deadline& deadline, std::uint64_t tick) {
  tick = std::max(tick, tick_ + 1);
  const std::uint64_t difference = tick ^ tick_;
  const auto highest = static_cast<unsigned>(63 - std::countl_zero(difference));
  const unsigned level = std::min(highest / level_bits, level_count - 1);
  const auto digit = static_cast<unsigned>(tick >> (level * level_bits)) % slots_per_level;
  const unsigned slot = level * slots_per_level + digit;
  deadline.filed_tick_ = tick;
  deadline.slot_ = static_cast<std::uint16_t>(slot);
  deadline.next_ = slots_[slot];
  if (deadline.next_ != nullptr) deadline.next_->link_ = &deadline.next_;
  slots_[slot] = &deadline;
  deadline.link_ = &slots_[slot];
  occupied_[level] |= std::uint64_t{1} << digit;
  ++count_;
}

void Deadlines::unlink(Deadline& deadline) {
  *deadline.link_ = deadline.next_;
  if (deadline.next_ != nullptr) deadline.next_->link_ = deadline.link_;
  deadline.next_ = nullptr;
  deadline.link_ = nullptr;
  --count_;
  if (slots_[deadline.slot_] == nullptr) {
    occupied_[deadline.slot_ / slots_per_level] &=
        ~(std::uint64_t{1} << (deadline.slot_ % slots_per_level));
  }
}

std::uint64_t Deadlines::tick_of(TimePoint due) const {
  if (due <= origin_) return 0;
  // Rounded up: a deadline never fires early. Far times are cut to what the wheel spans.
  const std::int64_t most = std::int64_t{1} << (level_bits * (level_count - 1));
  const std::int64_t ticks = (due - origin_) / tick_length;
  const bool exact = (due - origin_) % tick_length == Nanoseconds(0);
  return static_cast<std::uint64_t>(
      std::min(exact ? ticks : ticks + 1, most + static_cast<std::int64_t>(tick_)));
}

// The first tick at which some slot must be looked at: on level 0 that is a deadline's own tick,
// above it the tick at which the slot's deadlines move down.
std::optional<std::uint64_t> Deadlines::next_tick() const {
  for (unsigned level = 0; level < level_count; ++level) {
    const unsigned shift = level * level_bits;
    const auto digit = static_cast<unsigned>(tick_ >> shift) % slots_per_level;
    // Only digits above the current one can be occupied: a lower one would differ on a higher
    // level.
    const std::uint64_t above =
        digit + 1 < slots_per_level ? occupied_[level] & (~std::uint64_t{0} << (digit + 1)) : 0;
    if (above == 0) continue;
    const auto first = static_cast<std::uint64_t>(std::countr_zero(above));
    const std::uint64_t base = (tick_ >> (shift + level_bits)) << level_bits;
    return (base + first) << shift;
  }
  return std::nullopt;
}

void Deadlines::run_tick(TimePoint now) {
  // From the highest level down, so that what moves down is seen again by the lower levels.
  for (unsigned level = level_count; level-- > 0;) {
    const unsigned shift = level * level_bits;
    if (level > 0 && (tick_ & ((std::uint64_t{1} << shift) - 1)) != 0) continue;
    const auto digit = static_cast<unsigned>(tick_ >> shift) % slots_per_level;
    const unsigned slot = level * slots_per_level + digit;
    while (Deadline* deadline = slots_[slot]) {
      unlink(*deadline);
      if (deadline->filed_tick_ > tick_) {
        file(*deadline, deadline->filed_tick_);
      } else {
        fire(*deadline, now);
      }
    }
  }
}

void Deadlines::fire(Deadline& deadline, TimePoint now) {
  const std::uint64_t due_tick = tick_of(deadline.due_);
  if (due_tick > tick_) {
    file(deadline, due_tick);
    return;
  }
  deadline.due_ = TimePoint::max();
  deadline.expired(now);
}

}  // namespace weir::proxy
