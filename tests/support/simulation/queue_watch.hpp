#pragma once
// Who waits, in which order they came, and that each ends once and in its turn: as an onlooker sees
// it who hears every call and every action.

#include <algorithm>
#include <memory>
#include <vector>

#include "tests/support/simulation/tally.hpp"

namespace weir::pool {

class QueueWatch {
 public:
  struct Waiting {
    std::shared_ptr<Waiter> waiter;
    std::int64_t rank = 0;     // who came earlier has a lower one
    std::uint32_t passed = 0;  // by how many connections that became ready
    bool starved = false;      // nothing was being opened for it after the last call
  };

  QueueWatch(const config::Upstream& upstream, const Tally& tally)
      : config_(upstream), pool_(upstream.pool), tally_(tally) {}

  const std::vector<Waiting>& queue() const { return queue_; }
  bool any_starved() const { return std::ranges::any_of(queue_, &Waiting::starved); }

  // --- What was asked, and how it ended ---

  void asked(const Ledger::Asked& asked, std::span<const EndpointIndex> tried, bool is_served) {
    // One that has tried other endpoints may have nothing all the same.
    const auto like = [&](const Waiting& each) {
      return each.starved && sorted(each.waiter->tried) == sorted({tried.begin(), tried.end()});
    };
    demand(asked.connection == nullptr || std::ranges::none_of(queue_, like),
           "a session overtakes one that has nothing");
    if (!asked.waiter) return;
    all_.push_back(asked.waiter);
    if (asked.waiter->state == Waiter::State::failed) {
      if (asked.waiter->failure == Failure::pool_full) {
        demand(starved() >= pool_.max_waiting, "the pool is full with % waiting", starved());
      }
      return;
    }
    queue_.push_back({asked.waiter, next_rank_++, 0, false});
    demand(is_served || starved() < pool_.max_waiting, "% wait, more than max_waiting",
           starved() + 1);
  }

  // From a connection that became ready at that endpoint.
  void granted(const Waiter& waiter, EndpointIndex endpoint, TimePoint now) {
    const auto found = find(waiter);
    pass(queue_.begin(), found, endpoint, now);
    queue_.erase(found);
  }
  // A connection became ready at that endpoint, and nobody got it.
  void nobody_granted(EndpointIndex endpoint, TimePoint now) {
    pass(queue_.begin(), queue_.end(), endpoint, now);
  }
  // An idle connection is lent to it, or one is opened for it.
  void handed(const Waiter& waiter) {
    note_served(waiter);
    queue_.erase(find(waiter));
  }
  void opening(const Waiter& waiter) { note_served(waiter); }
  void failed(const Waiter& waiter) {
    demand(waiter.state == Waiter::State::failed && waiter.failure != Failure::none,
           "a session ends without a reason");
    queue_.erase(find(waiter));
  }
  void gave_up(const Waiter& waiter) { queue_.erase(find(waiter)); }
  // What it was handed was dead: it stands before all others.
  void asks_again(const std::shared_ptr<Waiter>& waiter) {
    demand(!contains(*waiter), "a session waits twice");
    queue_.insert(queue_.begin(), {waiter, first_rank_--, 0, false});
  }

  // After each call.
  void note_starved() {
    for (Waiting& each : queue_) each.starved = each.waiter->opening == nullptr;
  }

  // --- After each step ---

  void compare(const Ledger& ledger) {
    for (const Waiting& each : queue_) {
      const Waiter& waiter = *each.waiter;
      demand(waiter.state == Waiter::State::waiting, "a session in the queue has ended");
      demand(waiter.opening == nullptr || !has_tried(waiter, waiter.opening->endpoint),
             "a session waits for an endpoint that it has tried");
    }
    demand(queue_.size() == ledger.queue_length(), "% are in the queue, not %", queue_.size(),
           ledger.queue_length());
    demand(starved() == ledger.waiting(), "% have nothing, not %", starved(), ledger.waiting());
    for (const Served& served : served_) check_turn(served);
    served_.clear();
  }

  void check_gone() const {
    demand(queue_.empty(), "% wait for ever", queue_.size());
    const auto kept = std::ranges::count_if(
        all_, [](const std::weak_ptr<Waiter>& waiter) { return !waiter.expired(); });
    demand(kept == 0, "% waiters are never let go", kept);
  }

 private:
  // In the same step as many others, but in its turn.
  struct Served {
    std::int64_t rank;
    std::vector<EndpointIndex> tried;
  };

  static bool has_tried(const Waiter& waiter, EndpointIndex endpoint) {
    return std::ranges::find(waiter.tried, endpoint) != waiter.tried.end();
  }
  std::uint32_t starved() const {
    return static_cast<std::uint32_t>(std::ranges::count_if(queue_, &Waiting::starved));
  }

  std::vector<Waiting>::iterator find(const Waiter& waiter) {
    const auto found = std::ranges::find_if(
        queue_, [&](const Waiting& each) { return each.waiter.get() == &waiter; });
    demand(found != queue_.end(), "a session ends twice");
    return found;
  }
  bool contains(const Waiter& waiter) const {
    return std::ranges::any_of(queue_,
                               [&](const Waiting& each) { return each.waiter.get() == &waiter; });
  }

  void note_served(const Waiter& waiter) {
    served_.push_back({find(waiter)->rank, sorted(waiter.tried)});
  }
  static std::vector<EndpointIndex> sorted(std::vector<EndpointIndex> tried) {
    std::ranges::sort(tried);
    return tried;
  }

  // Those are passed by a connection of that endpoint. Whoever may not have it is no matter.
  void pass(std::vector<Waiting>::iterator begin, std::vector<Waiting>::iterator end,
            EndpointIndex endpoint, TimePoint now) {
    for (auto each = begin; each != end; ++each) {
      if (!may_have(*each->waiter, endpoint, now)) continue;
      demand(!each->starved, "a session that has nothing is passed by what became ready");
      // What hash keeps together waits for its own endpoint.
      if (config_.balance != config::Balance::hash) ++each->passed;
      demand(each->passed <= Ledger::most_overtaken, "a session is passed % times", each->passed);
    }
  }

  bool may_have(const Waiter& waiter, EndpointIndex endpoint, TimePoint now) const {
    const Tally::Seat& seat = tally_.seats()[endpoint];
    if (!seat.takes_sessions() || has_tried(waiter, endpoint)) return false;
    const Tally::Tier tier = tally_.tier_for(waiter.tried, now);
    return tier.is_sure && tier.number == seat.endpoint->tier;
  }

  // Among those who have tried the same endpoints, the order is that in which they came.
  void check_turn(const Served& served) const {
    std::size_t position = 0;
    for (const Waiting& each : queue_) {
      if (each.rank >= served.rank || ++position >= longest_look) return;
      demand(!each.starved || sorted(each.waiter->tried) != served.tried,
             "a session is served before an earlier one");
    }
  }

  // The ledger looks at so many that cannot be served.
  static constexpr std::size_t longest_look = 60;

  const config::Upstream& config_;
  const config::Pool& pool_;
  const Tally& tally_;
  std::vector<Waiting> queue_;  // by rank
  std::int64_t next_rank_ = 0;
  std::int64_t first_rank_ = -1;
  std::vector<Served> served_;  // in this step
  std::vector<std::weak_ptr<Waiter>> all_;
};

}  // namespace weir::pool
