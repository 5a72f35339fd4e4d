#include "proxy/outcome.hpp"

namespace weir::proxy {
namespace {

struct Row {
  std::string_view word;
  Side side;
};

constexpr std::array<Row, reason_count> rows{{
    {"client_closed", Side::client},
    {"client_reset", Side::client},
    {"client_timeout", Side::client},
    {"client_tls_failed", Side::client},
    {"client_denied", Side::client},
    {"server_closed", Side::server},
    {"server_reset", Side::server},
    {"upstream_refused", Side::server},
    {"upstream_unreachable", Side::server},
    {"upstream_timeout", Side::server},
    {"upstream_tls_failed", Side::server},
    {"no_route", Side::weir},
    {"no_healthy_endpoint", Side::weir},
    {"pool_full", Side::weir},
    {"acquire_timeout", Side::weir},
    {"idle_timeout", Side::weir},
    {"half_close_timeout", Side::weir},
    {"session_timeout", Side::weir},
    {"drained", Side::weir},
    {"killed", Side::weir},
    {"descriptors", Side::weir},
    {"internal", Side::weir},
}};

}  // namespace

std::string_view word(Side side) {
  switch (side) {
    case Side::client:
      return "client";
    case Side::server:
      return "server";
    case Side::weir:
      break;
  }
  return "weir";
}

std::string_view word(Reason reason) {
  return rows[static_cast<std::size_t>(reason)].word;
}

Side side_of(Reason reason) {
  return rows[static_cast<std::size_t>(reason)].side;
}

}  // namespace weir::proxy
