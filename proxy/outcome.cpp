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

std::optional<Reason> reason_for(pool::Failure failure) {
  switch (failure) {
    case pool::Failure::none:
      return std::nullopt;
    case pool::Failure::refused:
      return Reason::upstream_refused;
    case pool::Failure::unreachable:
      return Reason::upstream_unreachable;
    case pool::Failure::timeout:
      return Reason::upstream_timeout;
    case pool::Failure::tls_failed:
      return Reason::upstream_tls_failed;
    case pool::Failure::descriptors:
      return Reason::descriptors;
    case pool::Failure::no_healthy_endpoint:
      return Reason::no_healthy_endpoint;
    case pool::Failure::pool_full:
      return Reason::pool_full;
    case pool::Failure::acquire_timeout:
      return Reason::acquire_timeout;
  }
  return Reason::internal;
}

}  // namespace weir::proxy
