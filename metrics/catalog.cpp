#include "metrics/catalog.hpp"

#include <algorithm>

namespace weir::metrics {
namespace {

constexpr auto counter = Kind::counter;
constexpr auto gauge = Kind::gauge;
constexpr auto histogram = Kind::histogram;

constexpr std::array<FamilyInfo, family_count> table{{
    {Family::build_info, "weir_build_info", gauge, "What this program is; always 1.",
     {"version", "revision", "compiler", "openssl", "boost"}},
    {Family::workers, "weir_workers", gauge, "Worker threads.", {}},
    {Family::uptime_seconds, "weir_uptime_seconds", gauge, "Time since the start.", {}},
    {Family::config_last_reload_successful, "weir_config_last_reload_successful", gauge,
     "1 if the configuration that was read last is in force.", {}},
    {Family::config_last_reload_success_timestamp_seconds,
     "weir_config_last_reload_success_timestamp_seconds", gauge,
     "When a configuration was last put into force.", {}},
    {Family::config_reloads_total, "weir_config_reloads_total", counter, "Reloads by result.",
     {"result"}},
    {Family::connections_accepted_total, "weir_connections_accepted_total", counter,
     "Client connections that became sessions.", {"listener"}},
    {Family::connections_open, "weir_connections_open", gauge, "Client connections that are open.",
     {"listener"}},
    {Family::connections_refused_total, "weir_connections_refused_total", counter,
     "Client connections that were closed before a session began.", {"listener", "reason"}},
    {Family::sessions_total, "weir_sessions_total", counter,
     "Sessions that have ended, by their one outcome.", {"listener", "upstream", "side", "reason"}},
    {Family::session_duration_seconds, "weir_session_duration_seconds", histogram,
     "Time from accept to the end of a session.", {"listener"}},
    {Family::session_received_bytes, "weir_session_received_bytes", histogram,
     "Bytes that a client sent in its session.", {"listener"}},
    {Family::session_sent_bytes, "weir_session_sent_bytes", histogram,
     "Bytes that were sent to a client in its session.", {"listener"}},
    {Family::client_received_bytes_total, "weir_client_received_bytes_total", counter,
     "Bytes received from clients.", {"listener"}},
    {Family::client_sent_bytes_total, "weir_client_sent_bytes_total", counter,
     "Bytes sent to clients.", {"listener"}},
    {Family::endpoint_received_bytes_total, "weir_endpoint_received_bytes_total", counter,
     "Bytes received from an endpoint.", {"upstream", "endpoint"}},
    {Family::endpoint_sent_bytes_total, "weir_endpoint_sent_bytes_total", counter,
     "Bytes sent to an endpoint.", {"upstream", "endpoint"}},
    {Family::tls_handshakes_total, "weir_tls_handshakes_total", counter,
     "TLS handshakes with clients; result is ok or why it failed.",
     {"listener", "result", "version", "resumed"}},
    {Family::tls_handshake_seconds, "weir_tls_handshake_seconds", histogram,
     "Time of a TLS handshake with a client.", {"listener"}},
    {Family::tls_certificate_not_after_timestamp_seconds,
     "weir_tls_certificate_not_after_timestamp_seconds", gauge, "When a certificate expires.",
     {"tls", "name"}},
    {Family::session_first_byte_seconds, "weir_session_first_byte_seconds", histogram,
     "Time from the first client byte sent to the first server byte received.", {"upstream"}},
    {Family::pool_connections, "weir_pool_connections", gauge,
     "Connections to an endpoint, by what they are.", {"upstream", "endpoint", "state"}},
    {Family::pool_limit, "weir_pool_limit", gauge, "Configured limits of a pool; 0 is no limit.",
     {"upstream", "kind"}},
    {Family::pool_waiting, "weir_pool_waiting", gauge,
     "Sessions that wait for a connection and have none on the way.", {"upstream"}},
    {Family::pool_acquire_seconds, "weir_pool_acquire_seconds", histogram,
     "Time a session waited for its connection.", {"upstream", "source"}},
    {Family::pool_acquires_total, "weir_pool_acquires_total", counter,
     "Requests for a connection, by where it came from and how it ended.",
     {"upstream", "source", "result"}},
    {Family::pool_open_seconds, "weir_pool_open_seconds", histogram,
     "Time to open a connection, by phase.", {"upstream", "phase"}},
    {Family::pool_open_failures_total, "weir_pool_open_failures_total", counter,
     "Connections that could not be opened.", {"upstream", "endpoint", "reason"}},
    {Family::pool_closed_total, "weir_pool_closed_total", counter,
     "Connections of the pool that were closed.", {"upstream", "reason"}},
    {Family::pool_idle_target, "weir_pool_idle_target", gauge,
     "Idle connections that the pool keeps ready.", {"upstream", "endpoint"}},
    {Family::endpoint_healthy, "weir_endpoint_healthy", gauge, "1 if the endpoint is healthy.",
     {"upstream", "endpoint"}},
    {Family::endpoint_sessions, "weir_endpoint_sessions", gauge,
     "Sessions that are connected to the endpoint.", {"upstream", "endpoint"}},
    {Family::health_checks_total, "weir_health_checks_total", counter, "Health checks by result.",
     {"upstream", "endpoint", "result"}},
    {Family::health_check_seconds, "weir_health_check_seconds", histogram,
     "Time of a health check.", {"upstream"}},
    {Family::access_log_dropped_total, "weir_access_log_dropped_total", counter,
     "Lines of the access log that were lost.", {}},
    {Family::worker_loop_seconds, "weir_worker_loop_seconds", histogram,
     "Time of one turn of a worker's event loop, without its sleep.", {"worker"}},
    {Family::process_cpu_seconds_total, "process_cpu_seconds_total", counter,
     "Total user and system CPU time spent in seconds.", {}},
    {Family::process_open_fds, "process_open_fds", gauge, "Number of open file descriptors.", {}},
    {Family::process_max_fds, "process_max_fds", gauge, "Maximum number of open file descriptors.",
     {}},
    {Family::process_virtual_memory_bytes, "process_virtual_memory_bytes", gauge,
     "Virtual memory size in bytes.", {}},
    {Family::process_virtual_memory_max_bytes, "process_virtual_memory_max_bytes", gauge,
     "Maximum amount of virtual memory available in bytes.", {}},
    {Family::process_resident_memory_bytes, "process_resident_memory_bytes", gauge,
     "Resident memory size in bytes.", {}},
    {Family::process_start_time_seconds, "process_start_time_seconds", gauge,
     "Start time of the process since unix epoch in seconds.", {}},
    {Family::process_threads, "process_threads", gauge, "Number of OS threads in the process.", {}},
}};

}  // namespace

std::size_t FamilyInfo::label_count() const {
  return static_cast<std::size_t>(std::ranges::find(labels, std::string_view()) - labels.begin());
}

const std::array<FamilyInfo, family_count>& catalog() { return table; }

const FamilyInfo& info(Family family) { return table[static_cast<std::size_t>(family)]; }

std::string_view word(Kind kind) {
  switch (kind) {
    case Kind::counter:
      return "counter";
    case Kind::gauge:
      return "gauge";
    case Kind::histogram:
      break;
  }
  return "histogram";
}

}  // namespace weir::metrics
