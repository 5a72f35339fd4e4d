#include "proxy/route.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>

#include "config/address.hpp"

namespace weir::proxy {
namespace {

SocketAddress client(const char* ip) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  ::inet_pton(AF_INET, ip, &address.sin_addr);
  return SocketAddress::from(reinterpret_cast<const sockaddr*>(&address));
}

config::Route route(std::string name, std::string upstream, config::RouteMatch match) {
  config::Route result;
  result.name = std::move(name);
  result.upstream = std::move(upstream);
  result.match = std::move(match);
  return result;
}

class RouteTest : public testing::Test {
 protected:
  RouteTest() {
    for (const char* name : {"a", "b", "c", "fallback"}) {
      upstreams_.emplace_back().name = name;
    }
    listener_.upstream = "fallback";
  }

  std::string choose(std::string_view server_name,
                     const std::vector<std::string_view>& protocols = {},
                     const char* ip = "192.0.2.1") {
    const RouteTable table(listener_, by_position(upstreams_));
    const RouteChoice choice = table.choose(server_name, protocols, client(ip));
    return choice.upstream == RouteChoice::no_upstream ? "" : upstreams_[choice.upstream].name;
  }

  config::Listener listener_;
  std::vector<config::Upstream> upstreams_;
};

TEST_F(RouteTest, MatchesAnExactServerName) {
  listener_.routes = {route("", "a", {.server_name = {"a.example"}})};
  EXPECT_EQ(choose("a.example"), "a");
  EXPECT_EQ(choose("b.example"), "fallback");
  EXPECT_EQ(choose(""), "fallback");
}

TEST_F(RouteTest, MatchesAWildcardBelowItsName) {
  listener_.routes = {route("", "a", {.server_name = {"*.a.example"}})};
  EXPECT_EQ(choose("x.a.example"), "a");
  EXPECT_EQ(choose("x.y.a.example"), "a");
  EXPECT_EQ(choose("a.example"), "fallback");
  EXPECT_EQ(choose("xa.example"), "fallback");
}

TEST_F(RouteTest, TakesTheFirstThatMatches) {
  listener_.routes = {route("", "a", {.server_name = {"*.example"}}),
                      route("", "b", {.server_name = {"x.example"}}), route("", "c", {})};
  EXPECT_EQ(choose("x.example"), "a");
  EXPECT_EQ(choose("x.other"), "c");
}

TEST_F(RouteTest, WantsEveryCondition) {
  listener_.routes = {route("", "a",
                            {.server_name = {"a.example"},
                             .alpn = {"mqtt"},
                             .client = {config::parse_network("10.0.0.0/8").value()}})};
  EXPECT_EQ(choose("a.example", {"mqtt"}, "10.1.2.3"), "a");
  EXPECT_EQ(choose("a.example", {"http/1.1"}, "10.1.2.3"), "fallback");
  EXPECT_EQ(choose("a.example", {"mqtt"}, "11.1.2.3"), "fallback");
}

TEST_F(RouteTest, MatchesAnyProtocolThatIsOffered) {
  listener_.routes = {route("", "a", {.alpn = {"mqtt", "h2"}})};
  EXPECT_EQ(choose("", {"http/1.1", "h2"}), "a");
  EXPECT_EQ(choose("", {"h2", "http/1.1"}), "a");
  EXPECT_EQ(choose("", {"http/1.1", "http/1.0"}), "fallback");
  EXPECT_EQ(choose(""), "fallback");
}

TEST_F(RouteTest, HasNoUpstreamWithoutADefault) {
  listener_.upstream.clear();
  listener_.routes = {route("", "a", {.server_name = {"a.example"}})};
  EXPECT_EQ(choose("b.example"), "");
}

TEST(Network, HoldsTheAddressesOfItsPrefix) {
  const auto network = config::parse_network("192.0.2.128/25").value();
  EXPECT_TRUE(contains(network, client("192.0.2.128")));
  EXPECT_TRUE(contains(network, client("192.0.2.255")));
  EXPECT_FALSE(contains(network, client("192.0.2.127")));
  EXPECT_TRUE(contains(config::parse_network("0.0.0.0/0").value(), client("8.8.8.8")));
}

TEST(Network, SeesAMappedAddressAsIPv4) {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  ::inet_pton(AF_INET6, "::ffff:192.0.2.7", &address.sin6_addr);
  const auto mapped = SocketAddress::from(reinterpret_cast<const sockaddr*>(&address));
  EXPECT_TRUE(contains(config::parse_network("192.0.2.0/24").value(), mapped));
  EXPECT_EQ(mapped.text(), "192.0.2.7:0");
}

}  // namespace
}  // namespace weir::proxy
