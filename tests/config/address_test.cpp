#include "config/address.hpp"

#include <gtest/gtest.h>

namespace weir::config {
namespace {

TEST(Address, ReadsAndWritesEachKind) {
  const auto v4 = parse_address("10.0.0.5:9000");
  ASSERT_TRUE(v4) << v4.error();
  EXPECT_EQ(*v4, (Address{Address::Kind::ipv4, "10.0.0.5", 9000}));
  EXPECT_EQ(v4->text(), "10.0.0.5:9000");
  const auto v6 = parse_address("[2001:DB8::0:1]:0");
  ASSERT_TRUE(v6) << v6.error();
  EXPECT_EQ(*v6, (Address{Address::Kind::ipv6, "2001:db8::1", 0}));
  EXPECT_EQ(v6->text(), "[2001:db8::1]:0");
  const auto local = parse_address("unix:/run/app.sock");
  ASSERT_TRUE(local) << local.error();
  EXPECT_EQ(*local, (Address{Address::Kind::unix_socket, "/run/app.sock", 0}));
  EXPECT_EQ(local->text(), "unix:/run/app.sock");
}

TEST(Address, SaysHowToWriteWhatIsWrong) {
  const std::pair<std::string, std::string> cases[] = {
      {"1.2.3.4:70000", "port `70000` is out of range: 0 to 65535"},
      {"1.2.3.4:99999999999999999999", "is out of range"},
      {"1.2.3.4:080", "port `080` starts with 0"},
      {"1.2.3.4:-1", "`-1` is not a port number"},
      {"1.2.3.4:http", "`http` is not a port number"},
      {"1.2.3.4", "has no port: write `1.2.3.4:443`"},
      {"::1", "has no port: write `[::1]:443`"},
      {"[::1]", "has no port"},
      {"2001:db8::1:80:443:5:6:7", "IPv6 address in brackets"},
      {"[1.2.3.4]:80", "brackets are for IPv6"},
      {"[::1:80", "is not an address"},
      {":8443", "for all addresses write `0.0.0.0` or `[::]`"},
      {"*:8443", "for all addresses write `0.0.0.0` or `[::]`"},
      {"[fe80::1%eth0]:80", "zone"},
      {"localhost:80", "is not an address"},
      {"1.2.3.4.5:80", "is not an address"},
      {"", "has no IP address"},
      {"unix:run/app.sock", "absolute path"},
      {"unix:", "absolute path"},
      {"unix:/" + std::string(200, 'x'), "too long for a unix socket"},
  };
  for (const auto& [text, message] : cases) {
    const auto address = parse_address(text);
    ASSERT_FALSE(address) << text;
    EXPECT_NE(address.error().find(message), std::string::npos) << address.error();
  }
}

TEST(Address, TellsNamesFromAddresses) {
  EXPECT_TRUE(is_name_and_port("db.internal:5432"));
  EXPECT_TRUE(is_name_and_port("localhost:80"));
  EXPECT_FALSE(is_name_and_port("10.0.0.1:80"));
  EXPECT_FALSE(is_name_and_port("[::1]:80"));
  EXPECT_FALSE(is_name_and_port("db.internal"));
  EXPECT_FALSE(is_name_and_port("db internal:80"));
  EXPECT_FALSE(is_name_and_port(":80"));
}

TEST(Network, ReadsBothFamilies) {
  const auto v4 = parse_network("10.0.0.0/8");
  ASSERT_TRUE(v4) << v4.error();
  EXPECT_FALSE(v4->is_v6);
  EXPECT_EQ(v4->prefix_length, 8);
  EXPECT_EQ(v4->bytes[0], 10);
  EXPECT_EQ(v4->text, "10.0.0.0/8");
  const auto v6 = parse_network("2001:db8::/32");
  ASSERT_TRUE(v6) << v6.error();
  EXPECT_TRUE(v6->is_v6);
  EXPECT_EQ(v6->prefix_length, 32);
  EXPECT_EQ(v6->bytes[1], 1);
  EXPECT_EQ(parse_network("0.0.0.0/0")->prefix_length, 0);
  EXPECT_EQ(parse_network("192.0.2.7")->prefix_length, 32);
  EXPECT_EQ(parse_network("::1")->prefix_length, 128);
}

TEST(Network, RefusesWhatIsNoNetwork) {
  const std::pair<std::string, std::string> cases[] = {
      {"10.1.2.3/8", "write `10.0.0.0/8`"},
      {"2001:db8::1/32", "write `2001:db8::/32`"},
      {"10.0.0.0/33", "0 to 32"},
      {"::/129", "0 to 128"},
      {"10.0.0.0/", "prefix length"},
      {"10.0.0.0/-1", "prefix length"},
      {"10.0.0.0/08", "prefix length"},
      {"10/8", "is not a network"},
      {"", "is not a network"},
  };
  for (const auto& [text, message] : cases) {
    const auto network = parse_network(text);
    ASSERT_FALSE(network) << text;
    EXPECT_NE(network.error().find(message), std::string::npos) << network.error();
  }
}

}  // namespace
}  // namespace weir::config
