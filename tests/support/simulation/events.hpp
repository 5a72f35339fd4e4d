#pragma once
// Virtual time: what happens when. Events of the same moment happen in the order in which they were
// planned. An event that has lost its meaning is not taken back; it finds that out itself.

#include <algorithm>
#include <cstdint>
#include <functional>
#include <utility>
#include <vector>

#include "pool/connection.hpp"

namespace weir::pool {

class Events {
 public:
  using Happen = std::move_only_function<void()>;

  explicit Events(TimePoint start) : now_(start) {}

  TimePoint now() const { return now_; }
  std::uint64_t happened() const { return happened_; }
  bool empty() const { return order_.empty(); }
  TimePoint next() const { return order_.empty() ? TimePoint::max() : order_.front().at; }

  void at(TimePoint when, Happen happen) {
    std::uint32_t place = 0;
    if (free_.empty()) {
      place = static_cast<std::uint32_t>(planned_.size());
      planned_.push_back(std::move(happen));
    } else {
      place = free_.back();
      free_.pop_back();
      planned_[place] = std::move(happen);
    }
    order_.push_back({std::max(when, now_), sequence_++, place});
    std::ranges::push_heap(order_, Later{});
  }
  void after(Nanoseconds delay, Happen happen) { at(now_ + delay, std::move(happen)); }

  void run_next() {
    std::ranges::pop_heap(order_, Later{});
    const Entry entry = order_.back();
    order_.pop_back();
    now_ = entry.at;
    ++happened_;
    Happen happen = std::exchange(planned_[entry.place], nullptr);
    free_.push_back(entry.place);
    happen();
  }

  void advance_to(TimePoint time) { now_ = std::max(now_, time); }

 private:
  struct Entry {
    TimePoint at;
    std::uint64_t sequence;
    std::uint32_t place;  // in planned_
  };
  struct Later {
    bool operator()(const Entry& a, const Entry& b) const {
      return a.at > b.at || (a.at == b.at && a.sequence > b.sequence);
    }
  };

  TimePoint now_;
  std::uint64_t sequence_ = 0;
  std::uint64_t happened_ = 0;
  std::vector<Entry> order_;  // a heap, the earliest first
  std::vector<Happen> planned_;
  std::vector<std::uint32_t> free_;
};

}  // namespace weir::pool
