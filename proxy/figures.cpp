#include "proxy/figures.hpp"

#include <algorithm>
#include <array>
#include <map>
#include <set>
#include <utility>

#include "metrics/exporter.hpp"
#include "metrics/process.hpp"
#include "proxy/version.hpp"

namespace weir::proxy {
namespace {

using metrics::Family;
using metrics::HistogramSum;
using metrics::Scrape;

double seconds_since_epoch(std::chrono::system_clock::time_point time) {
  return std::chrono::duration<double>(time.time_since_epoch()).count();
}

// The sum over the workers of what `counter` picks of each.
template <class Pick>
std::uint64_t sum(const FigureSources& sources, Pick&& pick) {
  std::uint64_t total = 0;
  for (const auto& worker : sources.workers) total += pick(*worker).value();
  return total;
}

template <class Pick>
HistogramSum sum_histogram(const FigureSources& sources, metrics::Buckets buckets, Pick&& pick) {
  HistogramSum total(buckets);
  for (const auto& worker : sources.workers) total.add(pick(*worker));
  return total;
}

void add_process(const FigureSources& sources, Scrape& scrape) {
  scrape.gauge(Family::build_info, {version(), revision(), compiler(), openssl(), boost()}, 1);
  scrape.gauge(Family::workers, {}, static_cast<double>(sources.workers.size()));
  const std::chrono::duration<double> uptime = std::chrono::steady_clock::now() - sources.started;
  scrape.gauge(Family::uptime_seconds, {}, uptime.count());
  scrape.gauge(Family::config_last_reload_successful, {}, sources.reloads.last_was_good ? 1 : 0);
  scrape.gauge(Family::config_last_reload_success_timestamp_seconds, {},
               seconds_since_epoch(sources.reloads.last_good));
  scrape.counter(Family::config_reloads_total, {"ok"}, sources.reloads.good);
  scrape.counter(Family::config_reloads_total, {"refused"}, sources.reloads.refused);
  scrape.counter(Family::access_log_dropped_total, {}, sources.access_log.dropped());
  for (const auto& worker : sources.workers) {
    HistogramSum turns(metrics::Buckets::durations);
    turns.add(worker->loop().turn_lengths());
    scrape.histogram(Family::worker_loop_seconds, {std::to_string(worker->index())}, turns);
  }
  for (const auto& [name, expiries] : sources.in_force.tls.expiries()) {
    // An EC and an RSA certificate of one name are one series: the one that ends first counts.
    std::map<std::string, std::chrono::system_clock::time_point> earliest;
    for (const CertificateExpiry& expiry : expiries) {
      const auto [found, fresh] = earliest.emplace(expiry.name, expiry.not_after);
      if (!fresh) found->second = std::min(found->second, expiry.not_after);
    }
    for (const auto& [certificate, not_after] : earliest) {
      scrape.gauge(Family::tls_certificate_not_after_timestamp_seconds, {name, certificate},
                   seconds_since_epoch(not_after));
    }
  }
}

void add_handshakes(const FigureSources& sources, std::size_t index, std::string_view name,
                    Scrape& scrape) {
  const auto& reasons = tls_failure_reasons();
  for (std::size_t row = 0; row <= reasons.size(); ++row) {
    const std::string_view result = row == 0 ? std::string_view("ok") : reasons[row - 1];
    for (std::size_t column = 0; column < tls_version_words.size(); ++column) {
      // A handshake that failed has no version, one that went well has one.
      if ((row == 0) == (column == 2)) continue;
      for (const bool resumed : {false, true}) {
        if (row > 0 && resumed) continue;
        scrape.counter(
            Family::tls_handshakes_total,
            {name, result, tls_version_words[column], resumed ? "true" : "false"},
            sum(sources, [&](const Worker& worker) -> const metrics::Counter& {
              return worker.listener(index).counters().handshakes[row][column][resumed ? 1 : 0];
            }));
      }
    }
  }
  scrape.histogram(Family::tls_handshake_seconds, {name},
                   sum_histogram(sources, metrics::Buckets::durations,
                                 [&](const Worker& worker) -> const metrics::Histogram& {
                                   return worker.listener(index).counters().handshake;
                                 }));
}

// Of a listener and an upstream (row 0: of none), by outcome.
InForce::Sessions sum_sessions(const FigureSources& sources, std::size_t listener,
                               std::size_t row) {
  InForce::Sessions total{};
  for (const auto& worker : sources.workers) {
    const auto& counters = std::as_const(*worker).listener(listener).counters().sessions[row];
    for (std::size_t r = 0; r < reason_count; ++r) {
      total[r] += counters.value(static_cast<Reason>(r));
    }
  }
  return total;
}

void add_sessions(const FigureSources& sources, std::size_t index, const std::string& name,
                  Scrape& scrape) {
  const InForce& in_force = sources.in_force;
  const auto show = [&](std::string_view upstream, const InForce::Sessions& sessions) {
    for (std::size_t r = 0; r < reason_count; ++r) {
      const auto reason = static_cast<Reason>(r);
      scrape.counter(Family::sessions_total, {name, upstream, word(side_of(reason)), word(reason)},
                     sessions[r]);
    }
  };
  // What chose no upstream, or one that is not configured any more.
  InForce::Sessions others = sum_sessions(sources, index, 0);
  std::set<std::size_t> configured;
  for (std::size_t u = 0; u < in_force.upstreams.size(); ++u) {
    const std::size_t number = in_force.upstreams[u];
    configured.insert(number);
    InForce::Sessions sessions = sum_sessions(sources, index, number + 1);
    if (const auto earlier = in_force.earlier_sessions.find({index, number});
        earlier != in_force.earlier_sessions.end()) {
      for (std::size_t r = 0; r < reason_count; ++r) {
        sessions[r] -= earlier->second[r];
        others[r] += earlier->second[r];
      }
    }
    show(in_force.config->upstreams[u].name, sessions);
  }
  for (std::size_t number = 0; number < in_force.upstream_count; ++number) {
    if (configured.contains(number)) continue;
    const InForce::Sessions sessions = sum_sessions(sources, index, number + 1);
    for (std::size_t r = 0; r < reason_count; ++r) others[r] += sessions[r];
  }
  show({}, others);
}

void add_listener(const FigureSources& sources, std::size_t place, Scrape& scrape) {
  const config::Listener& config = sources.in_force.config->listeners[place];
  const std::size_t index = sources.in_force.listeners[place].index;
  const std::string& name = config.name;
  const auto counter = [&](Family family, metrics::Counter ListenerCounters::* member) {
    scrape.counter(family, {name},
                   sum(sources, [&](const Worker& worker) -> const metrics::Counter& {
                     return worker.listener(index).counters().*member;
                   }));
  };
  const auto histogram = [&](Family family, metrics::Buckets buckets,
                             metrics::Histogram ListenerCounters::* member) {
    scrape.histogram(
        family, {name},
        sum_histogram(sources, buckets, [&](const Worker& worker) -> const metrics::Histogram& {
          return worker.listener(index).counters().*member;
        }));
  };
  counter(Family::connections_accepted_total, &ListenerCounters::accepted);
  counter(Family::client_received_bytes_total, &ListenerCounters::client_received);
  counter(Family::client_sent_bytes_total, &ListenerCounters::client_sent);
  scrape.gauge(
      Family::connections_open, {name},
      static_cast<double>(sum(sources, [&](const Worker& worker) -> const metrics::Counter& {
        return worker.listener(index).counters().open;
      })));
  for (std::size_t i = 0; i < refused_count; ++i) {
    scrape.counter(Family::connections_refused_total, {name, refused_words[i]},
                   sum(sources, [&](const Worker& worker) -> const metrics::Counter& {
                     return worker.listener(index).counters().refused[i];
                   }));
  }
  histogram(Family::session_duration_seconds, metrics::Buckets::durations,
            &ListenerCounters::duration);
  histogram(Family::session_received_bytes, metrics::Buckets::bytes, &ListenerCounters::received);
  histogram(Family::session_sent_bytes, metrics::Buckets::bytes, &ListenerCounters::sent);
  add_sessions(sources, index, name, scrape);
  if (!config.tls.empty()) add_handshakes(sources, index, name, scrape);
}

void add_endpoint(const FigureSources& sources, const pool::Upstream& upstream,
                  const pool::Ledger& ledger, pool::EndpointIndex index, Scrape& scrape) {
  const std::string& name = upstream.name();
  const std::string& endpoint = ledger.endpoint(index)->name;
  const EndpointTotals totals = sources.endpoints.totals(upstream, index);
  scrape.counter(Family::endpoint_received_bytes_total, {name, endpoint}, totals.received);
  scrape.counter(Family::endpoint_sent_bytes_total, {name, endpoint}, totals.sent);
  scrape.gauge(Family::endpoint_sessions, {name, endpoint},
               static_cast<double>(sum(sources, [&](const Worker& worker) -> const auto& {
                 return worker.connections(upstream.index()).counters().endpoints[index].sessions;
               })));
  scrape.gauge(Family::endpoint_healthy, {name, endpoint}, ledger.healthy(index) ? 1 : 0);
  scrape.gauge(Family::endpoint_ejected, {name, endpoint}, ledger.ejected(index) ? 1 : 0);
  const pool::EndpointCounts& counts = ledger.counts(index);
  scrape.gauge(Family::pool_connections, {name, endpoint, "opening"}, counts.opening);
  scrape.gauge(Family::pool_connections, {name, endpoint, "idle"}, counts.idle);
  scrape.gauge(Family::pool_connections, {name, endpoint, "leased"}, counts.leased);
  scrape.gauge(Family::pool_idle_target, {name, endpoint},
               ledger.idle_target(index, std::chrono::steady_clock::now()));
  for (const pool::Failure failure :
       {pool::Failure::refused, pool::Failure::unreachable, pool::Failure::timeout,
        pool::Failure::tls_failed, pool::Failure::descriptors}) {
    scrape.counter(Family::pool_open_failures_total, {name, endpoint, pool::word(failure)},
                   totals.open_failures[static_cast<std::size_t>(failure)]);
  }
  if (!ledger.config().health_check) return;
  scrape.counter(Family::health_checks_total, {name, endpoint, "ok"}, totals.checks_passed);
  scrape.counter(Family::health_checks_total, {name, endpoint, "failed"}, totals.checks_failed);
}

void add_acquires(const FigureSources& sources, const pool::Upstream& upstream, Scrape& scrape) {
  const std::string& name = upstream.name();
  for (std::size_t source = 0; source <= pool::source_count; ++source) {
    const bool got = source < pool::source_count;
    const std::string_view source_word =
        got ? pool::word(static_cast<pool::Source>(source)) : std::string_view("none");
    for (std::size_t result = 0; result < acquired_count; ++result) {
      if (got != (result == 0)) continue;
      scrape.counter(
          Family::pool_acquires_total, {name, source_word, acquired_words[result]},
          sum(sources, [&](const Worker& worker) -> const metrics::Counter& {
            return worker.connections(upstream.index()).counters().acquires[source][result];
          }));
    }
    if (!got) continue;
    scrape.histogram(
        Family::pool_acquire_seconds, {name, source_word},
        sum_histogram(sources, metrics::Buckets::durations,
                      [&](const Worker& worker) -> const metrics::Histogram& {
                        return worker.connections(upstream.index()).counters().acquire[source];
                      }));
  }
}

void add_upstream(const FigureSources& sources, std::size_t place, Scrape& scrape) {
  const config::Upstream& config = sources.in_force.config->upstreams[place];
  const pool::Upstream& upstream = *sources.upstreams[sources.in_force.upstreams[place]];
  const std::string& name = config.name;
  const auto histogram = [&](metrics::Histogram UpstreamCounters::* member) {
    return sum_histogram(sources, metrics::Buckets::durations,
                         [&](const Worker& worker) -> const metrics::Histogram& {
                           return worker.connections(upstream.index()).counters().*member;
                         });
  };
  upstream.look([&](const pool::Ledger& ledger) {
    for (pool::EndpointIndex i = 0; i < ledger.seat_count(); ++i) {
      if (ledger.is_present(i)) add_endpoint(sources, upstream, ledger, i, scrape);
    }
    scrape.gauge(Family::pool_waiting, {name}, ledger.waiting());
    for (std::size_t i = 0; i < pool::closed_count; ++i) {
      scrape.counter(Family::pool_closed_total, {name, pool::word(static_cast<pool::Closed>(i))},
                     ledger.closed()[i]);
    }
    return 0;
  });
  scrape.gauge(Family::pool_limit, {name, "max_connections"}, config.pool.max_connections);
  scrape.gauge(Family::pool_limit, {name, "max_total"}, config.pool.max_total);
  scrape.gauge(Family::pool_limit, {name, "max_opening"}, config.pool.max_opening);
  scrape.gauge(Family::pool_limit, {name, "max_idle"}, config.pool.max_idle);
  scrape.gauge(Family::pool_limit, {name, "max_waiting"}, config.pool.max_waiting);
  scrape.histogram(Family::session_first_byte_seconds, {name},
                   histogram(&UpstreamCounters::first_byte));
  scrape.histogram(Family::pool_open_seconds, {name, "tcp"},
                   histogram(&UpstreamCounters::open_tcp));
  if (config.tls) {
    scrape.histogram(Family::pool_open_seconds, {name, "tls"},
                     histogram(&UpstreamCounters::open_tls));
  }
  if (config.health_check) {
    scrape.histogram(Family::health_check_seconds, {name}, histogram(&UpstreamCounters::check));
  }
  const Discoverer::Figures dns = sources.discoverer.figures(upstream.index());
  if (dns.has_names) {
    scrape.counter(Family::dns_refreshes_total, {name, "ok"}, dns.good);
    scrape.counter(Family::dns_refreshes_total, {name, "failed"}, dns.failed);
    scrape.gauge(Family::dns_age_seconds, {name}, dns.age_seconds);
  }
  add_acquires(sources, upstream, scrape);
}

}  // namespace

void note_earlier_sessions(const FigureSources& sources, std::size_t listener, std::size_t upstream,
                           InForce& next) {
  const InForce::Sessions sessions = sum_sessions(sources, listener, upstream + 1);
  if (sessions != InForce::Sessions{}) next.earlier_sessions[{listener, upstream}] = sessions;
}

std::string render_figures(const FigureSources& sources) {
  return metrics::render([&](Scrape& scrape) {
    add_process(sources, scrape);
    const InForce& in_force = sources.in_force;
    for (std::size_t i = 0; i < in_force.listeners.size(); ++i) add_listener(sources, i, scrape);
    for (std::size_t i = 0; i < in_force.upstreams.size(); ++i) add_upstream(sources, i, scrape);
    metrics::add_process_figures(scrape);
  });
}

}  // namespace weir::proxy
