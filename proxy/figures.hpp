#pragma once
// What /metrics and /status show: sums over the workers' counters and the pools' books, taken at
// the moment of the question. Reads only; on the admin's thread.

#include <boost/json/value.hpp>
#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "pool/upstream.hpp"
#include "proxy/access_log.hpp"
#include "proxy/discoverer.hpp"
#include "proxy/endpoint_totals.hpp"
#include "proxy/growing_table.hpp"
#include "proxy/in_force.hpp"
#include "proxy/worker.hpp"

namespace weir::proxy {

struct FigureSources {
  const InForce& in_force;
  Reloads reloads;
  const std::vector<std::unique_ptr<Worker>>& workers;
  const GrowingTable<std::unique_ptr<pool::Upstream>>& upstreams;  // by number
  const AccessLog& access_log;
  const EndpointBooks& endpoints;
  const Discoverer& discoverer;
  std::chrono::steady_clock::time_point started;
  std::chrono::system_clock::time_point started_wall;
};

// Before an upstream comes back: what has been counted of it so far is not its own any more.
void note_earlier_sessions(const FigureSources& sources, std::size_t listener, std::size_t upstream,
                           InForce& next);

std::string render_figures(const FigureSources& sources);

boost::json::value render_status(const FigureSources& sources, std::string_view phase);

}  // namespace weir::proxy
