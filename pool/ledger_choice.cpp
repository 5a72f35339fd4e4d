// The choices of the ledger: which endpoint a session gets, which session a connection gets, and
// what makes room for whom.

#include <algorithm>

#include "pool/ledger.hpp"

namespace weir::pool {

// The endpoints that a session may be given now: those that take sessions, of its tier, not tried,
// with an idle connection or room for one more. Choosy: only those that are not passed over.
class Ledger::Candidates final : public Balancer::View {
 public:
  Candidates(const Ledger& ledger, std::span<const EndpointIndex> tried, std::uint32_t tier,
             bool choosy, TimePoint now)
      : ledger_(ledger), tried_(tried), tier_(tier), choosy_(choosy), now_(now) {}

  bool usable(EndpointIndex endpoint) const override {
    const Seat& seat = ledger_.seats_[endpoint];
    return (seat.counts.idle > 0 || ledger_.may_open(seat, now_)) && is_wanted(endpoint);
  }
  // Does only max_total stand in its way?
  bool needs_total(EndpointIndex endpoint) const {
    return ledger_.has_room(ledger_.seats_[endpoint], now_) && is_wanted(endpoint);
  }
  std::uint32_t load(EndpointIndex endpoint) const override {
    return Ledger::load(ledger_.seats_[endpoint]);
  }
  std::uint32_t tier() const override { return tier_; }
  double tier_weight() const override { return ledger_.tiers_[tier_].weight; }
  std::uint32_t tier_load() const override { return ledger_.tiers_[tier_].load; }

 private:
  bool is_wanted(EndpointIndex endpoint) const {
    const Seat& seat = ledger_.seats_[endpoint];
    return ledger_.takes_sessions(seat) && seat.endpoint->tier == tier_ &&
           !(choosy_ && ledger_.passed_over(seat, now_)) &&
           std::ranges::find(tried_, endpoint) == tried_.end();
  }

  const Ledger& ledger_;
  std::span<const EndpointIndex> tried_;
  std::uint32_t tier_;
  bool choosy_;
  TimePoint now_;
};

// An endpoint in trouble waits for its turn as long as there is a better one, even if that one is
// busy.
bool Ledger::is_choosy(std::span<const EndpointIndex> tried, std::uint32_t tier,
                       TimePoint now) const {
  return troubled_ > 0 && std::ranges::any_of(present_, [&](EndpointIndex index) {
           const Seat& seat = seats_[index];
           return takes_sessions(seat) && seat.endpoint->tier == tier && !passed_over(seat, now) &&
                  std::ranges::find(tried, index) == tried.end();
         });
}

std::optional<EndpointIndex> Ledger::pick(std::span<const EndpointIndex> tried, std::uint64_t key,
                                          TimePoint now) {
  const auto tier = tier_for(tried);
  if (!tier) return std::nullopt;
  const bool choosy = is_choosy(tried, *tier, now);
  const auto picked = balancer_->pick(Candidates(*this, tried, *tier, choosy, now), key);
  if (picked || !choosy || !is_full()) return picked;
  // What is ready at an endpoint in trouble is better than to close it for one that is not.
  return balancer_->pick(Candidates(*this, tried, *tier, false, now), key);
}

// A session goes before what is kept ready elsewhere: where only max_total stands in its way, an
// idle connection is closed. One at a time, since each that is closed leads here again.
bool Ledger::make_room(std::span<const EndpointIndex> tried, TimePoint now, Actions& actions) {
  if (!is_full() || idle_total_ == 0 || closing_total_ > 0) return false;
  const auto tier = tier_for(tried);
  if (!tier) return false;
  const Candidates candidates(*this, tried, *tier, is_choosy(tried, *tier, now), now);
  const auto needs_total = [&](EndpointIndex index) { return candidates.needs_total(index); };
  if (std::ranges::none_of(present_, needs_total)) return false;
  close_idle(longest_idle(), Closed::surplus, actions);
  warming_waits_ = true;
  return true;
}

// Would this endpoint be picked for it, were there nothing else?
bool Ledger::may_have(const Waiter& waiter, EndpointIndex endpoint) const {
  const Seat& seat = seats_[endpoint];
  return takes_sessions(seat) && tier_for(waiter.tried) == seat.endpoint->tier &&
         std::ranges::find(waiter.tried, endpoint) == waiter.tried.end();
}

// Who gets a connection that became ready: of those who may have it the one who has waited longest.
// A waiter of another worker that has a connection of its own on the way is passed over, since its
// turn is about to come and a hand-over costs both workers; but not more than most_overtaken times,
// whether another one gets the connection or it becomes idle. With `hash`, so is one whose
// connection to its own endpoint is on the way. `owner`: for whom it was opened, and who may have
// it in any case.
Waiter* Ledger::recipient(const Connection& connection, const Waiter* owner) {
  const EndpointIndex endpoint = connection.endpoint;
  if (!seats_[endpoint].present || !seats_[endpoint].healthy) return nullptr;
  if (is_outdated(connection)) return nullptr;
  const bool keeps_together = config_.balance == config::Balance::hash;
  for (Waiter& waiter : queue_) {
    if (&waiter == owner) return &waiter;
    const bool has_one_coming = waiter.opening != nullptr;
    if (keeps_together && has_one_coming && waiter.opening->endpoint != endpoint) continue;
    if (!may_have(waiter, endpoint)) continue;
    if (!has_one_coming || waiter.worker == connection.worker) return &waiter;
    if (waiter.overtaken >= most_overtaken) return &waiter;
    ++waiter.overtaken;
  }
  return nullptr;
}

}  // namespace weir::pool
