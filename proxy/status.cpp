// /status: the second half of figures.hpp.

#include <unistd.h>

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>

#include "proxy/figures.hpp"
#include "proxy/version.hpp"

namespace weir::proxy {
namespace {

namespace json = boost::json;

json::object listener_status(const FigureSources& sources, std::size_t index,
                             const std::vector<config::Address>& bound) {
  const config::Listener& config = sources.config.listeners[index];
  std::uint64_t accepted = 0;
  std::uint64_t open = 0;
  for (const auto& worker : sources.workers) {
    const ListenerCounters& counters = worker->listeners()[index]->counters();
    accepted += counters.accepted.value();
    open += counters.open.value();
  }
  json::array addresses;
  for (const config::Address& address : bound) addresses.emplace_back(address.text());
  return {{"name", config.name},
          {"addresses", std::move(addresses)},
          {"tls", config.passthrough   ? "passthrough"
                  : config.tls.empty() ? "off"
                                       : config.tls},
          {"accepted", accepted},
          {"open", open}};
}

json::object upstream_status(const pool::Upstream& upstream) {
  const config::Upstream& config = upstream.config();
  return upstream.look([&](const pool::Ledger& ledger) {
    json::array endpoints;
    for (pool::EndpointIndex i = 0; i < ledger.seat_count(); ++i) {
      if (!ledger.is_present(i)) continue;
      const pool::Endpoint& endpoint = *ledger.endpoint(i);
      const pool::EndpointCounts& counts = ledger.counts(i);
      endpoints.push_back(json::object{{"address", endpoint.name},
                                       {"tier", endpoint.tier},
                                       {"weight", endpoint.weight},
                                       {"healthy", ledger.healthy(i)},
                                       {"health_reason", ledger.check_words(i)},
                                       {"ejected", ledger.ejected(i)},
                                       {"opening", counts.opening},
                                       {"idle", counts.idle},
                                       {"leased", counts.leased}});
    }
    return json::object{
        {"name", config.name}, {"waiting", ledger.waiting()}, {"endpoints", std::move(endpoints)}};
  });
}

}  // namespace

boost::json::value render_status(const FigureSources& sources,
                                 const std::vector<std::vector<config::Address>>& bound,
                                 std::string_view phase) {
  json::array listeners;
  for (std::size_t i = 0; i < bound.size(); ++i) {
    listeners.push_back(listener_status(sources, i, bound[i]));
  }
  json::array upstreams;
  for (const auto& upstream : sources.upstreams) upstreams.push_back(upstream_status(*upstream));
  const std::chrono::duration<double> uptime = std::chrono::steady_clock::now() - sources.started;
  return json::object{{"version", version()},
                      {"revision", revision()},
                      {"pid", ::getpid()},
                      {"phase", phase},
                      {"uptime_seconds", uptime.count()},
                      {"workers", sources.workers.size()},
                      {"listeners", std::move(listeners)},
                      {"upstreams", std::move(upstreams)}};
}

}  // namespace weir::proxy
