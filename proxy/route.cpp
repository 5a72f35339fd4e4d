#include "proxy/route.hpp"

#include <algorithm>

namespace weir::proxy {

bool contains(const config::Network& network, const SocketAddress& address) {
  const auto family = network.is_v6 ? SocketAddress::Family::ipv6 : SocketAddress::Family::ipv4;
  if (address.family != family) return false;
  int bits = network.prefix_length;
  for (std::size_t i = 0; bits > 0; ++i, bits -= 8) {
    const int shift = bits >= 8 ? 0 : 8 - bits;
    if ((network.bytes[i] >> shift) != (address.bytes[i] >> shift)) return false;
  }
  return true;
}

UpstreamNumbers by_position(const std::vector<config::Upstream>& upstreams) {
  return [&upstreams](const std::string& name) {
    const auto found = std::ranges::find(upstreams, name, &config::Upstream::name);
    return found == upstreams.end() ? RouteChoice::no_upstream
                                    : static_cast<std::size_t>(found - upstreams.begin());
  };
}

RouteTable::RouteTable(const config::Listener& listener, const UpstreamNumbers& upstreams) {
  for (const config::Route& route : listener.routes) {
    const std::size_t position = entries_.size();
    entries_.push_back({&route.match, {upstreams(route.upstream), route.name}});
    if (route.match.server_name.empty()) any_name_.push_back(position);
    for (const std::string& name : route.match.server_name) {
      if (name.starts_with("*.")) {
        suffix_[name.substr(2)].push_back(position);
      } else {
        exact_[name].push_back(position);
      }
    }
  }
  for (const Entry& entry : entries_) {
    protocols_.insert(protocols_.end(), entry.match->alpn.begin(), entry.match->alpn.end());
  }
  std::ranges::sort(protocols_);
  const auto twice = std::ranges::unique(protocols_);
  protocols_.erase(twice.begin(), twice.end());
  if (!listener.upstream.empty()) fallback_.upstream = upstreams(listener.upstream);
}

// The cost is that of a few look-ups, not of the number of routes. A client may offer protocols by
// the thousand, and what no route asks for changes nothing.
RouteChoice RouteTable::choose(std::string_view server_name,
                               std::span<const std::string_view> offered,
                               const SocketAddress& client) const {
  std::vector<std::string_view> protocols;
  for (const std::string_view protocol : offered) {
    if (std::ranges::binary_search(protocols_, protocol) &&
        std::ranges::find(protocols, protocol) == protocols.end()) {
      protocols.push_back(protocol);
    }
  }
  std::size_t first = entries_.size();
  first_of(&any_name_, protocols, client, first);
  if (!server_name.empty()) {
    if (const auto found = exact_.find(server_name); found != exact_.end()) {
      first_of(&found->second, protocols, client, first);
    }
    for (std::size_t dot = server_name.find('.'); dot != std::string_view::npos;
         dot = server_name.find('.', dot + 1)) {
      const auto found = suffix_.find(server_name.substr(dot + 1));
      if (found != suffix_.end()) first_of(&found->second, protocols, client, first);
    }
  }
  return first < entries_.size() ? entries_[first].choice : fallback_;
}

void RouteTable::first_of(const std::vector<std::size_t>* candidates,
                          std::span<const std::string_view> protocols, const SocketAddress& client,
                          std::size_t& first) const {
  for (const std::size_t position : *candidates) {
    if (position >= first) return;
    if (!matches(*entries_[position].match, protocols, client)) continue;
    first = position;
    return;
  }
}

bool RouteTable::matches(const config::RouteMatch& match,
                         std::span<const std::string_view> protocols, const SocketAddress& client) {
  if (!match.alpn.empty() &&
      std::ranges::find_first_of(match.alpn, protocols) == match.alpn.end()) {
    return false;
  }
  return match.client.empty() ||
         std::ranges::any_of(match.client, [&](const config::Network& network) {
           return contains(network, client);
         });
}

}  // namespace weir::proxy
