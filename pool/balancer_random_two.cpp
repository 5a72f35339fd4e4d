// `balance: random_two`.

#include <array>
#include <cmath>
#include <cstddef>
#include <limits>
#include <utility>

#include "pool/assert.hpp"
#include "pool/balancer_algorithms.hpp"

namespace weir::pool {
namespace {

// When so many draws have not led to two, all are looked at.
constexpr int most_draws = 16;

// Two endpoints drawn by weight; the one with the lower (sessions + 1) / weight is picked, of
// equals the first (the power of two choices: Mitzenmacher, IEEE TPDS 12(10), 2001). O(1) a pick,
// O(n) when few may be used, and once after weights have changed.
class RandomTwo final : public Balancer {
 public:
  RandomTwo(std::span<const Member> members, std::uint64_t seed)
      : weights_(weights_of(members)), state_(seed) {
    for (const auto& [tier, endpoints] : by_tier(members)) {
      for (const EndpointIndex each : endpoints) urns_[tier].entries.push_back({each, each, 1});
    }
  }

  std::optional<EndpointIndex> pick(const View& view, std::uint64_t) override {
    const auto found = urns_.find(view.tier());
    if (found == urns_.end()) return std::nullopt;
    Urn& urn = found->second;
    if (urn.weights_change != weights_change_) weigh(urn);
    std::optional<EndpointIndex> first;
    for (int i = 0; i < most_draws; ++i) {
      const EndpointIndex endpoint = draw(urn);
      if (endpoint == first || !view.usable(endpoint)) continue;
      if (first) return better(*first, endpoint, view);
      first = endpoint;
    }
    return search(urn, first, view);
  }

  void eased(EndpointIndex, std::uint32_t) override {}

  void set_weight(EndpointIndex endpoint, double weight) override {
    WEIR_ASSERT(weights_[endpoint] > 0 && weight > 0, "only what has a weight may have another");
    weights_[endpoint] = weight;
    ++weights_change_;
  }

 private:
  // What is drawn from: one tier, as an alias table (Vose, IEEE TSE 17(9), 1991). Each entry is
  // drawn equally often, and is then itself with the chance `keep`, else the other one.
  struct Urn {
    struct Entry {
      EndpointIndex endpoint;
      EndpointIndex other;
      double keep;
    };
    std::vector<Entry> entries;
    std::uint64_t weights_change = std::numeric_limits<std::uint64_t>::max();  // not weighed yet
  };

  void weigh(Urn& urn) {
    urn.weights_change = weights_change_;
    double sum = 0;
    for (const Urn::Entry& entry : urn.entries) sum += weights_[entry.endpoint];
    const double average = sum / static_cast<double>(urn.entries.size());
    std::vector<Urn::Entry*> light;
    std::vector<Urn::Entry*> heavy;
    for (Urn::Entry& entry : urn.entries) {
      entry.keep = weights_[entry.endpoint] / average;
      (entry.keep < 1 ? light : heavy).push_back(&entry);
    }
    // What a light one lacks, a heavy one gives.
    while (!light.empty() && !heavy.empty()) {
      Urn::Entry& taker = *light.back();
      Urn::Entry& giver = *heavy.back();
      light.pop_back();
      taker.other = giver.endpoint;
      giver.keep -= 1 - taker.keep;
      if (giver.keep >= 1) continue;
      heavy.pop_back();
      light.push_back(&giver);
    }
    // They would be 1, but for rounding.
    for (Urn::Entry* entry : light) entry->keep = 1;
  }

  EndpointIndex draw(const Urn& urn) {
    const std::uint64_t bits = random();
    const Urn::Entry& entry = urn.entries[(bits >> 32) * urn.entries.size() >> 32];
    return static_cast<double>(bits & 0xffffffff) < entry.keep * 0x1p32 ? entry.endpoint
                                                                        : entry.other;
  }

  // What draws would lead to in the end: each endpoint gets a number that is exponentially
  // distributed with its weight as the rate, and the lowest ones are drawn (Efraimidis, Spirakis,
  // Information Processing Letters 97(5), 2006). `first` has been drawn already, if there is one.
  std::optional<EndpointIndex> search(const Urn& urn, std::optional<EndpointIndex> first,
                                      const View& view) {
    constexpr double never = std::numeric_limits<double>::infinity();
    struct Drawn {
      double at = never;
      EndpointIndex endpoint = 0;
    };
    std::array<Drawn, 2> drawn;
    if (first) drawn[0] = {0, *first};
    for (const Urn::Entry& entry : urn.entries) {
      const EndpointIndex endpoint = entry.endpoint;
      if (endpoint == first || !view.usable(endpoint)) continue;
      const double at = -std::log(1.0 - chance()) / weights_[endpoint];
      if (at >= drawn[1].at) continue;
      drawn[1] = {at, endpoint};
      if (!first && at < drawn[0].at) std::swap(drawn[0], drawn[1]);
    }
    if (drawn[0].at == never) return std::nullopt;
    if (drawn[1].at == never) return drawn[0].endpoint;
    return better(drawn[0].endpoint, drawn[1].endpoint, view);
  }

  EndpointIndex better(EndpointIndex first, EndpointIndex second, const View& view) const {
    return (view.load(second) + 1.0) * weights_[first] < (view.load(first) + 1.0) * weights_[second]
               ? second
               : first;
  }

  double chance() { return static_cast<double>(random() >> 11) * 0x1p-53; }  // [0, 1)

  // SplitMix64, whose states are multiples of the golden ratio.
  std::uint64_t random() {
    state_ += 0x9e3779b97f4a7c15;
    return mix(state_);
  }

  std::vector<double> weights_;  // by endpoint
  std::uint64_t weights_change_ = 0;
  std::map<std::uint32_t, Urn> urns_;
  std::uint64_t state_;
};

}  // namespace

std::unique_ptr<Balancer> make_random_two(std::span<const Balancer::Member> members,
                                          std::uint64_t seed) {
  return std::make_unique<RandomTwo>(members, seed);
}

}  // namespace weir::pool
