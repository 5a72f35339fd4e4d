#pragma once
// What a balancer sees, played by a test: endpoints with their weights, some of them hidden, and
// the sessions on each.

#include <gtest/gtest.h>

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "pool/balancer.hpp"

namespace weir::pool {

using Members = std::vector<Balancer::Member>;

// 10.0.0.1:80, 10.0.0.2:80, ...
inline Members members(const std::vector<std::uint32_t>& weights, std::uint32_t tier = 0) {
  Members result;
  for (std::size_t i = 0; i < weights.size(); ++i) {
    const std::string host =
        "10.0." + std::to_string((i + 1) / 256) + "." + std::to_string((i + 1) % 256);
    result.push_back({.name = host + ":80", .weight = weights[i], .tier = tier});
  }
  return result;
}

inline Members equal_members(std::size_t count) {
  return members(std::vector<std::uint32_t>(count, 1));
}

class Stage final : public Balancer::View {
 public:
  explicit Stage(const Members& members, std::uint32_t tier = 0)
      : loads(members.size()), tier_(tier) {
    for (const Balancer::Member& member : members) {
      weights.push_back(member.weight);
      tiers_.push_back(member.tier);
    }
  }

  bool usable(EndpointIndex endpoint) const override {
    EXPECT_EQ(tiers_[endpoint], tier_) << "is not asked about";
    return !hidden.contains(endpoint);
  }
  std::uint32_t load(EndpointIndex endpoint) const override { return loads[endpoint]; }
  std::uint32_t tier() const override { return tier_; }
  double tier_weight() const override {
    double sum = 0;
    for (EndpointIndex i = 0; i < weights.size(); ++i) sum += counts(i) ? weights[i] : 0;
    return sum;
  }
  std::uint32_t tier_load() const override {
    std::uint32_t sum = 0;
    for (EndpointIndex i = 0; i < loads.size(); ++i) sum += counts(i) ? loads[i] : 0;
    return sum;
  }

  std::set<EndpointIndex> hidden;
  std::vector<std::uint32_t> loads;
  std::vector<double> weights;

 private:
  bool counts(EndpointIndex endpoint) const {
    return tiers_[endpoint] == tier_ && !hidden.contains(endpoint);
  }

  std::vector<std::uint32_t> tiers_;
  std::uint32_t tier_;
};

}  // namespace weir::pool
