// `balance: least_connections`.

#include <algorithm>
#include <compare>
#include <set>
#include <utility>

#include "pool/assert.hpp"
#include "pool/balancer_algorithms.hpp"

namespace weir::pool {
namespace {

// The lowest (sessions + 1) / weight; among equals whoever was picked longest ago. The endpoints of
// a tier stand in that order, by the loads that were last seen: none is lower than it is, so the
// first one that is as it was seen is the least loaded. O(log n) a pick, and one step more for each
// endpoint that is passed over.
class LeastConnections final : public Balancer {
 public:
  explicit LeastConnections(std::span<const Member> members) : entries_(members.size()) {
    for (const auto& [tier, endpoints] : by_tier(members)) {
      Ranking& ranking = rankings_[tier];
      for (const EndpointIndex endpoint : endpoints) {
        Entry& entry = entries_[endpoint];
        entry.weight = members[endpoint].weight;
        entry.ranking = &ranking;
        entry.place = ranking.insert({1.0 / entry.weight, next_turn_++, endpoint}).first;
      }
    }
  }

  std::optional<EndpointIndex> pick(const View& view, std::uint64_t) override {
    const auto tier = rankings_.find(view.tier());
    if (tier == rankings_.end()) return std::nullopt;
    Ranking& ranking = tier->second;
    for (auto next = ranking.begin(); next != ranking.end();) {
      const Rank rank = *next++;
      const std::uint32_t load = view.load(rank.endpoint);
      if (load > entries_[rank.endpoint].seen) {
        // It may stand before the next one still, or may be the last.
        next = std::min(place(rank.endpoint, load, rank.turn), next, Earlier{ranking});
        continue;
      }
      if (!view.usable(rank.endpoint)) continue;
      place(rank.endpoint, load, next_turn_++);
      return rank.endpoint;
    }
    return std::nullopt;
  }

  void eased(EndpointIndex endpoint, std::uint32_t load) override {
    const Entry& entry = entries_[endpoint];
    if (entry.ranking == nullptr || entry.seen == load) return;
    place(endpoint, load, entry.place->turn);
  }

  void set_weight(EndpointIndex endpoint, double weight) override {
    Entry& entry = entries_[endpoint];
    WEIR_ASSERT(entry.ranking != nullptr && weight > 0, "only what has a weight may have another");
    entry.weight = weight;
    place(endpoint, entry.seen, entry.place->turn);
  }

 private:
  struct Rank {
    double load;
    std::uint64_t turn;
    EndpointIndex endpoint;
    auto operator<=>(const Rank&) const = default;
  };
  using Ranking = std::set<Rank>;
  struct Earlier {
    const Ranking& ranking;
    bool operator()(Ranking::iterator a, Ranking::iterator b) const {
      return b == ranking.end() || (a != ranking.end() && *a < *b);
    }
  };
  struct Entry {
    double weight = 0;
    std::uint32_t seen = 0;      // sessions, when it was placed
    Ranking* ranking = nullptr;  // of its tier; null = has no weight
    Ranking::iterator place;
  };

  Ranking::iterator place(EndpointIndex endpoint, std::uint32_t load, std::uint64_t turn) {
    Entry& entry = entries_[endpoint];
    entry.seen = load;
    auto node = entry.ranking->extract(entry.place);
    node.value() = {(load + 1.0) / entry.weight, turn, endpoint};
    return entry.place = entry.ranking->insert(std::move(node)).position;
  }

  std::vector<Entry> entries_;  // by endpoint
  std::map<std::uint32_t, Ranking> rankings_;
  std::uint64_t next_turn_ = 0;
};

}  // namespace

std::unique_ptr<Balancer> make_least_connections(std::span<const Balancer::Member> members) {
  return std::make_unique<LeastConnections>(members);
}

}  // namespace weir::pool
