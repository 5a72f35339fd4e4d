#include "pool/balancer.hpp"

#include <algorithm>
#include <compare>
#include <set>

namespace weir::pool {
namespace {

// Weighted round robin as earliest deadline first: each endpoint is due again 1/weight after its
// last turn. O(log n) a pick; equal weights give the plain round. An endpoint that is passed over
// keeps its turn.
class RoundRobin final : public Balancer {
 public:
  explicit RoundRobin(const std::vector<std::uint32_t>& weights) {
    for (EndpointIndex i = 0; i < weights.size(); ++i) {
      if (weights[i] == 0) continue;
      const double period = 1.0 / weights[i];
      turns_.push_back({period, i, period, next_order_++});
    }
    std::ranges::make_heap(turns_, Later{});
  }

  std::optional<EndpointIndex> pick(const View& view) override {
    std::optional<EndpointIndex> picked;
    std::size_t heap_size = turns_.size();
    while (heap_size > 0 && !picked) {
      std::pop_heap(turns_.begin(), turns_.begin() + static_cast<std::ptrdiff_t>(heap_size),
                    Later{});
      --heap_size;
      Turn& turn = turns_[heap_size];
      if (!view.usable(turn.endpoint)) continue;
      picked = turn.endpoint;
      // Time stands at the turn that was taken: one that could not be used for a while does not
      // get all its missed turns at once.
      now_ = std::max(now_, turn.due);
      turn.due = now_ + turn.period;
      turn.order = next_order_++;
    }
    for (; heap_size < turns_.size(); ++heap_size) {
      std::push_heap(turns_.begin(), turns_.begin() + static_cast<std::ptrdiff_t>(heap_size) + 1,
                     Later{});
    }
    return picked;
  }
  void eased(EndpointIndex, std::uint32_t) override {}

 private:
  struct Turn {
    double due;
    EndpointIndex endpoint;
    double period;
    std::uint64_t order;  // breaks ties: who has waited longer goes first
  };
  struct Later {
    bool operator()(const Turn& a, const Turn& b) const {
      return a.due > b.due || (a.due == b.due && a.order > b.order);
    }
  };

  std::vector<Turn> turns_;
  double now_ = 0;
  std::uint64_t next_order_ = 0;
};

// The lowest (sessions + 1) / weight; among equals whoever was picked longest ago. The endpoints
// stand in that order, by the loads that were last seen: none is lower than it is, so the first
// one that is as it was seen is the least loaded. O(log n) a pick, and one step more for each
// endpoint that is passed over.
class LeastConnections final : public Balancer {
 public:
  explicit LeastConnections(std::vector<std::uint32_t> weights)
      : weights_(std::move(weights)), places_(weights_.size(), ranking_.end()) {
    for (EndpointIndex i = 0; i < weights_.size(); ++i) {
      if (weights_[i] == 0) continue;
      places_[i] = ranking_.insert({1.0 / weights_[i], next_turn_++, i}).first;
    }
  }

  std::optional<EndpointIndex> pick(const View& view) override {
    for (auto next = ranking_.begin(); next != ranking_.end();) {
      const Rank rank = *next++;
      const double load = weighed(rank.endpoint, view.load(rank.endpoint));
      if (load > rank.load) {
        // It may stand before the next one still, or may be the last.
        next = std::min(place({load, rank.turn, rank.endpoint}), next, Earlier{*this});
        continue;
      }
      if (!view.usable(rank.endpoint)) continue;
      place({rank.load, next_turn_++, rank.endpoint});
      return rank.endpoint;
    }
    return std::nullopt;
  }

  void eased(EndpointIndex endpoint, std::uint32_t load) override {
    if (weights_[endpoint] == 0) return;
    place({weighed(endpoint, load), places_[endpoint]->turn, endpoint});
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
    const LeastConnections& self;
    bool operator()(Ranking::iterator a, Ranking::iterator b) const {
      return b == self.ranking_.end() || (a != self.ranking_.end() && *a < *b);
    }
  };

  double weighed(EndpointIndex endpoint, std::uint32_t load) const {
    return (load + 1.0) / weights_[endpoint];
  }
  Ranking::iterator place(const Rank& rank) {
    auto node = ranking_.extract(places_[rank.endpoint]);
    node.value() = rank;
    return places_[rank.endpoint] = ranking_.insert(std::move(node)).position;
  }

  std::vector<std::uint32_t> weights_;
  Ranking ranking_;
  std::vector<Ranking::iterator> places_;
  std::uint64_t next_turn_ = 0;
};

}  // namespace

std::unique_ptr<Balancer> Balancer::make(config::Balance balance,
                                         std::vector<std::uint32_t> weights) {
  if (balance == config::Balance::least_connections) {
    return std::make_unique<LeastConnections>(std::move(weights));
  }
  return std::make_unique<RoundRobin>(weights);
}

}  // namespace weir::pool
