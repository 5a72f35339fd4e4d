#include "config/reachability.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>

namespace weir::config {
namespace {

bool is_empty(const RouteMatch& match) {
  return match.server_name.empty() && match.alpn.empty() && match.client.empty();
}

// Equal for matches that take the same connections, whatever the order they list things in.
std::string canonical(const RouteMatch& match) {
  std::vector<std::string> parts;
  for (const std::string& name : match.server_name) parts.push_back("n" + name);
  for (const std::string& protocol : match.alpn) parts.push_back("p" + protocol);
  for (const Network& network : match.client) {
    parts.push_back(fmt::format("c{}/{}/", network.is_v6 ? 6 : 4, network.prefix_length));
    parts.back().append(network.bytes.begin(), network.bytes.end());
  }
  std::ranges::sort(parts);
  parts.erase(std::ranges::unique(parts).begin(), parts.end());
  std::string text;
  for (const std::string& part : parts) text += fmt::format("{}:{}", part.size(), part);
  return text;
}

std::string why_never(const Config& config, const Listener& listener, const RouteMatch& match) {
  if (listener.passthrough || (match.server_name.empty() && match.alpn.empty())) return {};
  if (listener.tls.empty()) {
    return fmt::format("the listener has no `tls`, so it never knows {}",
                       match.server_name.empty() ? "a protocol" : "a server name");
  }
  const auto settings = config.tls.find(listener.tls);
  if (match.alpn.empty() || settings == config.tls.end()) return {};
  const auto offered = [&](const std::string& protocol) {
    return std::ranges::find(settings->second.alpn, protocol) != settings->second.alpn.end();
  };
  if (std::ranges::any_of(match.alpn, offered)) return {};
  return fmt::format("the TLS setting {} does not offer {}", in_backticks(listener.tls),
                     in_backticks(match.alpn.front()));
}

}  // namespace

void warn_unreachable(const Config& config, const Listener& listener, const Node& written,
                      Report& report) {
  const Entry* routes = written.find("routes");
  if (routes == nullptr || routes->value.items.size() != listener.routes.size()) return;
  const Entry* tls = written.find("tls");
  const bool tls_is_known = tls == nullptr || !has_fault(tls->value);
  std::map<std::string, const Place*> seen;
  const Place* everything = nullptr;
  const auto warn = [&](const Route& route, const std::string& why) {
    report.warning(route.place, fmt::format("this route is never taken: {}", why));
  };
  const auto at = [](const Place& place) {
    return fmt::format("{}:{}:{}", place.file, place.line, place.column);
  };
  for (std::size_t i = 0; i < listener.routes.size(); ++i) {
    const Route& route = listener.routes[i];
    if (has_fault(routes->value.items[i])) continue;
    if (everything != nullptr) {
      warn(route, fmt::format("the one at {} matches everything", at(*everything)));
      continue;
    }
    if (is_empty(route.match)) everything = &route.place;
    const auto [earlier, is_first] = seen.emplace(canonical(route.match), &route.place);
    if (!is_first) {
      warn(route, fmt::format("the one at {} matches the same", at(*earlier->second)));
    } else if (const std::string why = why_never(config, listener, route.match);
               tls_is_known && !why.empty()) {
      warn(route, why);
    }
  }
}

}  // namespace weir::config
