#include "proxy/name_check.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/dns_server.hpp"

namespace weir::proxy {
namespace {

using namespace std::chrono_literals;
using pool::DnsRecord;
using testing::HasSubstr;

config::Config config_of(const pool::DnsServer& server, const std::vector<std::string>& names) {
  config::Config config;
  config::Upstream& upstream = config.upstreams.emplace_back();
  upstream.dns.servers = {server.address()};
  for (const std::string& name : names) {
    config::Endpoint& endpoint = upstream.endpoints.emplace_back();
    endpoint.kind = config::Endpoint::Kind::name;
    endpoint.address.host = name;
    endpoint.address.port = 80;
    endpoint.place = {"weir.yaml", static_cast<int>(upstream.endpoints.size()), 9};
  }
  upstream.endpoints.emplace_back().address = {config::Address::Kind::ipv4, "127.0.0.1", 80};
  return config;
}

TEST(NameCheck, WarnsOfNamesThatDoNotExist) {
  pool::DnsServer server;
  server.set("a.test", ns_t_a, {DnsRecord::a("10.0.0.1", 60)});
  const auto config = config_of(server, {"a.test", "b.test"});
  const auto problems = names_not_found(look_up_names(config, 10s));
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_EQ(problems[0].severity, config::Problem::Severity::warning);
  EXPECT_EQ(problems[0].place.line, 2);
  EXPECT_THAT(problems[0].message, HasSubstr("the name is not found here: b.test"));
}

TEST(NameCheck, SaysWhereNamesLead) {
  pool::DnsServer server;
  server.set("a.test", ns_t_a, {DnsRecord::a("10.0.0.1", 60), DnsRecord::a("10.0.0.2", 60)});
  const auto config = config_of(server, {"a.test", "b.test"});
  const auto answers = look_up_names(config, 10s);
  ASSERT_EQ(answers.size(), 2U);
  EXPECT_EQ(answers[0].endpoint, &config.upstreams[0].endpoints[0]);
  ASSERT_EQ(answers[0].found.size(), 2U);
  EXPECT_EQ(answers[0].found[1].address.text(), "10.0.0.2:80");
  EXPECT_EQ(answers[0].fault, "");
  EXPECT_TRUE(answers[1].found.empty());
  EXPECT_NE(answers[1].fault, "");
}

TEST(NameCheck, AsksNobodyWhereThereAreNoNames) {
  pool::DnsServer server;
  EXPECT_TRUE(look_up_names(config_of(server, {}), 10s).empty());
}

TEST(NameCheck, DoesNotWaitForSilentServers) {
  pool::DnsServer server;
  server.keep_silent("a.example", ns_t_a);
  server.keep_silent("a.example", ns_t_aaaa);
  const auto config = config_of(server, {"a.example"});
  const auto begun = std::chrono::steady_clock::now();
  const auto problems = names_not_found(look_up_names(config, 50ms));
  EXPECT_LT(std::chrono::steady_clock::now() - begun, 5s);
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_THAT(problems[0].message, HasSubstr("a.example: no answer within 50 ms"));
}

}  // namespace
}  // namespace weir::proxy
