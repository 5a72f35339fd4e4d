#include "proxy/socket_address.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <cstring>

namespace weir::proxy {

SocketAddress SocketAddress::from(const sockaddr* address) {
  SocketAddress result;
  if (address->sa_family == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(address);
    result.family = Family::ipv4;
    result.port = ntohs(in->sin_port);
    std::memcpy(result.bytes.data(), &in->sin_addr, 4);
  } else if (address->sa_family == AF_INET6) {
    const auto* in6 = reinterpret_cast<const sockaddr_in6*>(address);
    const auto* bytes = in6->sin6_addr.s6_addr;
    result.port = ntohs(in6->sin6_port);
    if (IN6_IS_ADDR_V4MAPPED(&in6->sin6_addr)) {
      result.family = Family::ipv4;
      std::memcpy(result.bytes.data(), bytes + 12, 4);
    } else {
      result.family = Family::ipv6;
      std::memcpy(result.bytes.data(), bytes, 16);
    }
  } else if (address->sa_family == AF_UNIX) {
    result.family = Family::unix_socket;
  }
  return result;
}

std::string SocketAddress::text() const {
  std::array<char, INET6_ADDRSTRLEN> text_form{};
  switch (family) {
    case Family::ipv4:
      ::inet_ntop(AF_INET, bytes.data(), text_form.data(), text_form.size());
      return fmt::format("{}:{}", text_form.data(), port);
    case Family::ipv6:
      ::inet_ntop(AF_INET6, bytes.data(), text_form.data(), text_form.size());
      return fmt::format("[{}]:{}", text_form.data(), port);
    case Family::unix_socket:
      return "unix";
    case Family::none:
      break;
  }
  return "";
}

}  // namespace weir::proxy
