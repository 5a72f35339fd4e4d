// Balancers are arithmetic: a view says who may be picked and how loaded each is.

#include "pool/balancer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <set>

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
  EXPECT_EQ(balancer->pick(stage), 0U);
}

TEST(LeastConnections, GoesRoundAmongEquals) {
  const auto balancer = Balancer::make(config::Balance::least_connections, {1, 1, 1});
  const auto result = picks(*balancer, Stage(), 30);
  for (EndpointIndex i = 0; i < 3; ++i) EXPECT_EQ(result.at(i), 10);
}

}  // namespace
}  // namespace weir::pool
