#include "proxy/descriptor_watch.hpp"

#include <gtest/gtest.h>

namespace weir::proxy {
namespace {

TEST(Descriptors, AreNoConcernWhileThereAreEnough) {
  const DescriptorPlan plan = plan_descriptors(900, 1000);
  EXPECT_EQ(plan.pressure, pool::Pressure::none);
  EXPECT_EQ(plan.to_close, 0U);
}

TEST(Descriptors, BelowTenPercentEndWarming) {
  const DescriptorPlan plan = plan_descriptors(901, 1000);
  EXPECT_EQ(plan.pressure, pool::Pressure::no_warming);
  EXPECT_EQ(plan.to_close, 0U);
}

TEST(Descriptors, BelowFivePercentCostIdleConnections) {
  EXPECT_EQ(plan_descriptors(950, 1000).to_close, 0U);
  EXPECT_EQ(plan_descriptors(951, 1000).to_close, 1U);
  EXPECT_EQ(plan_descriptors(1000, 1000).to_close, 50U);
  EXPECT_EQ(plan_descriptors(1010, 1000).to_close, 50U);  // the limit was lowered meanwhile
}

}  // namespace
}  // namespace weir::proxy
