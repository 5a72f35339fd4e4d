// Balancers are arithmetic: a view says who may be picked and how loaded each is.

#include "pool/balancer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>
#include <set>
#include <vector>

namespace weir::pool {
namespace {

class Stage final : public Balancer::View {
 public:
  bool usable(EndpointIndex endpoint) const override { return !hidden.contains(endpoint); }
  std::uint32_t load(EndpointIndex endpoint) const override {
    const auto found = loads.find(endpoint);
    return found == loads.end() ? 0 : found->second;
  }
  std::set<EndpointIndex> hidden;
  std::map<EndpointIndex, std::uint32_t> loads;
};

std::map<EndpointIndex, int> picks(Balancer& balancer, const Stage& stage, int count) {
  std::map<EndpointIndex, int> result;
  for (int i = 0; i < count; ++i) ++result[balancer.pick(stage).value()];
  return result;
}

TEST(RoundRobin, GoesRoundInOrder) {
  const auto balancer = Balancer::make(config::Balance::round_robin, {1, 1, 1});
  const Stage stage;
  std::vector<EndpointIndex> order;
  for (int i = 0; i < 6; ++i) order.push_back(balancer->pick(stage).value());
  EXPECT_THAT(order, testing::ElementsAre(0, 1, 2, 0, 1, 2));
}

TEST(RoundRobin, GivesEachItsWeight) {
  const auto balancer = Balancer::make(config::Balance::round_robin, {1, 3});
  const auto result = picks(*balancer, Stage(), 400);
  EXPECT_EQ(result.at(0), 100);
  EXPECT_EQ(result.at(1), 300);
}

TEST(RoundRobin, PassesOverWhoMayNotBePickedAndKeepsTheOthersEven) {
  const auto balancer = Balancer::make(config::Balance::round_robin, {1, 1, 1});
  Stage stage;
  stage.hidden = {1};
  const auto result = picks(*balancer, stage, 100);
  EXPECT_EQ(result.at(0), 50);
  EXPECT_EQ(result.at(2), 50);
}

TEST(RoundRobin, GivesNoBurstToWhoComesBack) {
  const auto balancer = Balancer::make(config::Balance::round_robin, {1, 1});
  Stage stage;
  stage.hidden = {1};
  picks(*balancer, stage, 100);
  stage.hidden.clear();
  const auto result = picks(*balancer, stage, 20);
  EXPECT_LE(result.at(1), 11);
}

TEST(RoundRobin, PicksNobodyWhenNobodyMayBePicked) {
  const auto balancer = Balancer::make(config::Balance::round_robin, {1, 0});
  Stage stage;
  stage.hidden = {0};
  EXPECT_FALSE(balancer->pick(stage).has_value());
}

TEST(LeastConnections, PicksTheLeastLoadedByWeight) {
  const auto balancer = Balancer::make(config::Balance::least_connections, {1, 2});
  Stage stage;
  stage.loads = {{0, 2}, {1, 4}};
  EXPECT_EQ(balancer->pick(stage), 1U);
  stage.loads = {{0, 0}, {1, 4}};
  balancer->eased(0, 0);
  EXPECT_EQ(balancer->pick(stage), 0U);
}

// Against the plain definition, over a random history of sessions, some endpoints out of bounds.
TEST(LeastConnections, IsNeverWrong) {
  std::minstd_rand random(7);
  std::vector<std::uint32_t> weights;
  for (int i = 0; i < 20; ++i) weights.push_back(1 + random() % 4);
  const auto balancer = Balancer::make(config::Balance::least_connections, weights);
  Stage stage;
  std::vector<EndpointIndex> sessions;
  for (int step = 0; step < 20'000; ++step) {
    if (step % 50 == 0) {
      stage.hidden.clear();
      for (EndpointIndex i = 0; i < 20; ++i) {
        if (random() % 4 == 0) stage.hidden.insert(i);
      }
    }
    if (!sessions.empty() && random() % 2 == 0) {
      std::swap(sessions[random() % sessions.size()], sessions.back());
      const EndpointIndex ended = sessions.back();
      sessions.pop_back();
      balancer->eased(ended, --stage.loads[ended]);
      continue;
    }
    const auto weighed = [&](EndpointIndex i) { return (stage.load(i) + 1.0) / weights[i]; };
    double least = 1e9;
    for (EndpointIndex i = 0; i < 20; ++i) {
      if (stage.usable(i)) least = std::min(least, weighed(i));
    }
    const auto picked = balancer->pick(stage);
    ASSERT_TRUE(picked.has_value());
    ASSERT_TRUE(stage.usable(*picked));
    ASSERT_DOUBLE_EQ(weighed(*picked), least);
    sessions.push_back(*picked);
    ++stage.loads[*picked];
  }
}

TEST(LeastConnections, GoesRoundAmongEquals) {
  const auto balancer = Balancer::make(config::Balance::least_connections, {1, 1, 1});
  const auto result = picks(*balancer, Stage(), 30);
  for (EndpointIndex i = 0; i < 3; ++i) EXPECT_EQ(result.at(i), 10);
}

}  // namespace
}  // namespace weir::pool
