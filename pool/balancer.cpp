#include "pool/balancer.hpp"

#include <algorithm>

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

// The lowest (sessions + 1) / weight; among equals the round goes on from the last choice.
class LeastConnections final : public Balancer {
 public:
  explicit LeastConnections(std::vector<std::uint32_t> weights) : weights_(std::move(weights)) {}

  std::optional<EndpointIndex> pick(const View& view) override {
    std::optional<EndpointIndex> best;
    double best_load = 0;
    const auto count = static_cast<EndpointIndex>(weights_.size());
    for (EndpointIndex step = 1; step <= count; ++step) {
      const EndpointIndex i = (last_ + step) % count;
      if (weights_[i] == 0 || !view.usable(i)) continue;
      const double load = (view.load(i) + 1.0) / weights_[i];
      if (!best || load < best_load) {
        best = i;
        best_load = load;
      }
    }
    if (best) last_ = *best;
    return best;
  }

 private:
  std::vector<std::uint32_t> weights_;
  EndpointIndex last_ = 0;
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
