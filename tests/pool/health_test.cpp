#include "pool/health.hpp"

#include <gtest/gtest.h>

namespace weir::pool {
namespace {

config::HealthCheck check() {
  config::HealthCheck result;
  result.healthy_after = 2;
  result.unhealthy_after = 3;
  return result;
}

TEST(Health, StartsHealthy) {
  EXPECT_TRUE(Health(check()).healthy());
}

TEST(Health, FailsAfterFailuresInARow) {
  Health health(check());
  EXPECT_EQ(health.record(false), Health::Change::none);
  EXPECT_EQ(health.record(false), Health::Change::none);
  EXPECT_EQ(health.record(true), Health::Change::none);  // the row begins anew
  EXPECT_EQ(health.record(false), Health::Change::none);
  EXPECT_EQ(health.record(false), Health::Change::none);
  EXPECT_EQ(health.record(false), Health::Change::became_unhealthy);
  EXPECT_FALSE(health.healthy());
}

TEST(Health, RecoversAfterSuccessesInARow) {
  Health health(check());
  for (int i = 0; i < 3; ++i) health.record(false);
  EXPECT_EQ(health.record(true), Health::Change::none);
  EXPECT_EQ(health.record(true), Health::Change::became_healthy);
}

TEST(Health, LooksMoreOftenWhileTheStateIsChanging) {
  Health health(check());
  EXPECT_EQ(health.next_interval(), check().interval);
  health.record(false);
  EXPECT_EQ(health.next_interval(), check().fast_interval);
  health.record(true);
  EXPECT_EQ(health.next_interval(), check().interval);
}

}  // namespace
}  // namespace weir::pool
