// /status: the second half of figures.hpp.

#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <utility>

#include "proxy/figures.hpp"
#include "proxy/version.hpp"

namespace weir::proxy {
namespace {

namespace json = boost::json;

json::object listener_status(const FigureSources& sources, std::size_t place) {
  const config::Listener& config = sources.in_force.config->listeners[place];
  const InForce::Listener& listener = sources.in_force.listeners[place];
  std::uint64_t accepted = 0;
  std::uint64_t open = 0;
  for (const auto& worker : sources.workers) {
    const ListenerCounters& counters = std::as_const(*worker).listener(listener.index).counters();
    accepted += counters.accepted.value();
    open += counters.open.value();
  }
  json::array addresses;
  for (const BindingPointer& each : listener.bindings) {
    addresses.emplace_back(each->bound.text());
  }
  return {{"name", config.name},
          {"addresses", std::move(addresses)},
          {"tls", config.passthrough   ? "passthrough"
                  : config.tls.empty() ? "off"
                                       : config.tls},
          {"accepted", accepted},
          {"open", open}};
}

json::object upstream_status(const pool::Upstream& upstream) {
  return upstream.look([&](const pool::Ledger& ledger) {
    json::array endpoints;
    for (pool::EndpointIndex i = 0; i < ledger.seat_count(); ++i) {
      if (!ledger.is_present(i)) continue;
      const pool::Endpoint& endpoint = *ledger.endpoint(i);
      const pool::EndpointCounts& counts = ledger.counts(i);
      endpoints.push_back(json::object{{"address", endpoint.name},
                                       {"configured", endpoint.written},
                                       {"tier", endpoint.tier},
                                       {"weight", endpoint.weight},
                                       {"healthy", ledger.healthy(i)},
                                       {"health_reason", ledger.check_words(i)},
                                       {"ejected", ledger.ejected(i)},
                                       {"opening", counts.opening},
                                       {"idle", counts.idle},
                                       {"leased", counts.leased}});
    }
    return json::object{{"name", upstream.name()},
                        {"waiting", ledger.waiting()},
                        {"endpoints", std::move(endpoints)}};
  });
}

json::object reload_status(const Reloads& reloads) {
  const std::chrono::duration<double> last_good = reloads.last_good.time_since_epoch();
  return {{"successful", reloads.last_was_good},
          {"ok", reloads.good},
          {"refused", reloads.refused},
          {"last_success_timestamp_seconds", last_good.count()},
          {"reason", reloads.why_refused}};
}

}  // namespace

boost::json::value render_status(const FigureSources& sources, std::string_view phase) {
  const InForce& in_force = sources.in_force;
  json::array listeners;
  for (std::size_t i = 0; i < in_force.listeners.size(); ++i) {
    listeners.push_back(listener_status(sources, i));
  }
  json::array upstreams;
  for (const std::size_t index : in_force.upstreams) {
    upstreams.push_back(upstream_status(*sources.upstreams[index]));
  }
  const std::chrono::duration<double> uptime = std::chrono::steady_clock::now() - sources.started;
  return json::object{{"version", version()},
                      {"revision", revision()},
                      {"pid", ::getpid()},
                      {"phase", phase},
                      {"uptime_seconds", uptime.count()},
                      {"workers", sources.workers.size()},
                      {"reload", reload_status(sources.reloads)},
                      {"listeners", std::move(listeners)},
                      {"upstreams", std::move(upstreams)}};
}

}  // namespace weir::proxy
