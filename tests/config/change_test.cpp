#include "config/change.hpp"

#include <gtest/gtest.h>

#include <cstdlib>

#include "config/schema.hpp"
#include "config/value.hpp"
#include "tests/config/load.hpp"

namespace weir::config {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;

// Of everything there is one, and each section that is chosen by its presence is there.
const std::string rich = R"(version: 1
tls:
  public:
    certificates: [ { cert: /dev/null, key: /dev/zero } ]
    alpn: [h2, mqtt]
listeners:
  web:
    bind: "127.0.0.1:8443"
    tls: public
    timeouts: { idle: 5m }
    routes:
      - { name: one, match: { server_name: [one.example] }, upstream: api }
      - { match: { alpn: [mqtt], client: [10.0.0.0/8] }, upstream: api }
      - { name: two, match: { server_name: [two.example] }, upstream: api }
    upstream: api
upstreams:
  api:
    endpoints: [ { address: "10.0.0.5:9000" }, { address: "db.example:5432", weight: 2 } ]
    tls: { server_name: api.internal, certificate: { cert: /dev/null, key: /dev/zero } }
    pool: { mode: reset, reset: { send: 'RESET\r\n', expect: '+RESET\r\n' } }
    health_check: { type: exchange, exchange: { send: a, expect: b } }
)";

std::vector<Change> changes_of(const std::string& before, const std::string& after) {
  return changes(config_of(before), config_of(after));
}

// What is said of the one change to `rich`.
std::vector<std::string> said(const std::string& what, const std::string& by,
                              const std::string& before = rich) {
  std::vector<std::string> lines;
  for (const Change& change : changes_of(before, replaced(before, what, by))) {
    lines.push_back(describe(change));
  }
  return lines;
}

// What might be another value than that of `rich`, whatever the key's type.
std::vector<Value> other_values() {
  std::vector<Value> values;
  for (const bool flag : {false, true}) {
    Value& value = values.emplace_back();
    value.flag = flag;
    value.text = "other";
    value.integer = 77;
    value.real = 7.5;
    value.word = flag ? 1 : 0;
    value.range = {77ms, 78ms};
    value.keepalive = {77s, 78s, 79};
    value.address = {Address::Kind::ipv4, "10.9.9.9", 99};
    value.network = {{10, 9}, false, 16, "10.9.0.0/16"};
    values.push_back(value);
    values.back().word = -1;
  }
  return values;
}

// With one value set to another, at the first of everything. Equal where that was its value.
Config with(const Config& before, const Key& key, const Value& value) {
  Config after = before;
  TlsSettings& settings = after.tls.begin()->second;
  Listener& listener = after.listeners.front();
  Upstream& upstream = after.upstreams.front();
  Certificate* certificate =
      key.path.starts_with("tls.") ? &settings.certificates.front() : &*upstream.tls->certificate;
  Target target{after,
                &settings,
                certificate,
                &listener,
                &listener.routes.front(),
                &upstream,
                &upstream.endpoints.front()};
  key.set(target, value);
  return after;
}

TEST(Change, SeesAnotherValueOfEveryKey) {
  const Config before = config_of(rich);
  std::size_t seen = 0;
  for (const Key& key : all_keys()) {
    const bool is_value =
        key.type != Type::section && key.type != Type::named && key.type != Type::list;
    if (!is_value || key.set == nullptr || key.path == "version") continue;
    bool differs = false;
    for (const Value& value : other_values()) {
      if (key.type == Type::choice && value.word < 0) continue;
      const Config after = with(before, key, value);
      if (after == before) continue;
      differs = true;
      EXPECT_THAT(changes(before, after), testing::Not(IsEmpty())) << key.path;
      EXPECT_THAT(changes(after, before), testing::Not(IsEmpty())) << key.path;
      ++seen;
    }
    EXPECT_TRUE(differs) << key.path;
  }
  EXPECT_GT(seen, 80U);
}

TEST(Change, IsNoneWhereTheMeaningIsTheSame) {
  EXPECT_THAT(changes_of(rich, rich), IsEmpty());
  EXPECT_THAT(said("idle: 5m", "idle: 300s, header: 10s"), IsEmpty());
  EXPECT_THAT(said("bind: \"127.0.0.1:8443\"", "bind: [ \"127.0.0.1:8443\" ]"), IsEmpty());
  for (const std::string& text : example_texts()) EXPECT_THAT(changes_of(text, text), IsEmpty());
}

