#include "proxy/socket_address.hpp"

#include <arpa/inet.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/un.h>

namespace weir::proxy {
namespace {

SocketAddress v4(const char* host, std::uint16_t port) {
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  EXPECT_EQ(::inet_pton(AF_INET, host, &address.sin_addr), 1);
  return SocketAddress::from(reinterpret_cast<const sockaddr*>(&address));
}

SocketAddress v6(const char* host, std::uint16_t port) {
  sockaddr_in6 address{};
  address.sin6_family = AF_INET6;
  address.sin6_port = htons(port);
  EXPECT_EQ(::inet_pton(AF_INET6, host, &address.sin6_addr), 1);
  return SocketAddress::from(reinterpret_cast<const sockaddr*>(&address));
}

TEST(SocketAddress, ShowsIpv4WithItsPort) {
  EXPECT_EQ(v4("192.0.2.1", 4711).text(), "192.0.2.1:4711");
  EXPECT_EQ(v4("0.0.0.0", 0).text(), "0.0.0.0:0");
  EXPECT_EQ(v4("255.255.255.255", 65535).text(), "255.255.255.255:65535");
}

TEST(SocketAddress, ShowsIpv6InBrackets) {
  EXPECT_EQ(v6("2001:db8::1", 4711).text(), "[2001:db8::1]:4711");
  EXPECT_EQ(v6("::", 0).text(), "[::]:0");
  EXPECT_EQ(v6("2001:db8:1111:2222:3333:4444:5555:6666", 65535).text(),
            "[2001:db8:1111:2222:3333:4444:5555:6666]:65535");
}

TEST(SocketAddress, TurnsMappedIpv6IntoIpv4) {
  const SocketAddress mapped = v6("::ffff:192.0.2.1", 4711);
  EXPECT_EQ(mapped.family, SocketAddress::Family::ipv4);
  EXPECT_EQ(mapped.bytes, v4("192.0.2.1", 4711).bytes);
  EXPECT_EQ(mapped.text(), "192.0.2.1:4711");
}

TEST(SocketAddress, LeavesIpv6ThatOnlyLooksMappedAlone) {
  for (const char* host : {"::192.0.2.1", "64:ff9b::192.0.2.1", "::fffe:192.0.2.1"}) {
    EXPECT_EQ(v6(host, 1).family, SocketAddress::Family::ipv6) << host;
  }
}

TEST(SocketAddress, KeepsIpv4InTheFirstFourBytesAndTheRestZero) {
  const std::array<std::uint8_t, 16> expected{192, 0, 2, 1};
  EXPECT_EQ(v4("192.0.2.1", 4711).bytes, expected);
}

TEST(SocketAddress, HasNoPlaceForAUnixSocket) {
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  const SocketAddress local = SocketAddress::from(reinterpret_cast<const sockaddr*>(&address));
  EXPECT_EQ(local.family, SocketAddress::Family::unix_socket);
  EXPECT_EQ(local.text(), "unix");
}

TEST(SocketAddress, IsEmptyWhenThereIsNone) {
  EXPECT_EQ(SocketAddress{}.text(), "");
  sockaddr unknown{};
  unknown.sa_family = AF_UNSPEC;
  EXPECT_EQ(SocketAddress::from(&unknown).text(), "");
}

}  // namespace
}  // namespace weir::proxy
