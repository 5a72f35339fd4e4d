#pragma once
// The address of one end of a connection as the kernel gave it: a value of 20 bytes that is turned
// into text only where a person reads it. Pure.

#include <array>
#include <cstdint>
#include <string>

struct sockaddr;

namespace weir::proxy {

struct SocketAddress {
  enum class Family : std::uint8_t { none, ipv4, ipv6, unix_socket };
  Family family = Family::none;
  std::uint16_t port = 0;
  std::array<std::uint8_t, 16> bytes{};  // IPv4 in the first 4

  // IPv4-mapped IPv6 addresses become IPv4: a network of the configuration matches either spelling.
  static SocketAddress from(const sockaddr* address);

  // "192.0.2.1:4711", "[2001:db8::1]:4711", "unix" or "".
  std::string text() const;
};

}  // namespace weir::proxy
