#pragma once
// What the pool knows of a connection to an endpoint: which endpoint, which worker holds it, when
// it was opened. The socket is the proxy's business, which derives from this.

#include <boost/intrusive/list.hpp>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "config/config.hpp"

namespace weir::pool {

using TimePoint = std::chrono::steady_clock::time_point;
using Nanoseconds = std::chrono::nanoseconds;

// The numbers of an upstream's endpoints and of the process's workers, from 0. An endpoint that
// leaves frees its number for another one, once its last connection is gone.
using EndpointIndex = std::uint32_t;
using WorkerIndex = std::uint32_t;

// One server. Immutable; who holds it may read it on any thread, also after it has left.
struct Endpoint {
  config::Address address;
  std::string name;  // the address as text: the `endpoint` label
  std::string host;  // what TLS asks for and verifies unless tls.server_name says so; may be empty
  std::uint32_t weight = 1;  // 0 = takes no new sessions
  std::uint32_t tier = 0;
  std::string written{};  // the entry of the configuration that led to it: config::Endpoint::text()
};
using EndpointPointer = std::shared_ptr<const Endpoint>;

// Why a connection to an endpoint could not be had.
enum class Failure : std::uint8_t {
  none,
  refused,
  unreachable,
  timeout,
  tls_failed,
  descriptors,
  no_healthy_endpoint,
  pool_full,
  acquire_timeout,
};
inline constexpr std::size_t failure_count = 9;
std::string_view word(Failure failure);

// Why a pooled connection ended: the `reason` label of weir_pool_closed_total.
enum class Closed : std::uint8_t {
  consumed,
  idle_timeout,
  fresh_age,
  lifetime,
  uses,
  peer_closed,
  unexpected_bytes,
  reset_failed,
  unhealthy,
  removed,
  surplus,
  descriptors,
  shutdown,
};
inline constexpr std::size_t closed_count = 13;
std::string_view word(Closed closed);

// Where a lease's connection came from.
enum class Source : std::uint8_t { idle, other_worker, opened };
inline constexpr std::size_t source_count = 3;
std::string_view word(Source source);

// Linked into the ledger exactly while it is idle and may be lent. The ledger writes all of it.
class Connection : public boost::intrusive::list_base_hook<> {
 public:
  virtual ~Connection() = default;

  EndpointIndex endpoint = 0;
  WorkerIndex worker = 0;
  std::uint32_t uses = 0;  // how often it was lent
  // Of the settings it was opened under; set by whoever opens it.
  std::uint64_t generation = 0;
  float jitter = 0;     // [0, 1): how much earlier than others its times come
  bool ageing = false;  // its replacement is on the way
  TimePoint opened_at;
  TimePoint idle_since;
  TimePoint due;  // while idle: when the ledger wants expire() to be called; max = never
};

}  // namespace weir::pool
