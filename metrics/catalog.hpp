#pragma once
// Every family that /metrics shows: name, type, help, labels, buckets. One table; README.md repeats
// it for people, and a test holds the two together. Constant data: any thread may read it. It holds
// no figures, and no order but the one in which a scrape shows its families.

#include <array>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include "metrics/histogram.hpp"

namespace weir::metrics {

enum class Family : std::uint8_t {
  build_info,
  workers,
  uptime_seconds,
  config_last_reload_successful,
  config_last_reload_success_timestamp_seconds,
  config_reloads_total,
  connections_accepted_total,
  connections_open,
  connections_refused_total,
  sessions_total,
  session_duration_seconds,
  session_received_bytes,
  session_sent_bytes,
  client_received_bytes_total,
  client_sent_bytes_total,
  endpoint_received_bytes_total,
  endpoint_sent_bytes_total,
  tls_handshakes_total,
  tls_handshake_seconds,
  tls_certificate_not_after_timestamp_seconds,
  session_first_byte_seconds,
  client_rtt_seconds,
  client_retransmits_total,
  endpoint_rtt_seconds,
  pool_connections,
  pool_limit,
  pool_waiting,
  pool_acquire_seconds,
  pool_acquires_total,
  pool_open_seconds,
  pool_open_failures_total,
  pool_closed_total,
  pool_idle_target,
  endpoint_healthy,
  endpoint_ejected,
  endpoint_sessions,
  health_checks_total,
  health_check_seconds,
  dns_refreshes_total,
  dns_age_seconds,
  access_log_dropped_total,
  worker_loop_seconds,
  process_cpu_seconds_total,
  process_open_fds,
  process_max_fds,
  process_virtual_memory_bytes,
  process_virtual_memory_max_bytes,
  process_resident_memory_bytes,
  process_start_time_seconds,
  process_threads,
};
inline constexpr std::size_t family_count = 50;

enum class Kind : std::uint8_t { counter, gauge, histogram };

struct FamilyInfo {
  Family family;
  std::string_view name;
  Kind kind;
  std::string_view help;
  std::array<std::string_view, 5> labels;  // the names; the first empty one ends them
  Buckets layout = Buckets::durations;     // of a histogram; says nothing about the others

  std::size_t label_count() const;
};

const std::array<FamilyInfo, family_count>& catalog();
const FamilyInfo& info(Family family);
std::string_view word(Kind kind);

}  // namespace weir::metrics
