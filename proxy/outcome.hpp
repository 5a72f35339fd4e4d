#pragma once
// How a session ended: which side ended it, and the reason, from the one closed list that the
// access log, the metrics and the API share. Pure values.

#include <array>
#include <cstddef>
#include <optional>
#include <string_view>

#include "pool/connection.hpp"

namespace weir::proxy {

enum class Side { client, server, weir };

enum class Reason {
  client_closed,
  client_reset,
  client_timeout,
  client_tls_failed,
  client_denied,
  server_closed,
  server_reset,
  upstream_refused,
  upstream_unreachable,
  upstream_timeout,
  upstream_tls_failed,
  no_route,
  no_healthy_endpoint,
  pool_full,
  acquire_timeout,
  idle_timeout,
  half_close_timeout,
  session_timeout,
  drained,
  killed,
  descriptors,
  internal,
};
inline constexpr std::size_t reason_count = 22;

struct Outcome {
  Side side = Side::weir;
  Reason reason = Reason::internal;
};

// The words of log lines, labels and JSON.
std::string_view word(Side side);
std::string_view word(Reason reason);

// The side that each reason belongs to: a reason always ends on the same side.
Side side_of(Reason reason);

// How a session ends that cannot have a connection; nothing for none.
std::optional<Reason> reason_for(pool::Failure failure);

inline Outcome outcome(Reason reason) {
  return {side_of(reason), reason};
}

}  // namespace weir::proxy
