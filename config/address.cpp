#include "config/address.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <sys/un.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cstring>
#include <optional>

#include "config/diagnostic.hpp"

namespace weir::config {
namespace {

struct NumericHost {
  std::array<std::uint8_t, 16> bytes{};
  bool is_v6 = false;
};

std::optional<NumericHost> parse_host(std::string_view text) {
  NumericHost host;
  const std::string terminated(text);
  if (terminated.find('\0') != std::string::npos) return std::nullopt;
  if (::inet_pton(AF_INET, terminated.c_str(), host.bytes.data()) == 1) return host;
  host.is_v6 = true;
  if (::inet_pton(AF_INET6, terminated.c_str(), host.bytes.data()) == 1) return host;
  return std::nullopt;
}

std::string host_text(const NumericHost& host) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(host.is_v6 ? AF_INET6 : AF_INET, host.bytes.data(), text.data(), text.size());
  return text.data();
}

// Decimal digits only, without sign or leading zero; -1 when it is not such a number.
long whole_number(std::string_view text) {
  if (text.empty() || text.size() > 9 || (text.size() > 1 && text.front() == '0')) return -1;
  long number = -1;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
  return error == std::errc{} && end == text.data() + text.size() && text.front() != '-' ? number
                                                                                         : -1;
}

std::expected<std::uint16_t, std::string> parse_port(std::string_view text) {
  const bool digits = !text.empty() && std::ranges::all_of(text, [](unsigned char c) {
    return std::isdigit(c) != 0;
  });
  if (!digits) return std::unexpected(fmt::format("{} is not a port number", in_backticks(text)));
  const long port = whole_number(text);
  if (port >= 0 && port <= 65535) return static_cast<std::uint16_t>(port);
  if (port < 0 && text.size() <= 5) {
    return std::unexpected(fmt::format("port {} starts with 0", in_backticks(text)));
  }
  return std::unexpected(fmt::format("port {} is out of range: 0 to 65535", in_backticks(text)));
}

std::expected<Address, std::string> parse_unix(std::string_view text) {
  const std::string_view path = text.substr(std::strlen("unix:"));
  if (!path.starts_with('/') || path.size() < 2) {
    return std::unexpected(
        fmt::format("{} needs an absolute path, such as `unix:/run/app.sock`", in_backticks(text)));
  }
  if (path.find('\0') != std::string_view::npos) {
    return std::unexpected(fmt::format("{} contains a NUL character", in_backticks("unix:/...")));
  }
  if (path.size() >= sizeof(sockaddr_un::sun_path)) {
    return std::unexpected(
        fmt::format("the path {} is too long for a unix socket: at most {} bytes",
                    in_backticks(path), sizeof(sockaddr_un::sun_path) - 1));
  }
  return Address{Address::Kind::unix_socket, std::string(path), 0};
}

// What to say about a text that is no address.
std::string not_an_address(std::string_view text, std::string_view host) {
  if (host.empty() || host == "*") {
    return fmt::format("{} has no IP address; for all addresses write `0.0.0.0` or `[::]`",
                       in_backticks(text));
  }
  if (host.find('%') != std::string_view::npos) {
    return fmt::format("{}: an address with a zone is not supported", in_backticks(text));
  }
  return fmt::format("{} is not an address: write `ip:port`, `[ip6]:port` or `unix:/path`",
                     in_backticks(text));
}

}  // namespace

std::string Endpoint::text() const {
  if (kind == Kind::service) return "srv:" + address.host;
  return address.text();
}

bool Upstream::has_names() const {
  return std::ranges::any_of(
      endpoints, [](const Endpoint& each) { return each.kind != Endpoint::Kind::address; });
}

std::string Address::text() const {
  switch (kind) {
    case Kind::ipv4:
      return fmt::format("{}:{}", host, port);
    case Kind::ipv6:
      return fmt::format("[{}]:{}", host, port);
    case Kind::unix_socket:
      return "unix:" + host;
  }
  return {};
}

std::expected<Address, std::string> parse_address(std::string_view text) {
  if (text.starts_with("unix:")) return parse_unix(text);
  const std::size_t colon = text.rfind(':');
  const bool bracketed = text.starts_with('[');
  if (bracketed && text.ends_with(']')) {
    return std::unexpected(fmt::format("{} has no port: write `{}:443`", in_backticks(text), text));
  }
  if (const auto bare = parse_host(text)) {
    const std::string host = bare->is_v6 ? fmt::format("[{}]", text) : std::string(text);
    return std::unexpected(fmt::format("{} has no port: write `{}:443`", in_backticks(text), host));
  }
  if (colon == std::string_view::npos) return std::unexpected(not_an_address(text, text));

  std::string_view host_part = text.substr(0, colon);
  if (bracketed) {
    if (!host_part.ends_with(']')) return std::unexpected(not_an_address(text, host_part));
    host_part = host_part.substr(1, host_part.size() - 2);
  }
  const auto host = parse_host(host_part);
  if (!host) return std::unexpected(not_an_address(text, host_part));
  if (host->is_v6 != bracketed) {
    return std::unexpected(
        host->is_v6 ? fmt::format("{}: write an IPv6 address in brackets, `[{}]:{}`",
                                  in_backticks(text), host_part, text.substr(colon + 1))
                    : fmt::format("{}: brackets are for IPv6 addresses", in_backticks(text)));
  }
  const auto port = parse_port(text.substr(colon + 1));
  if (!port) return std::unexpected(port.error());
  return Address{host->is_v6 ? Address::Kind::ipv6 : Address::Kind::ipv4, host_text(*host), *port};
}

std::expected<Network, std::string> parse_network(std::string_view text) {
  const std::size_t slash = text.find('/');
  const auto host = parse_host(text.substr(0, slash));
  if (!host) {
    return std::unexpected(fmt::format("{} is not a network: write `10.0.0.0/8` or `2001:db8::/32`",
                                       in_backticks(text)));
  }
  const int bits = host->is_v6 ? 128 : 32;
  const long prefix = slash == std::string_view::npos ? bits : whole_number(text.substr(slash + 1));
  if (prefix < 0 || prefix > bits) {
    return std::unexpected(
        fmt::format("{}: the prefix length must be 0 to {}", in_backticks(text), bits));
  }
  NumericHost masked = *host;
  for (int bit = static_cast<int>(prefix); bit < bits; ++bit) {
    const auto index = static_cast<std::size_t>(bit / 8);
    masked.bytes[index] = static_cast<std::uint8_t>(masked.bytes[index] & ~(0x80U >> (bit % 8)));
  }
  if (masked.bytes != host->bytes) {
    return std::unexpected(fmt::format("{} has bits beyond its prefix: write `{}/{}`",
                                       in_backticks(text), host_text(masked), prefix));
  }
  return Network{host->bytes, host->is_v6, static_cast<int>(prefix), std::string(text)};
}

bool is_name_and_port(std::string_view text) {
  const std::size_t colon = text.rfind(':');
  if (colon == std::string_view::npos || colon == 0 || !parse_port(text.substr(colon + 1))) {
    return false;
  }
  const std::string_view host = text.substr(0, colon);
  const bool has_letter =
      std::ranges::any_of(host, [](unsigned char c) { return std::isalpha(c) != 0; });
  return has_letter && std::ranges::all_of(host, [](unsigned char c) {
           return std::isalnum(c) != 0 || c == '-' || c == '.' || c == '_';
         });
}

}  // namespace weir::config