TEST(Change, LooksAtNoOrderThatHasNoMeaning) {
  const std::string other = "  other: { bind: \"127.0.0.1:1\", upstream: api }\n";
  const std::string last = replaced(rich, "upstreams:\n", other + "upstreams:\n");
  const std::string first = replaced(rich, "listeners:\n", "listeners:\n" + other);
  EXPECT_THAT(changes_of(last, first), IsEmpty());
  EXPECT_THAT(said("{ address: \"10.0.0.5:9000\" }, { address: \"db.example:5432\", weight: 2 }",
                   "{ address: \"db.example:5432\", weight: 2 }, { address: \"10.0.0.5:9000\" }"),
              IsEmpty());
}

TEST(Change, OfTheProcessSaysWhatWaitsForTheNextStart) {
  EXPECT_THAT(said("version: 1",
                   "version: 1\nworkers: 3\ndrain: { timeout: 1m }\naccess_log: off\n"
                   "log: { level: warn }\nadmin: off"),
              ElementsAre("~ process: workers auto -> 3 (at the next start), "
                          "drain.timeout 30s -> 1m, log.level info -> warn, "
                          "access_log.path stdout -> off, "
                          "admin.bind 127.0.0.1:9180 -> off (in place)"));
}

TEST(Change, OfAListenerIsForNewSessions) {
  EXPECT_THAT(said("idle: 5m", "idle: 1m, session: 2h"),
              ElementsAre("~ listener web: timeouts.idle 5m -> 1m, timeouts.session 0 -> 2h "
                          "(for new connections)"));
  EXPECT_THAT(said("127.0.0.1:8443\"", "127.0.0.1:8444\""),
              ElementsAre("~ listener web: bind [127.0.0.1:8443] -> [127.0.0.1:8444] "
                          "(for new connections)"));
  EXPECT_THAT(said("    upstream: api\nupstreams", "upstreams"),
              ElementsAre("~ listener web: upstream api -> not set (for new connections)"));
}

TEST(Change, OfListenersThatComeAndGo) {
  const std::string both =
      replaced(rich, "upstreams:\n", "  b: { bind: \"127.0.0.1:1\", upstream: api }\nupstreams:\n");
  const std::vector<Change> come = changes_of(rich, both);
  ASSERT_EQ(come.size(), 1U);
  EXPECT_EQ(describe(come[0]), "+ listener b");
  EXPECT_EQ(come[0].effect, Effect::none);
  const std::vector<Change> gone = changes_of(both, rich);
  ASSERT_EQ(gone.size(), 1U);
  EXPECT_EQ(describe(gone[0]), "- listener b: its connections go on until they end");
  EXPECT_EQ(gone[0].effect, Effect::sessions_drain);
}

TEST(Change, OfRoutesKnowsThemByNameOrByWhatTheyMatch) {
  EXPECT_THAT(said("one.example", "1.example"),
              ElementsAre("~ route one of web: match.server_name [one.example] -> [1.example] "
                          "(for new connections)"));
  EXPECT_THAT(said("{ name: one, ", "{ name: uno, "),
              ElementsAre("+ route uno of web", "- route one of web: for new connections"));
  EXPECT_THAT(said("alpn: [mqtt]", "alpn: [h2]"),
              ElementsAre("+ route alpn: [h2], client: [10.0.0.0/8] of web",
                          "- route alpn: [mqtt], client: [10.0.0.0/8] of web: for new "
                          "connections"));
}

TEST(Change, OfTheOrderOfRoutes) {
  const std::string two =
      "      - { name: two, match: { server_name: [two.example] }, upstream: api }\n";
  const std::string first = replaced(replaced(rich, two, ""), "routes:\n", "routes:\n" + two);
  std::vector<std::string> lines;
  for (const Change& change : changes_of(rich, first)) lines.push_back(describe(change));
  EXPECT_THAT(lines, ElementsAre("~ listener web: routes [one, alpn: [mqtt], client: [10.0.0.0/8], "
                                 "two] -> [two, one, alpn: [mqtt], client: [10.0.0.0/8]] "
                                 "(for new connections)"));
}

TEST(Change, OfTlsSettings) {
  EXPECT_THAT(said("key: /dev/zero } ]\n", "key: /dev/zero } ]\n    profile: modern\n"),
              ElementsAre("~ tls public: profile intermediate -> modern (for new connections)"));
  EXPECT_THAT(
      said("[ { cert: /dev/null, key: /dev/zero } ]", "[ { cert: /dev/full, key: /dev/zero } ]"),
      ElementsAre("~ tls public: certificates [{cert: /dev/null, key: /dev/zero}] -> "
                  "[{cert: /dev/full, key: /dev/zero}] (for new connections)"));
}

