#pragma once
// The figures that one worker keeps while it works: plain integers, one writer, summed over the
// workers at a scrape (figures.cpp). Indexed by number, never looked up by label.

#include <array>
#include <atomic>
#include <cstddef>
#include <string>

#include "metrics/counters.hpp"
#include "metrics/histogram.hpp"
#include "pool/connection.hpp"
#include "proxy/growing_table.hpp"
#include "proxy/outcome.hpp"

namespace weir::proxy {

enum class Refused : std::uint8_t {
  denied,
  connection_limit,
  client_limit,
  rate_limit,
  descriptors,
  draining
};
inline constexpr std::size_t refused_count = 6;
inline constexpr std::array<std::string_view, refused_count> refused_words{
    "denied", "connection_limit", "client_limit", "rate_limit", "descriptors", "draining"};

// A handshake's result: 0 is ok, then tls_failure_reasons() in their order.
inline constexpr std::size_t tls_result_count = 17;
inline constexpr std::array<std::string_view, 3> tls_version_words{"TLSv1.2", "TLSv1.3", ""};

// Sessions by outcome, of one listener and one upstream. Made when the first of them ends, since
// most listeners never lead to most upstreams, of which there are ever more.
class SessionCounters {
 public:
  SessionCounters() = default;
  SessionCounters(const SessionCounters&) = delete;
  SessionCounters& operator=(const SessionCounters&) = delete;
  ~SessionCounters() { delete by_reason_.load(std::memory_order_relaxed); }

  void add(Reason reason) {
    ByReason* counters = by_reason_.load(std::memory_order_relaxed);
    if (counters == nullptr) {
      counters = new ByReason;
      by_reason_.store(counters, std::memory_order_release);
    }
    (*counters)[static_cast<std::size_t>(reason)].add();
  }
  std::uint64_t value(Reason reason) const {
    const ByReason* counters = by_reason_.load(std::memory_order_acquire);
    return counters == nullptr ? 0 : (*counters)[static_cast<std::size_t>(reason)].value();
  }

 private:
  using ByReason = std::array<metrics::Counter, reason_count>;
  std::atomic<ByReason*> by_reason_{nullptr};
};

struct ListenerCounters {
  metrics::Counter accepted;
  metrics::Counter open;
  std::array<metrics::Counter, refused_count> refused;
  // The first for sessions that chose no upstream, then by the number of the upstream.
  GrowingTable<SessionCounters> sessions{1};
  metrics::Counter client_received;
  metrics::Counter client_sent;
  // By result, version, resumed.
  std::array<std::array<std::array<metrics::Counter, 2>, 3>, tls_result_count> handshakes;
  metrics::Histogram duration{metrics::Buckets::durations};
  metrics::Histogram received{metrics::Buckets::bytes};
  metrics::Histogram sent{metrics::Buckets::bytes};
  metrics::Histogram handshake{metrics::Buckets::durations};
};

struct EndpointCounters {
  metrics::Counter received;
  metrics::Counter sent;
  metrics::Counter sessions;  // now
  std::array<metrics::Counter, pool::failure_count> open_failures;
  metrics::Counter checks_passed;
  metrics::Counter checks_failed;
};

// How asking the pool ended: the `result` label of weir_pool_acquires_total.
enum class Acquired : std::uint8_t { ok, timeout, full, no_endpoint, cancelled };
inline constexpr std::size_t acquired_count = 5;
inline constexpr std::array<std::string_view, acquired_count> acquired_words{
    "ok", "timeout", "full", "no_endpoint", "cancelled"};

struct UpstreamCounters {
  explicit UpstreamCounters(std::size_t endpoint_count) : endpoints(endpoint_count) {}

  GrowingTable<EndpointCounters> endpoints;
  // By source (the last: none, where nothing was got), then by result.
  std::array<std::array<metrics::Counter, acquired_count>, pool::source_count + 1> acquires;
  std::array<metrics::Histogram, pool::source_count> acquire{
      metrics::Histogram{metrics::Buckets::durations},
      metrics::Histogram{metrics::Buckets::durations},
      metrics::Histogram{metrics::Buckets::durations}};
  metrics::Histogram open_tcp{metrics::Buckets::durations};
  metrics::Histogram open_tls{metrics::Buckets::durations};
  metrics::Histogram first_byte{metrics::Buckets::durations};
  metrics::Histogram check{metrics::Buckets::durations};
};

}  // namespace weir::proxy
