#pragma once
// What is known of one client connection, as a value: a line of the access log, a row of
// /connections. Copied from the worker that owns the session, then read by any thread.

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "pool/connection.hpp"
#include "proxy/outcome.hpp"
#include "proxy/socket_address.hpp"

namespace weir::proxy {

// What a session is doing, for the live view.
enum class Stage : std::uint8_t {
  accepted,
  header,
  handshake,
  acquiring,
  open,
  client_done,
  server_done
};
std::string_view word(Stage stage);

// Where the connection to the server came from.
enum class Source : std::uint8_t { none, idle, other_worker, opened };
std::string_view word(Source source);

struct ConnectionFacts {
  std::uint64_t id = 0;
  std::uint32_t worker = 0;
  Stage stage = Stage::accepted;
  Source source = Source::none;
  bool tls = false;
  bool tls_resumed = false;
  SocketAddress client;

  // Configured names. Empty = not chosen yet. Those of listeners and upstreams live as long as the
  // process, that of a route as long as `names`.
  std::shared_ptr<const void> names;
  std::string_view listener;
  std::string_view route;
  std::string_view upstream;
  pool::EndpointPointer endpoint;  // null = none yet

  std::string server_name;       // SNI, as the client sent it (untrusted bytes)
  std::string alpn;              // negotiated; where TLS is passed through: all that is offered
  std::string client_identity;   // by its certificate, "cn:build-7"; empty = none
  std::string_view tls_version;  // "TLSv1.3"; static
  std::string_view tls_cipher;   // static
  std::string detail;  // last error in words, e.g. "certificate has expired"; may be empty

  std::chrono::system_clock::time_point accepted_at;
  std::chrono::nanoseconds age{0};          // since accept; at the end: the duration
  std::chrono::nanoseconds idle{0};         // since the last byte in either direction
  std::chrono::nanoseconds handshake{-1};   // TLS with the client; -1 = did not happen
  std::chrono::nanoseconds acquire{-1};     // waiting for a server connection; -1 = did not happen
  std::chrono::nanoseconds first_byte{-1};  // first client byte sent to first server byte received

  // Bytes as the application sees them (inside TLS).
  std::uint64_t client_received = 0;
  std::uint64_t client_sent = 0;
  std::uint64_t server_received = 0;
  std::uint64_t server_sent = 0;
  std::uint32_t attempts = 0;  // endpoints tried

  Outcome outcome;  // access log only

  std::string_view endpoint_name() const {
    return endpoint ? std::string_view(endpoint->name) : std::string_view();
  }
};

}  // namespace weir::proxy
