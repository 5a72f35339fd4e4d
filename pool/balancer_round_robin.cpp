// `balance: round_robin`.

#include <algorithm>
#include <cstddef>

#include "pool/assert.hpp"
#include "pool/balancer_algorithms.hpp"

namespace weir::pool {
namespace {

// When so many that may not be used were passed over, to look at all is cheaper than to go on in
// their order.
constexpr std::ptrdiff_t most_in_order = 16;

// Weighted round robin as earliest deadline first: each endpoint is due again 1/weight after its
// last turn. O(log n) a pick, O(n) when few may be used; equal weights give the plain round. An
// endpoint that is passed over keeps its turn.
class RoundRobin final : public Balancer {
 public:
  explicit RoundRobin(std::span<const Member> members) : periods_(members.size()) {
    for (const auto& [tier, endpoints] : by_tier(members)) {
      Round& round = rounds_[tier];
      for (const EndpointIndex endpoint : endpoints) {
        periods_[endpoint] = 1.0 / members[endpoint].weight;
        round.turns.push_back({periods_[endpoint], endpoint, round.next_order++});
      }
      std::ranges::make_heap(round.turns, Later{});
    }
  }

  std::optional<EndpointIndex> pick(const View& view, std::uint64_t) override {
    const auto round = rounds_.find(view.tier());
    if (round == rounds_.end()) return std::nullopt;
    return pick(round->second, view);
  }

  void eased(EndpointIndex, std::uint32_t) override {}

  void set_weight(EndpointIndex endpoint, double weight) override {
    WEIR_ASSERT(periods_[endpoint] > 0 && weight > 0, "only what has a weight may have another");
    periods_[endpoint] = 1.0 / weight;
  }

 private:
  struct Turn {
    double due;
    EndpointIndex endpoint;
    std::uint64_t order;  // breaks ties: who has waited longer goes first
  };
  struct Later {
    bool operator()(const Turn& a, const Turn& b) const {
      return a.due > b.due || (a.due == b.due && a.order > b.order);
    }
  };
  // Of one tier.
  struct Round {
    std::vector<Turn> turns;  // a heap, the earliest first
    double now = 0;
    std::uint64_t next_order = 0;
  };

  std::optional<EndpointIndex> pick(Round& round, const View& view) {
    std::vector<Turn>& turns = round.turns;
    auto heap_end = turns.end();
    std::optional<EndpointIndex> picked;
    while (!picked && heap_end != turns.begin() && turns.end() - heap_end < most_in_order) {
      std::pop_heap(turns.begin(), heap_end, Later{});
      --heap_end;
      if (view.usable(heap_end->endpoint)) picked = take(round, *heap_end);
    }
    if (!picked && heap_end != turns.begin()) {
      const auto earliest = earliest_usable(turns.begin(), heap_end, view);
      if (earliest != heap_end) picked = take(round, *earliest);
      std::ranges::make_heap(turns, Later{});
      return picked;
    }
    while (heap_end != turns.end()) std::push_heap(turns.begin(), ++heap_end, Later{});
    return picked;
  }

  using Turns = std::vector<Turn>::iterator;
  static Turns earliest_usable(Turns begin, Turns end, const View& view) {
    Turns earliest = end;
    for (Turns turn = begin; turn != end; ++turn) {
      if (!view.usable(turn->endpoint)) continue;
      if (earliest == end || Later{}(*earliest, *turn)) earliest = turn;
    }
    return earliest;
  }

  EndpointIndex take(Round& round, Turn& turn) {
    // Time stands at the turn that was taken: one that could not be used for a while does not get
    // all its missed turns at once.
    round.now = std::max(round.now, turn.due);
    turn.due = round.now + periods_[turn.endpoint];
    turn.order = round.next_order++;
    return turn.endpoint;
  }

  std::vector<double> periods_;  // by endpoint: 1 / weight; 0 = has none
  std::map<std::uint32_t, Round> rounds_;
};

}  // namespace

std::unique_ptr<Balancer> make_round_robin(std::span<const Balancer::Member> members) {
  return std::make_unique<RoundRobin>(members);
}

}  // namespace weir::pool
