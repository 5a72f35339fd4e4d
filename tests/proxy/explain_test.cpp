#include "proxy/explain.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <random>

#include "config/address.hpp"
#include "proxy/demo.hpp"
#include "proxy/tls_store.hpp"

namespace weir::proxy {
namespace {

using testing::EndsWith;
using testing::HasSubstr;
using testing::Not;

class ExplainTest : public testing::Test {
 protected:
  ExplainTest() {
    for (const char* name : {"a", "b", "c"}) {
      config::Upstream& upstream = config_.upstreams.emplace_back();
      upstream.name = name;
      upstream.endpoints.emplace_back().address = config::parse_address("10.0.0.5:9000").value();
    }
    config::Listener& listener = config_.listeners.emplace_back();
    listener.name = "web";
    listener.bind = {config::parse_address("127.0.0.1:8443").value()};
  }

  config::Listener& listener() { return config_.listeners[0]; }

  // A certificate for localhost and *.localhost.
  config::TlsSettings& terminate_tls() {
    listener().tls = "public";
    config::TlsSettings& settings = config_.tls["public"];
    settings.name = "public";
    const DemoCertificate made = make_demo_certificate();
    config::Certificate& certificate = settings.certificates.emplace_back();
    certificate.cert = "demo.pem";
    certificate.cert_pem = made.cert_pem;
    certificate.key_pem = made.key_pem;
    return settings;
  }

  void add_route(std::string upstream, config::RouteMatch match, std::string name = "") {
    config::Route& route = listener().routes.emplace_back();
    route.name = std::move(name);
    route.upstream = std::move(upstream);
    route.match = std::move(match);
  }

  std::expected<Explanation, std::string> ask(ExplainQuestion question) {
    std::vector<config::Problem> problems;
    const TlsStore tls = TlsStore::make(config_, problems);
    EXPECT_TRUE(problems.empty());
    if (question.listener.empty()) question.listener = "web";
    return explain(config_, tls, question);
  }

