// The wheel never reads a clock: time is moved by hand.

#include "proxy/deadlines.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <random>
#include <vector>

namespace weir::proxy {
namespace {

using namespace std::chrono_literals;

class Alarm final : public Deadline {
 public:
  std::vector<TimePoint> fired;
  std::function<void(TimePoint)> then;

 private:
  void expired(TimePoint now) override {
    fired.push_back(now);
    if (then) then(now);
  }
};

const TimePoint start{100h};

TEST(Deadlines, FireAtTheirTimeAndNotBefore) {
  Deadlines wheel(start);
  Alarm alarm;
  alarm.set(wheel, start + 250ms);
  wheel.advance_to(start + 249ms);
  EXPECT_TRUE(alarm.fired.empty());
  wheel.advance_to(start + 250ms);
  EXPECT_EQ(alarm.fired.size(), 1U);
  wheel.advance_to(start + 10s);
  EXPECT_EQ(alarm.fired.size(), 1U);
}

TEST(Deadlines, DoNotFireOnceCleared) {
  Deadlines wheel(start);
  Alarm alarm;
  alarm.set(wheel, start + 5s);
  alarm.clear();
  wheel.advance_to(start + 1h);
  EXPECT_TRUE(alarm.fired.empty());
  EXPECT_EQ(wheel.count(), 0U);
}

TEST(Deadlines, MoveLaterAndEarlier) {
  Deadlines wheel(start);
  Alarm alarm;
  alarm.set(wheel, start + 1s);
  alarm.set(wheel, start + 5s);
  wheel.advance_to(start + 4s);
  EXPECT_TRUE(alarm.fired.empty());
  alarm.set(wheel, start + 4500ms);
  wheel.advance_to(start + 4500ms);
  EXPECT_EQ(alarm.fired.size(), 1U);
}

TEST(Deadlines, TellHowLongOneMaySleep) {
  Deadlines wheel(start);
  EXPECT_FALSE(wheel.may_sleep(start).has_value());
  Alarm alarm;
  alarm.set(wheel, start + 30ms);
  EXPECT_EQ(wheel.may_sleep(start), Nanoseconds(30ms));
  EXPECT_EQ(wheel.may_sleep(start + 40ms), Nanoseconds(0));
  wheel.advance_to(start + 40ms);
}

TEST(Deadlines, MayBeSetAgainWhileTheyFire) {
  Deadlines wheel(start);
  Alarm alarm;
  alarm.then = [&](TimePoint now) {
    if (alarm.fired.size() < 3) alarm.set(wheel, now + 100ms);
  };
  alarm.set(wheel, start + 100ms);
  for (int i = 1; i <= 10; ++i) wheel.advance_to(start + i * 100ms);
  EXPECT_EQ(alarm.fired.size(), 3U);
}

TEST(Deadlines, MayDestroyOthersWhileTheyFire) {
  Deadlines wheel(start);
  auto victim = std::make_unique<Alarm>();
  Alarm killer;
  killer.then = [&](TimePoint) { victim.reset(); };
  victim->set(wheel, start + 10ms);
  killer.set(wheel, start + 10ms);
  wheel.advance_to(start + 10ms);
  EXPECT_EQ(wheel.count(), 0U);
}

// Against the simplest thing that is right: a list of times.
TEST(Deadlines, AgreeWithAPlainListWhateverIsSet) {
  for (unsigned seed = 0; seed < 50; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937_64 random(seed);
    Deadlines wheel(start);
    std::vector<std::unique_ptr<Alarm>> alarms;
    std::vector<TimePoint> due;
    for (int i = 0; i < 200; ++i) {
      alarms.push_back(std::make_unique<Alarm>());
      const auto span = std::chrono::milliseconds(1 + random() % (1ULL << (random() % 30)));
      due.push_back(start + span);
      alarms.back()->set(wheel, due.back());
    }
    TimePoint now = start;
    for (int step = 0; step < 60; ++step) {
      now += std::chrono::milliseconds(random() % (1ULL << (random() % 26)));
      const std::size_t moved = random() % alarms.size();
      if (alarms[moved]->is_set()) {
        due[moved] = now + std::chrono::milliseconds(1 + random() % 5000);
        alarms[moved]->set(wheel, due[moved]);
      }
      wheel.advance_to(now);
      for (std::size_t i = 0; i < alarms.size(); ++i) {
        ASSERT_EQ(alarms[i]->fired.empty(), due[i] > now) << i;
      }
    }
  }
}

// Sleeping as long as it says never misses one and never takes many naps for one deadline.
TEST(Deadlines, WakeTheirOwnerInTimeAndSeldom) {
  Deadlines wheel(start);
  Alarm alarm;
  alarm.set(wheel, start + 3h + 17ms);
  TimePoint now = start;
  int naps = 0;
  while (alarm.fired.empty()) {
    const auto sleep = wheel.may_sleep(now);
    ASSERT_TRUE(sleep.has_value());
    now += *sleep;
    wheel.advance_to(now);
    ASSERT_LT(++naps, 10);
  }
  EXPECT_EQ(alarm.fired.front(), start + 3h + 17ms);
}

}  // namespace
}  // namespace weir::proxy
