#pragma once
// What /metrics and /status show: sums over the workers' counters and the pools' books, taken at
// the moment of the question. Reads only; on the admin's thread.

#include <boost/json/value.hpp>
#include <chrono>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "pool/upstream.hpp"
#include "proxy/access_log.hpp"
#include "proxy/discoverer.hpp"
#include "proxy/endpoint_totals.hpp"
#include "proxy/tls.hpp"
#include "proxy/worker.hpp"

namespace weir::proxy {

struct FigureSources {
  const config::Config& config;
  const std::vector<std::unique_ptr<Worker>>& workers;
  const std::vector<std::unique_ptr<pool::Upstream>>& upstreams;
  const std::map<std::string, std::unique_ptr<TlsServer>>& tls;
  const AccessLog& access_log;
  const EndpointBooks& endpoints;
  const Discoverer& discoverer;
  std::chrono::steady_clock::time_point started;
  std::chrono::system_clock::time_point started_wall;
};

std::string render_figures(const FigureSources& sources);

boost::json::value render_status(const FigureSources& sources,
                                 const std::vector<std::vector<config::Address>>& bound,
                                 std::string_view phase);

}  // namespace weir::proxy
