// Balancers are arithmetic: a view says who may be picked and how loaded each is. What `hash` does
// beyond that is in balancer_hash_test.cpp.

#include "pool/balancer.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <map>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/stage.hpp"

namespace weir::pool {
namespace {

using config::Balance;

std::unique_ptr<Balancer> make(Balance balance, const Members& members) {
  return Balancer::make(balance, members, 1);
}

std::map<EndpointIndex, int> picks(Balancer& balancer, const Stage& stage, int count) {
  std::mt19937_64 keys(2);
  std::map<EndpointIndex, int> result;
  for (int i = 0; i < count; ++i) ++result[balancer.pick(stage, keys()).value()];
  return result;
}

// Sessions that come and stay.
void fill(Balancer& balancer, Stage& stage, int sessions) {
  std::mt19937_64 keys(3);
  for (int i = 0; i < sessions; ++i) ++stage.loads[balancer.pick(stage, keys()).value()];
}

std::string name(const testing::TestParamInfo<Balance>& test) {
  const std::array names = {"RoundRobin", "LeastConnections", "RandomTwo", "Hash"};
  return names.at(static_cast<std::size_t>(test.param));
}

class EveryBalancer : public testing::TestWithParam<Balance> {};
INSTANTIATE_TEST_SUITE_P(Balance, EveryBalancer,
                         testing::Values(Balance::round_robin, Balance::least_connections,
                                         Balance::random_two, Balance::hash),
                         name);

TEST_P(EveryBalancer, PicksNobodyWhenThereIsNobody) {
  EXPECT_FALSE(make(GetParam(), {})->pick(Stage({}), 0).has_value());
  const Members weightless = members({0, 0});
  EXPECT_FALSE(make(GetParam(), weightless)->pick(Stage(weightless), 0).has_value());
}

TEST_P(EveryBalancer, PicksNobodyWhenNobodyIsUsable) {
  const Members all = members(std::vector<std::uint32_t>(40, 2));
  const auto balancer = make(GetParam(), all);
  Stage stage(all);
  for (EndpointIndex i = 0; i < 40; ++i) stage.hidden.insert(i);
  EXPECT_FALSE(balancer->pick(stage, 7).has_value());
  stage.hidden.erase(3);
  EXPECT_EQ(balancer->pick(stage, 7), 3U);
}

TEST_P(EveryBalancer, FindsTheOnlyUsableOneOfAThousand) {
  const Members all = equal_members(1000);
  const auto balancer = make(GetParam(), all);
  Stage stage(all);
  for (EndpointIndex i = 0; i < 1000; ++i) stage.hidden.insert(i);
  std::mt19937_64 keys(4);
  for (EndpointIndex only = 0; only < 1000; only += 37) {
    stage.hidden.erase(only);
    for (int i = 0; i < 3; ++i) ASSERT_EQ(balancer->pick(stage, keys()), only);
    stage.hidden.insert(only);
  }
}

TEST_P(EveryBalancer, StaysInTheTier) {
  Members all = members({1, 1, 1, 1, 1});
  for (const std::size_t i : {1U, 3U, 4U}) all[i].tier = 1;
  const auto balancer = make(GetParam(), all);
  Stage higher(all, 0);
  Stage lower(all, 1);
  std::mt19937_64 keys(5);
  for (int i = 0; i < 300; ++i) {
    EXPECT_THAT(balancer->pick(higher, keys()).value(), testing::AnyOf(0U, 2U));
    EXPECT_THAT(balancer->pick(lower, keys()).value(), testing::AnyOf(1U, 3U, 4U));
  }
  higher.hidden = {0, 2};
  EXPECT_FALSE(balancer->pick(higher, 0).has_value());
  EXPECT_FALSE(balancer->pick(Stage(all, 7), 0).has_value());
}

// Sessions come and go, endpoints too, and weights change.
TEST_P(EveryBalancer, PicksOneThatIsUsableWheneverThereIsOne) {
  std::minstd_rand random(6);
  std::vector<std::uint32_t> weights = {1};
  for (int i = 1; i < 60; ++i) weights.push_back(random() % 4);
  const Members all = members(weights);
  const auto balancer = make(GetParam(), all);
  Stage stage(all);
  std::vector<EndpointIndex> sessions;
  for (int step = 0; step < 20'000; ++step) {
    if (step % 40 == 0) {
      stage.hidden.clear();
      const std::uint_fast32_t hidden = random() % 101;
      for (EndpointIndex i = 1; i < 60; ++i) {
        if (random() % 100 < hidden) stage.hidden.insert(i);
      }
      const auto changed = static_cast<EndpointIndex>(random() % 60);
      if (weights[changed] > 0) {
        stage.weights[changed] = weights[changed] * (1.0 + static_cast<double>(random() % 10)) / 10;
        balancer->set_weight(changed, stage.weights[changed]);
      }
    }
    if (!sessions.empty() && random() % 2 == 0) {
      std::swap(sessions[random() % sessions.size()], sessions.back());
      const EndpointIndex ended = sessions.back();
      sessions.pop_back();
      balancer->eased(ended, --stage.loads[ended]);
      continue;
    }
    const auto picked = balancer->pick(stage, stable_hash(std::to_string(random())));
    ASSERT_TRUE(picked.has_value());
    ASSERT_TRUE(stage.usable(*picked));
    ASSERT_GT(weights[*picked], 0U);
    sessions.push_back(*picked);
    ++stage.loads[*picked];
  }
}

TEST_P(EveryBalancer, GivesEachItsWeight) {
  const Members all = members({1, 3, 0, 4, 2});
  const auto balancer = make(GetParam(), all);
  Stage stage(all);
  fill(*balancer, stage, 5000);
  for (EndpointIndex i = 0; i < 5; ++i) {
    EXPECT_NEAR(stage.loads[i], 500 * stage.weights[i], 50 * stage.weights[i]) << i;
  }
}

TEST_P(EveryBalancer, FollowsAWeightThatChanges) {
  const Members all = equal_members(10);
  const auto balancer = make(GetParam(), all);
  Stage ramping(all);
  ramping.weights[4] = 0.1;
  balancer->set_weight(4, 0.1);
  fill(*balancer, ramping, 9100);
  // A tenth of what the others have; `hash`, which has not made its slots fewer, is at its bound.
  EXPECT_NEAR(ramping.loads[4], GetParam() == Balance::hash ? 125 : 100, 15);
  Stage ramped(all);
  for (EndpointIndex i = 0; i < 10; ++i) balancer->eased(i, 0);
  balancer->set_weight(4, 1.0);
  fill(*balancer, ramped, 9100);
  EXPECT_NEAR(ramped.loads[4], 910, 91);
}

TEST(RoundRobin, GoesRoundInOrder) {
  const Members all = equal_members(3);
  const auto balancer = make(Balance::round_robin, all);
  std::vector<EndpointIndex> order(6);
  for (EndpointIndex& each : order) each = balancer->pick(Stage(all), 0).value();
  EXPECT_THAT(order, testing::ElementsAre(0, 1, 2, 0, 1, 2));
}

TEST(RoundRobin, GivesEachItsWeightExactly) {
  const Members all = members({1, 3});
  const auto result = picks(*make(Balance::round_robin, all), Stage(all), 400);
  EXPECT_EQ(result.at(0), 100);
  EXPECT_EQ(result.at(1), 300);
}

TEST(RoundRobin, PassesOverWhoMayNotBePickedAndKeepsTheOthersEven) {
  const Members all = equal_members(100);
  const auto balancer = make(Balance::round_robin, all);
  Stage stage(all);
  // One, so few that all are looked at, and those in between.
  for (const EndpointIndex hidden : {1U, 97U, 10U}) {
    stage.hidden.clear();
    for (EndpointIndex i = 0; i < hidden; ++i) stage.hidden.insert(i);
    const int each = 20;
    const auto result = picks(*balancer, stage, static_cast<int>(100 - hidden) * each);
    for (EndpointIndex i = hidden; i < 100; ++i) EXPECT_NEAR(result.at(i), each, 1) << i;
  }
}

TEST(RoundRobin, GivesNoBurstToWhoComesBack) {
  for (const EndpointIndex others : {1U, 30U}) {
    const Members all = equal_members(2 * others);
    const auto balancer = make(Balance::round_robin, all);
    Stage stage(all);
    for (EndpointIndex i = 0; i < others; ++i) stage.hidden.insert(i);
    picks(*balancer, stage, 100 * static_cast<int>(others));
    stage.hidden.clear();
    const auto result = picks(*balancer, stage, 20 * static_cast<int>(others));
    for (EndpointIndex i = 0; i < others; ++i) EXPECT_LE(result.at(i), 11);
  }
}

TEST(RoundRobin, KeepsTheTurnThatAnEndpointHasWhenItsWeightChanges) {
  const Members all = equal_members(2);
  const auto balancer = make(Balance::round_robin, all);
  const Stage stage(all);
  EXPECT_EQ(balancer->pick(stage, 0), 0U);
  balancer->set_weight(1, 0.25);
  EXPECT_EQ(balancer->pick(stage, 0), 1U);
  EXPECT_EQ(picks(*balancer, stage, 20).at(1), 4);
}

// Against the plain definition: of those that may be picked whoever is due first, and is due again
// 1/weight later.
TEST(RoundRobin, IsNeverWrong) {
  std::minstd_rand random(8);
  std::vector<std::uint32_t> weights(40);
  for (std::uint32_t& weight : weights) weight = 1 + random() % 4;
  const Members all = members(weights);
  const auto balancer = make(Balance::round_robin, all);
  Stage stage(all);
  std::vector<std::pair<double, int>> turns(40);  // due, and who has waited longer
  for (EndpointIndex i = 0; i < 40; ++i) turns[i] = {1.0 / weights[i], i};
  double now = 0;
  for (int step = 0; step < 20'000; ++step) {
    if (step % 20 == 0) {
      stage.hidden.clear();
      const std::uint_fast32_t hidden = random() % 101;
      for (EndpointIndex i = 1; i < 40; ++i) {
        if (random() % 100 < hidden) stage.hidden.insert(i);
      }
      const auto changed = static_cast<EndpointIndex>(random() % 40);
      stage.weights[changed] = static_cast<double>(1 + random() % 40) / 10;
      balancer->set_weight(changed, stage.weights[changed]);
    }
    EndpointIndex first = 0;
    for (EndpointIndex i = 1; i < 40; ++i) {
      if (stage.usable(i) && turns[i] < turns[first]) first = i;
    }
    ASSERT_EQ(balancer->pick(stage, 0), first) << step;
    now = std::max(now, turns[first].first);
    turns[first] = {now + 1.0 / stage.weights[first], 40 + step};
  }
}

TEST(LeastConnections, PicksTheLeastLoadedByWeight) {
  const Members all = members({1, 2});
  const auto balancer = make(Balance::least_connections, all);
  Stage stage(all);
  stage.loads = {2, 4};
  EXPECT_EQ(balancer->pick(stage, 0), 1U);
  stage.loads = {0, 4};
  balancer->eased(0, 0);
  EXPECT_EQ(balancer->pick(stage, 0), 0U);
}

// Against the plain definition, over a random history of sessions, some endpoints out of bounds,
// weights that change.
TEST(LeastConnections, IsNeverWrong) {
  std::minstd_rand random(7);
  std::vector<std::uint32_t> weights(20);
  for (std::uint32_t& weight : weights) weight = 1 + random() % 4;
  const Members all = members(weights);
  const auto balancer = make(Balance::least_connections, all);
  Stage stage(all);
  std::vector<EndpointIndex> sessions;
  for (int step = 0; step < 20'000; ++step) {
    if (step % 50 == 0) {
      stage.hidden.clear();
      for (EndpointIndex i = 0; i < 20; ++i) {
        if (random() % 4 == 0) stage.hidden.insert(i);
      }
      const auto changed = static_cast<EndpointIndex>(random() % 20);
      stage.weights[changed] = (1.0 + static_cast<double>(random() % 40)) / 10;
      balancer->set_weight(changed, stage.weights[changed]);
    }
    if (!sessions.empty() && random() % 2 == 0) {
      std::swap(sessions[random() % sessions.size()], sessions.back());
      const EndpointIndex ended = sessions.back();
      sessions.pop_back();
      balancer->eased(ended, --stage.loads[ended]);
      continue;
    }
    const auto weighed = [&](EndpointIndex i) { return (stage.load(i) + 1.0) / stage.weights[i]; };
    double least = 1e9;
    for (EndpointIndex i = 0; i < 20; ++i) {
      if (stage.usable(i)) least = std::min(least, weighed(i));
    }
    const auto picked = balancer->pick(stage, 0);
    ASSERT_TRUE(picked.has_value());
    ASSERT_TRUE(stage.usable(*picked));
    ASSERT_DOUBLE_EQ(weighed(*picked), least);
    sessions.push_back(*picked);
    ++stage.loads[*picked];
  }
}

TEST(LeastConnections, GoesRoundAmongEquals) {
  const Members all = equal_members(3);
  const auto result = picks(*make(Balance::least_connections, all), Stage(all), 30);
  for (EndpointIndex i = 0; i < 3; ++i) EXPECT_EQ(result.at(i), 10);
}

TEST(RandomTwo, DependsOnTheSeedAlone) {
  const Members all = equal_members(50);
  const auto sequence = [&](std::uint64_t seed) {
    const auto balancer = Balancer::make(Balance::random_two, all, seed);
    std::vector<EndpointIndex> result(20);
    for (EndpointIndex& each : result) each = balancer->pick(Stage(all), 0).value();
    return result;
  };
  EXPECT_EQ(sequence(1), sequence(1));
  EXPECT_NE(sequence(1), sequence(2));
}

// The fullest of n after n * m sessions: m + ln ln n / ln 2 + O(1) with two choices, about
// m + sqrt(2 m ln n) with one.
TEST(RandomTwo, IsMoreEvenThanChance) {
  const Members all = equal_members(100);
  Stage two(all);
  fill(*make(Balance::random_two, all), two, 10'000);
  EXPECT_LE(std::ranges::max(two.loads), 104U);
  std::mt19937_64 random(9);
  Stage one(all);
  for (int i = 0; i < 10'000; ++i) ++one.loads[random() % 100];
  EXPECT_GE(std::ranges::max(one.loads), 115U);
}

// With two endpoints, both are drawn each time: the less loaded one is always picked.
TEST(RandomTwo, DrawsTwoDifferentOnes) {
  const Members all = members({1, 256});
  const auto balancer = make(Balance::random_two, all);
  Stage stage(all);
  stage.loads = {0, 256};
  for (int i = 0; i < 1000; ++i) ASSERT_EQ(balancer->pick(stage, 0), 0U);
}

// How often each is picked when the loads do not differ by weight: 1 of two draws, either first.
// Few are usable, and many: the chances are the same.
TEST(RandomTwo, DrawsByWeightHoweverManyAreUsable) {
  for (const std::size_t others : {std::size_t{0}, std::size_t{3}, std::size_t{200}}) {
    std::vector<std::uint32_t> weights(3 + others, 2);
    weights[0] = 1;
    weights[2] = 3;
    const Members all = members(weights);
    Stage stage(all);
    for (std::size_t i = 3; i < all.size(); ++i) stage.hidden.insert(static_cast<EndpointIndex>(i));
    stage.loads[0] = 9;  // loses against both: is picked never
    stage.loads[1] = 19;
    stage.loads[2] = 0;  // wins against both: is picked whenever it is drawn
    const auto result = picks(*make(Balance::random_two, all), stage, 30'000);
    // Not drawn: 1 then 2, or 2 then 1, by weights of 1, 2 and 3.
    const double missed = 1.0 / 6 * 2 / 5 + 2.0 / 6 * 1 / 4;
    EXPECT_NEAR(result.at(2) / 30'000.0, 1 - missed, 0.01) << others;
  }
}

}  // namespace
}  // namespace weir::pool
