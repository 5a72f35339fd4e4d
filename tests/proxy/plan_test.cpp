#include "proxy/plan.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/parse.hpp>

#include "proxy/running.hpp"

namespace weir::proxy {
namespace {

using config::Change;
using config::Effect;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

Change removed(Change::What what, std::string name, Effect effect, std::string of = "") {
  return {what, Change::How::removed, std::move(name), std::move(of), {}, effect};
}

Change changed(Change::What what, std::string name, Effect effect) {
  return {what, Change::How::changed, std::move(name), "", {{"key", "1", "2", effect}}, effect};
}

// Two listeners, two upstreams; each with every other.
Live some_live() {
  Live live;
  live.sessions = {{4, "web", "api", "10.0.0.1:1"},
                   {3, "mail", "api", "10.0.0.2:1"},
                   {2, "web", "files", "10.0.0.1:1"},
                   {1, "web", "api", "10.0.0.2:1", false},
                   {5, "web"}};
  live.open = live.sessions.size();
  live.endpoints = {{"api", "10.0.0.1:1", "10.0.0.1:1"},
                    {"api", "10.0.0.2:1", "name:1"},
                    {"api", "10.0.0.3:1", "name:1"},
                    {"files", "10.0.0.1:1", "10.0.0.1:1"}};
  return live;
}

TEST(Plan, OfAListenerThatGoesDrainsItsSessions) {
  const Plan plan =
      make_plan({removed(Change::What::listener, "web", Effect::sessions_drain)}, some_live());
  EXPECT_THAT(plan.touched.draining, ElementsAre(1, 2, 4, 5));
  EXPECT_THAT(plan.touched.closed, IsEmpty());
  EXPECT_EQ(plan_as_text(plan),
            "- listener web: its connections go on until they end; touches 4 open connections: "
            "drains 1, 2, 4, 5\n1 change: of 5 open connections, 0 closed, 4 draining\n");
}

TEST(Plan, OfAnUpstreamThatGoesClosesWhatIsConnected) {
  const Plan plan =
      make_plan({removed(Change::What::upstream, "api", Effect::sessions_closed)}, some_live());
  EXPECT_THAT(plan.touched.closed, ElementsAre(3, 4));
  EXPECT_THAT(plan.touched.draining, ElementsAre(1));
  EXPECT_THAT(plan_as_text(plan),
              HasSubstr("its connections are closed; touches 3 open connections: closes 3, 4, "
                        "drains 1\n"));
}

TEST(Plan, OfAnEndpointTouchesWhoIsConnectedToIt) {
  const auto touched = [](const std::string& name) {
    return make_plan({removed(Change::What::endpoint, name, Effect::sessions_closed, "api")},
                     some_live())
        .touched.closed;
  };
  EXPECT_THAT(touched("10.0.0.1:1"), ElementsAre(4));
  EXPECT_THAT(touched("name:1"), ElementsAre(3));
  EXPECT_THAT(touched("10.0.0.2:1"), IsEmpty());  // has left before
}

TEST(Plan, KeepsAnAddressThatIsWrittenOtherwiseNow) {
  const Plan plan = make_plan(
      {{Change::What::endpoint, Change::How::added, "10.0.0.2:1", "api", {}, Effect::none},
       removed(Change::What::endpoint, "name:1", Effect::sessions_closed, "api")},
      some_live());
  EXPECT_THAT(plan.touched.closed, IsEmpty());
}

TEST(Plan, CountsEachSessionOnceAndClosingIsStronger) {
  const Plan plan =
      make_plan({removed(Change::What::listener, "web", Effect::sessions_drain),
                 removed(Change::What::endpoint, "10.0.0.1:1", Effect::sessions_closed, "api")},
                some_live());
  EXPECT_THAT(plan.lines[0].touched.draining, ElementsAre(1, 2, 4, 5));
  EXPECT_THAT(plan.touched.closed, ElementsAre(4));
  EXPECT_THAT(plan.touched.draining, ElementsAre(1, 2, 5));
  EXPECT_THAT(plan_as_text(plan),
              HasSubstr("\n2 changes: of 5 open connections, 1 closed, 3 draining\n"));
}

TEST(Plan, TouchesNobodyWhoKeepsOlderRules) {
  for (const Effect effect : {Effect::none, Effect::new_sessions_only, Effect::idle_replaced}) {
    for (const Change::What what : {Change::What::listener, Change::What::upstream}) {
      const Plan plan =
          make_plan({changed(what, "web", effect), changed(what, "api", effect)}, some_live());
      EXPECT_THAT(plan.touched.closed, IsEmpty());
      EXPECT_THAT(plan.touched.draining, IsEmpty());
      EXPECT_THAT(plan_as_text(plan), HasSubstr("touches no open connection\n"));
    }
  }
  const Plan routes = make_plan(
      {removed(Change::What::route, "api", Effect::new_sessions_only, "web")}, some_live());
  EXPECT_THAT(routes.touched.draining, IsEmpty());
}

TEST(Plan, SaysThatNothingChanges) {
  EXPECT_EQ(plan_as_text(make_plan({}, some_live())), "nothing changes\n");
}

TEST(Plan, NamesSomeOfManyAndSaysWhatItDoesNotKnow) {
  Live live;
  for (std::uint64_t id = 1; id <= 25; ++id) live.sessions.push_back({id, "web"});
  live.open = 30;
  const std::string text = plan_as_text(
      make_plan({removed(Change::What::listener, "web", Effect::sessions_drain)}, live));
  EXPECT_THAT(text, HasSubstr(" 19, 20 and 5 more\n"));
  EXPECT_THAT(text, HasSubstr("\nonly 25 of them were looked at\n"));
}

TEST(Plan, IsJsonForPrograms) {
  const Plan plan =
      make_plan({changed(Change::What::process, "", Effect::next_start),
                 removed(Change::What::endpoint, "10.0.0.1:1", Effect::sessions_closed, "api")},
                some_live());
  EXPECT_EQ(boost::json::parse(plan_as_json(plan)), boost::json::parse(R"({
    "changes": [
      {"what": "process", "name": null, "of": null, "how": "changed", "effect": "next_start",
       "keys": [{"key": "key", "before": "1", "after": "2", "effect": "next_start"}],
       "touches": {"closed": [], "draining": []}},
      {"what": "endpoint", "name": "10.0.0.1:1", "of": "api", "how": "removed",
       "effect": "sessions_closed", "keys": [], "touches": {"closed": [4], "draining": []}}],
    "touches": {"closed": [4], "draining": []}, "open": 5, "looked_at": 5})"));
}

TEST(Running, ReadsWhatAWeirSays) {
  const auto live = read_live(
      R"({"upstreams": [{"name": "api", "endpoints": [
            {"address": "10.0.0.1:1", "configured": "name:1"}]}]})",
      R"({"total": 2, "connections": [
            {"id": 7, "listener": "web", "upstream": "api", "endpoint": "10.0.0.1:1",
             "state": "client_done"},
            {"id": 8, "listener": "web", "upstream": "", "endpoint": "", "state": "handshake"}]})");
  ASSERT_TRUE(live) << live.error();
  EXPECT_EQ(live->open, 2U);
  ASSERT_EQ(live->sessions.size(), 2U);
  EXPECT_EQ(live->sessions[0].id, 7U);
  EXPECT_EQ(live->sessions[0].endpoint, "10.0.0.1:1");
  EXPECT_TRUE(live->sessions[0].is_connected);
  EXPECT_FALSE(live->sessions[1].is_connected);
  ASSERT_EQ(live->endpoints.size(), 1U);
  EXPECT_EQ(live->endpoints[0].written, "name:1");
}

TEST(Running, RefusesWhatIsNoAnswerOfAWeirs) {
  const std::string good = R"({"upstreams": [], "total": 0, "connections": []})";
  EXPECT_TRUE(read_live(good, good));
  for (const char* bad :
       {"", "{", "[]", R"({"upstreams": 1, "total": 0, "connections": [1]})",
        R"({"upstreams": [{}], "total": -1, "connections": []})",
        R"({"upstreams": [{"name": 1, "endpoints": [{}]}], "connections": []})"}) {
    EXPECT_FALSE(read_live(bad, good)) << bad;
    EXPECT_FALSE(read_live(good, bad)) << bad;
  }
}

}  // namespace
}  // namespace weir::proxy