  config::Config config_;
};

TEST_F(ExplainTest, TellsWhichClientCertificatesAreLetIn) {
  using Kind = config::IdentityPattern::Kind;
  const std::string file = testing::TempDir() + "weir_explain_clients.pem";
  config::ClientCertificate& client = terminate_tls().client_certificate;
  std::ofstream(file) << *config_.tls["public"].certificates[0].cert_pem;
  listener().upstream = "a";
  client.ca = file;
  EXPECT_THAT(ask({}).value().text, Not(HasSubstr("client certificate")));
  client.verify = config::ClientVerify::optional;
  EXPECT_THAT(ask({}).value().text, HasSubstr("\nclient certificate: optional, signed by an "
                                              "authority in " +
                                              file + "\nupstream: a"));
  client.verify = config::ClientVerify::required;
  client.allow = {{Kind::common_name, "build-*"}, {Kind::dns, "*.svc.example"}};
  EXPECT_THAT(ask({}).value().text, HasSubstr(file + ", of cn:build-* or dns:*.svc.example\n"));
  std::filesystem::remove(file);
}

TEST_F(ExplainTest, TellsTheWholeWay) {
  terminate_tls().alpn = {"h2", "mqtt"};
  add_route("b", {.server_name = {"b.localhost"}}, "bees");
  add_route("c", {.alpn = {"h2"}, .client = {config::parse_network("10.1.0.0/16").value()}});
  add_route("a", {.server_name = {"*.localhost"}, .alpn = {"mqtt"}});
  config::Upstream& upstream = config_.upstreams[0];
  upstream.balance = config::Balance::hash;
  config::Endpoint& later = upstream.endpoints.emplace_back();
  later.address = config::parse_address("[::1]:9000").value();
  later.tier = 1;
  later.weight = 2;
  const Explanation told =
      ask({.server_name = "A.localhost", .alpn = {"mqtt"}, .client = "10.2.0.1"}).value();
  EXPECT_TRUE(told.has_upstream);
  EXPECT_EQ(told.text, R"(listener web: 127.0.0.1:8443, tls public
certificate: demo.pem
route 1 (bees): no, the server name a.localhost is not b.localhost
route 2: no, the protocol mqtt is not h2; the client address 10.2.0.1 is not 10.1.0.0/16
route 3: matches
upstream: a, balance hash on client_address
  tier 0: 10.0.0.5:9000
  tier 1: [::1]:9000 (weight 2)
)");
}

TEST_F(ExplainTest, NamesTheListenersOwnUpstream) {
  listener().upstream = "c";
  const Explanation told = ask({}).value();
  EXPECT_TRUE(told.has_upstream);
  EXPECT_THAT(told.text, HasSubstr("certificate: none, the listener terminates no TLS\n"
                                   "upstream: c (the listener's own), balance round_robin\n"));
}

TEST_F(ExplainTest, SaysThatThereIsNoRoute) {
  add_route("a", {.client = {config::parse_network("10.0.0.0/8").value(),
                             config::parse_network("::1").value()}});
  const Explanation told = ask({.client = "192.0.2.1"}).value();
  EXPECT_FALSE(told.has_upstream);
  EXPECT_THAT(told.text, HasSubstr("the client address 192.0.2.1 is none of 10.0.0.0/8, ::1\n"));
  EXPECT_THAT(told.text, EndsWith("the connection is closed (no_route)\n"));
  EXPECT_THAT(ask({}).value().text,
              HasSubstr("there is no client address, and it wants 10.0.0.0/8, ::1\n"));
}

TEST_F(ExplainTest, KnowsWhichCertificateIsShown) {
  config::TlsSettings& settings = terminate_tls();
  EXPECT_THAT(ask({.server_name = "localhost"}).value().text, HasSubstr("certificate: demo.pem\n"));
  EXPECT_THAT(ask({.server_name = "other.example"}).value().text,
              HasSubstr("certificate: demo.pem (the default)\n"));
  settings.unknown_server_name = config::UnknownServerName::reject;
  const Explanation told = ask({.server_name = "other.example"}).value();
  EXPECT_FALSE(told.has_upstream);
  EXPECT_THAT(told.text, HasSubstr("refused: no certificate is for other.example"));
  EXPECT_THAT(ask({}).value().text, HasSubstr("no certificate is for a client without a"));
}

TEST_F(ExplainTest, KnowsWhichProtocolIsAgreedOn) {
  config::TlsSettings& settings = terminate_tls();
  add_route("a", {.alpn = {"h2"}});
  EXPECT_THAT(ask({.alpn = {"h2"}}).value().text,
              HasSubstr("tls public offers none\nroute 1: no,"));
  settings.alpn = {"http/1.1"};
  const Explanation told = ask({.alpn = {"h2"}}).value();
  EXPECT_FALSE(told.has_upstream);
  EXPECT_THAT(ask({.alpn = {"h2", "http/1.1"}}).value().text,
              HasSubstr("protocol: http/1.1 is agreed on\nroute 1: no,"));
  EXPECT_THAT(told.text, HasSubstr("the handshake fails, tls public offers http/1.1\n"));
  EXPECT_THAT(told.text, Not(HasSubstr("route")));
}

TEST_F(ExplainTest, KnowsWhatAListenerWithoutTlsCannotKnow) {
  add_route("a", {.server_name = {"a.example"}});
  EXPECT_FALSE(ask({.server_name = "a.example"}).value().has_upstream);
  listener().proxy_protocol = config::AcceptProxy::require;
  const Explanation told = ask({.server_name = "a.example"}).value();
  EXPECT_TRUE(told.has_upstream);
  EXPECT_THAT(told.text, HasSubstr("127.0.0.1:8443, proxy_protocol require\n"));
}

TEST_F(ExplainTest, KnowsThatAServerBehindChoosesTheProtocol) {
  listener().passthrough = true;
  add_route("a", {.alpn = {"mqtt"}});
  add_route("b", {.server_name = {"b.example"}, .alpn = {"http/1.1"}});
  const Explanation told = ask({.server_name = "b.example", .alpn = {"h2", "http/1.1"}}).value();
  EXPECT_EQ(told.text, R"(listener web: 127.0.0.1:8443, tls passthrough
certificate: that of the server, TLS passes through
route 1: no, the protocol h2, http/1.1 is not mqtt
route 2: matches
upstream: b, balance round_robin
  tier 0: 10.0.0.5:9000
)");
  EXPECT_FALSE(ask({}).value().has_upstream);
}

TEST_F(ExplainTest, SeesAMappedAddressAsTheServerDoes) {
  add_route("a", {.client = {config::parse_network("192.0.2.0/24").value()}});
  EXPECT_TRUE(ask({.client = "::ffff:192.0.2.7"}).value().has_upstream);
}

TEST_F(ExplainTest, RefusesAQuestionThatCannotBeAnswered) {
  EXPECT_EQ(ask({.listener = "wab"}).error(), "there is no listener `wab`: did you mean `web`?");
  EXPECT_EQ(ask({.listener = "other"}).error(), "there is no listener `other`: there is web");
  EXPECT_EQ(ask({.client = "localhost"}).error(), "`localhost` is not an IP address");
  EXPECT_THAT(ask({.server_name = "a b"}).error(), HasSubstr("is not a host name"));
}

// The route that is said to match is the one that the server takes.
TEST_F(ExplainTest, AgreesWithTheRouteTable) {
  const std::uint64_t seed = 20261125;
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  const std::vector<std::string> names{"a.x", "b.x", "b.a.x", "*.x", "*.a.x"};
  const std::vector<std::string> addresses{"10.0.0.1", "10.1.0.1", "::1", ""};
  listener().proxy_protocol = config::AcceptProxy::accept;
  const std::vector<config::Network> networks{config::parse_network("10.0.0.0/16").value(),
                                              config::parse_network("::/0").value()};
  const std::vector<std::string> both{"mqtt", "h2"};
  const std::vector<std::string> none;
  for (int round = 0; round < 300; ++round) {
    listener().passthrough = random() % 2 == 0;
    listener().routes.clear();
    for (std::size_t i = 0; i < 4; ++i) {
      config::RouteMatch match;
      if (random() % 2 == 0) match.server_name = {names[random() % 5], names[random() % 5]};
      if (random() % 3 == 0) match.alpn = {"h2"};
      if (random() % 3 == 0) match.client = {networks[random() % 2]};
      add_route(config_.upstreams[random() % 3].name, match, fmt::format("r{}", i));
    }
    const Explanation told = ask({.server_name = names[random() % 3],
                                  .alpn = random() % 2 == 0 ? both : none,
                                  .client = addresses[random() % 4]})
                                 .value();
    std::string chosen;
    for (const config::Route& route : listener().routes) {
      if (told.text.contains(fmt::format("({}): matches", route.name))) chosen = route.upstream;
    }
    EXPECT_EQ(told.has_upstream, !chosen.empty()) << told.text;
    if (chosen.empty()) continue;
    EXPECT_THAT(told.text, HasSubstr("upstream: " + chosen + ","));
  }
}

}  // namespace
}  // namespace weir::proxy
