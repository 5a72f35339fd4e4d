#include "pool/roster.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

namespace weir::pool {
namespace {

using Kind = config::Endpoint::Kind;
using testing::ElementsAre;
using testing::IsEmpty;

config::Address address(const std::string& host, std::uint16_t port) {
  return {config::Address::Kind::ipv4, host, port};
}

config::Endpoint written(Kind kind, const std::string& host, std::uint16_t port) {
  config::Endpoint endpoint;
  endpoint.kind = kind;
  endpoint.address = address(host, port);
  return endpoint;
}

config::Upstream upstream_of(std::vector<config::Endpoint> endpoints) {
  config::Upstream upstream;
  upstream.endpoints = std::move(endpoints);
  return upstream;
}

std::vector<std::string> names(const Roster& roster) {
  std::vector<std::string> all;
  for (const EndpointPointer& each : roster.endpoints()) all.push_back(each->name);
  return all;
}

TEST(Roster, IsCompleteWithAddressesAlone) {
  const Roster roster(upstream_of({written(Kind::address, "10.0.0.1", 1)}));
  EXPECT_TRUE(roster.is_complete());
  EXPECT_THAT(roster.queries(), IsEmpty());
  EXPECT_THAT(names(roster), ElementsAre("10.0.0.1:1"));
}

TEST(Roster, PutsAddressesBeforeWhatNamesLeadTo) {
  Roster roster(
      upstream_of({written(Kind::name, "db.internal", 5432), written(Kind::address, "10.0.0.1", 1),
                   written(Kind::address, "10.0.0.2", 2)}));
  roster.found(0, {{.address = address("10.0.0.9", 5432)}});
  EXPECT_THAT(names(roster), ElementsAre("10.0.0.1:1", "10.0.0.2:2", "10.0.0.9:5432"));
}

TEST(Roster, AsksForEachNameInItsOrder) {
  config::Upstream upstream = upstream_of(
      {written(Kind::name, "db.internal", 5432), written(Kind::service, "_sql._tcp.internal", 0)});
  upstream.dns.min = config::Duration(1234);

  const Roster roster(upstream);

  ASSERT_EQ(roster.queries().size(), 2U);
  EXPECT_EQ(roster.queries()[0].name, "db.internal");
  EXPECT_EQ(roster.queries()[0].port, 5432);
  EXPECT_FALSE(roster.queries()[0].is_service);
  EXPECT_EQ(roster.queries()[1].name, "_sql._tcp.internal");
  EXPECT_TRUE(roster.queries()[1].is_service);
  EXPECT_EQ(roster.queries()[1].dns.min, config::Duration(1234));
}

TEST(Roster, IsCompleteWhenEachNameHasBeenAnsweredOnce) {
  Roster roster(upstream_of({written(Kind::name, "a", 1), written(Kind::name, "b", 1)}));
  EXPECT_FALSE(roster.is_complete());
  roster.found(1, {});
  roster.found(1, {{.address = address("10.0.0.2", 1)}});
  EXPECT_FALSE(roster.is_complete());
  roster.found(0, {});
  EXPECT_TRUE(roster.is_complete());
}

TEST(Roster, SaysWhetherAnAnswerChangesAnything) {
  Roster roster(upstream_of({written(Kind::name, "db.internal", 1)}));
  const std::vector<Found> one{{.address = address("10.0.0.1", 1)}};
  const std::vector<Found> heavier{{.address = address("10.0.0.1", 1), .weight = 2}};
  EXPECT_TRUE(roster.found(0, {}));
  EXPECT_FALSE(roster.found(0, {}));
  EXPECT_TRUE(roster.found(0, one));
  EXPECT_FALSE(roster.found(0, one));
  EXPECT_TRUE(roster.found(0, heavier));
}

TEST(Roster, HasWhatTheLastAnswerHas) {
  Roster roster(upstream_of({written(Kind::name, "db.internal", 1)}));
  roster.found(0, {{.address = address("10.0.0.1", 1)}, {.address = address("10.0.0.2", 1)}});
  roster.found(0, {{.address = address("10.0.0.2", 1)}, {.address = address("10.0.0.3", 1)}});
  EXPECT_THAT(names(roster), ElementsAre("10.0.0.2:1", "10.0.0.3:1"));
}

TEST(Roster, HasEachAddressOnceAsTheFirstEntryHasIt) {
  config::Endpoint first = written(Kind::address, "10.0.0.1", 1);
  first.weight = 7;
  Roster roster(upstream_of({first, written(Kind::name, "a", 1), written(Kind::name, "b", 1)}));
  roster.found(0, {{.address = address("10.0.0.1", 1)}, {.address = address("10.0.0.2", 1)}});
  roster.found(1, {{.address = address("10.0.0.2", 1)}});

  EXPECT_THAT(names(roster), ElementsAre("10.0.0.1:1", "10.0.0.2:1"));
  EXPECT_EQ(roster.endpoints()[0]->weight, 7U);
  EXPECT_EQ(roster.endpoints()[1]->host, "a");
}

TEST(Roster, GivesWhatANameLeadsToTheWeightAndTierOfItsEntry) {
  config::Endpoint name = written(Kind::name, "db.internal", 1);
  name.weight = 3;
  name.tier = 2;
  Roster roster(upstream_of({name}));
  roster.found(0, {{.address = address("10.0.0.1", 1)}});

  const Endpoint endpoint = *roster.endpoints().at(0);

  EXPECT_EQ(endpoint.weight, 3U);
  EXPECT_EQ(endpoint.tier, 2U);
  EXPECT_EQ(endpoint.host, "db.internal");
}

TEST(Roster, GivesTheTargetsOfAServiceTheirOwnWeightsAndTiers) {
  config::Endpoint service = written(Kind::service, "_sql._tcp.internal", 0);
  service.tier = 1;
  Roster roster(upstream_of({service}));
  roster.found(0, {{.address = address("10.0.0.1", 1), .weight = 5, .tier = 2}});

  const Endpoint endpoint = *roster.endpoints().at(0);

  EXPECT_EQ(endpoint.weight, 5U);
  EXPECT_EQ(endpoint.tier, 3U);
  EXPECT_EQ(endpoint.host, "");
}

TEST(Roster, LeavesAServiceWithoutWeightWithoutSessions) {
  config::Endpoint service = written(Kind::service, "_sql._tcp.internal", 0);
  service.weight = 0;
  Roster roster(upstream_of({service}));
  roster.found(0, {{.address = address("10.0.0.1", 1), .weight = 5}});
  EXPECT_EQ(roster.endpoints().at(0)->weight, 0U);
}

TEST(Roster, HasSeatsForThoseWhoLeaveWhileOthersCome) {
  EXPECT_EQ(Roster::capacity(upstream_of({written(Kind::address, "10.0.0.1", 1)})), 1U);
  EXPECT_EQ(Roster::capacity(upstream_of(
                {written(Kind::address, "10.0.0.1", 1), written(Kind::name, "db.internal", 1)})),
            1 + 2 * Discovery::most_addresses);
}

}  // namespace
}  // namespace weir::pool
