#pragma once
// The PROXY protocol, versions 1 and 2 (proxy-protocol.txt of HAProxy): the first bytes of a
// connection say whom it is made for. Reads what other proxies send and writes what servers are
// told. Pure: bytes in, a decision out. Whom to believe is the caller's matter; sizes are bounded,
// but texts are what the sender wrote, any byte in them, except for the authority.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "config/config.hpp"
#include "proxy/socket_address.hpp"

namespace weir::proxy {

struct ProxyHeader {
  static constexpr std::size_t most_size = 4096;      // a longer header is malformed
  static constexpr std::size_t most_text = 255;       // a longer text counts as absent
  static constexpr std::size_t most_unique_id = 128;  // a longer one is malformed

  std::size_t size = 0;  // bytes of the whole header: what follows belongs to the connection
  // The connection's own addresses stand (version 1: UNKNOWN, version 2: LOCAL or an unspecified
  // family or transport), and source and destination are none.
  bool local = false;
  SocketAddress source;       // the client
  SocketAddress destination;  // where the client connected to

  // Version 2 only, empty where the header does not say it.
  std::string authority;  // a host name, lower case; one that is no host name counts as absent
  std::string alpn;
  std::string unique_id;
  bool client_tls = false;          // the client speaks TLS with the sender
  bool client_certificate = false;  // and has shown a certificate in this TLS session,
  bool client_verified = false;     // which the sender has verified
  std::string tls_version;          // "TLSv1.3"
  std::string tls_cipher;
  std::string tls_common_name;  // of the client's certificate, verified or not
};

struct ProxyReading {
  enum class State : std::uint8_t {
    incomplete,  // more bytes are needed: never with ProxyHeader::most_size bytes
    absent,      // these bytes cannot begin a header
    malformed,   // it began as a header, but no further bytes can make it one
    complete
  };
  State state = State::incomplete;
  std::string_view why;  // malformed: for the log; static
  ProxyHeader header;    // complete
};

// `seen` are the first bytes of the connection, what follows the header included. Decides as soon
// as the bytes allow it. The same type of TLV twice: the first counts.
ProxyReading read_proxy_header(std::span<const std::byte> seen);

// What a server is told. Version 1 has room for the addresses only.
struct ProxyFacts {
  SocketAddress source;
  SocketAddress destination;
  std::string authority;
  std::string alpn;
  std::string unique_id;
  // Without `tls` the rest is not said.
  bool tls = false;
  bool certificate = false;  // the client showed one; `verified` or a common name imply it
  bool resumed = false;      // it did so when the TLS session began, not on this connection
  bool verified = false;
  std::string tls_version;
  std::string tls_cipher;
  std::string common_name;
};

// The header's bytes, at most ProxyHeader::most_size. One IPv4 and one IPv6 address: the IPv4 one
// becomes IPv4-mapped. One that is no IP address: version 1 says UNKNOWN, version 2 LOCAL, then
// with the facts but for the addresses. A text that is longer than a reader of ours would take is
// left out: cut short it would name something else.
std::string proxy_header(config::SendProxy version, const ProxyFacts& facts);
// For connections without a client, such as health checks: UNKNOWN or LOCAL.
std::string local_proxy_header(config::SendProxy version);

// CRC-32C (RFC 3720, appendix B.4); `before` is that of the bytes before these.
std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before = 0);

}  // namespace weir::proxy