TEST(Change, OfAPoolsLimitsIsInPlaceAndOfItsConnectionsReplacesThem) {
  EXPECT_THAT(said("mode: reset,", "mode: reset, max_connections: 9, open_rate: 10/s,"),
              ElementsAre("~ upstream api: pool.max_connections 0 -> 9, "
                          "pool.open_rate 0 -> 10/s (in place)"));
  EXPECT_THAT(said("api.internal", "b.internal"),
              ElementsAre("~ upstream api: tls.server_name api.internal -> b.internal "
                          "(idle connections to its servers are replaced)"));
  EXPECT_THAT(said("'RESET\\r\\n'", "'R\\xff\"\\r\\n'"),
              ElementsAre("~ upstream api: pool.reset.send \"RESET\\r\\n\" -> "
                          "\"R\\xff\\\"\\r\\n\" (idle connections to its servers are replaced)"));
  const auto found = changes_of(rich, replaced(rich, "mode: reset,", "mode: reset, min_idle: 1,"));
  EXPECT_EQ(found.at(0).effect, Effect::none);
}

TEST(Change, OfASectionThatComesOrGoesIsOneKey) {
  EXPECT_THAT(said("    health_check: { type: exchange, exchange: { send: a, expect: b } }\n", ""),
              ElementsAre("~ upstream api: health_check set -> not set (in place)"));
  EXPECT_THAT(said("upstreams:\n  api:\n", "upstreams:\n  api:\n    health_check: {}\n", smallest),
              ElementsAre("~ upstream api: health_check not set -> set (in place)"));
  const auto found =
      changes_of(smallest, smallest + "    tls: {}\n    attempts: 2\n    proxy_protocol: v2\n");
  ASSERT_EQ(found.size(), 1U);
  EXPECT_EQ(found[0].effect, Effect::idle_replaced);
  EXPECT_EQ(describe(found[0]),
            "~ upstream api: tls not set -> set, proxy_protocol off -> v2 (idle connections to "
            "its servers are replaced), attempts 3 -> 2 (for new connections)");
}

TEST(Change, OfEndpointsGoesByTheNewWhenEndpointRemoved) {
  const std::string one = ", { address: \"db.example:5432\", weight: 2 }";
  EXPECT_THAT(said(one, ""),
              ElementsAre("- endpoint db.example:5432 of api: its connections go on until they "
                          "end"));
  const std::string closing = replaced(rich, "mode: reset", "mode: fresh");
  const auto found = changes_of(
      replaced(closing, ", reset: { send: 'RESET\\r\\n', expect: '+RESET\\r\\n' }", ""),
      replaced(replaced(closing, ", reset: { send: 'RESET\\r\\n', expect: '+RESET\\r\\n' }", ""),
               one + " ]", " ]\n    when_endpoint_removed: close"));
  ASSERT_EQ(found.size(), 2U);
  EXPECT_EQ(describe(found[1]), "- endpoint db.example:5432 of api: its connections are closed");
  EXPECT_EQ(found[1].effect, Effect::sessions_closed);
  EXPECT_EQ(found[1].of, "api");
  EXPECT_THAT(said("weight: 2", "weight: 3, tier: 1"),
              ElementsAre("~ endpoint db.example:5432 of api: weight 2 -> 3, tier 0 -> 1 "
                          "(in place)"));
}

TEST(Change, OfAnUpstreamThatGoesIsByItsOwnWhenEndpointRemoved) {
  const std::string other = "  b: { endpoints: [ { address: \"10.0.0.6:1\" } ] }\n";
  const auto without = [](const std::string& text) { return *load(text).config; };
  const Config one = without(rich);
  EXPECT_THAT(describe(changes(without(rich + other), one).at(0)),
              "- upstream b: its connections go on until they end");
  const std::string closing =
      replaced(other, "endpoints", "when_endpoint_removed: close, endpoints");
  EXPECT_EQ(changes(without(rich + closing), one).at(0).effect, Effect::sessions_closed);
  EXPECT_THAT(describe(changes(one, without(rich + other)).at(0)), "+ upstream b");
}

TEST(Change, LetsNoControlCharacterOut) {
  EXPECT_EQ(
      describe({.what = Change::What::listener, .name = "a\x1B[2J", .keys = {{"k", "", "\n"}}}),
      "~ listener a?[2J: k not set -> ? (in place)");
}

}  // namespace
}  // namespace weir::config
