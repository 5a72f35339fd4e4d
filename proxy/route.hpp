#pragma once
// Which upstream a client goes to: the first route whose every condition holds, else the
// listener's default. Built once from the configuration, then read-only; any thread.

#include <cstddef>
#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "config/config.hpp"
#include "proxy/socket_address.hpp"

namespace weir::proxy {

struct RouteChoice {
  static constexpr std::size_t no_upstream = ~std::size_t{0};
  std::size_t upstream = no_upstream;  // its number
  std::string_view route;              // name; empty for the default or a route without one
};

// The number of the upstream of that name.
using UpstreamNumbers = std::function<std::size_t(const std::string&)>;
// As they stand in a configuration.
UpstreamNumbers by_position(const std::vector<config::Upstream>& upstreams);

bool contains(const config::Network& network, const SocketAddress& address);

class RouteTable {
 public:
  // `listener` must outlive it.
  RouteTable(const config::Listener& listener, const UpstreamNumbers& upstreams);

  // `server_name` in lower case, empty when there was none. `protocols`: the one that was agreed
  // on, or all that the client offers to a server behind; a route matches by any of them.
  RouteChoice choose(std::string_view server_name, std::span<const std::string_view> protocols,
                     const SocketAddress& client) const;

 private:
  struct Entry {
    const config::RouteMatch* match;
    RouteChoice choice;
  };

  static bool matches(const config::RouteMatch& match, std::span<const std::string_view> protocols,
                      const SocketAddress& client);
  void first_of(const std::vector<std::size_t>* candidates,
                std::span<const std::string_view> protocols, const SocketAddress& client,
                std::size_t& first) const;

  struct TextHash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  using Index =
      std::unordered_map<std::string, std::vector<std::size_t>, TextHash, std::equal_to<>>;

  std::vector<Entry> entries_;
  std::vector<std::string_view> protocols_;  // all that a route asks for, sorted
  Index exact_;                              // routes by exact server name
  Index suffix_;                             // by what follows "*."
  std::vector<std::size_t> any_name_;        // routes without a server name
  RouteChoice fallback_;
};

}  // namespace weir::proxy
