#pragma once
// The settings that a listener and an upstream go by, as they were when somebody began to use them:
// immutable, and kept by whoever still goes by them. A session keeps the rules it was accepted
// under, a connection to a server those it was opened under; a reload puts others in their place
// for all that come after. Any thread may read them.

#include <memory>
#include <utility>

#include "config/config.hpp"
#include "pool/ledger.hpp"
#include "proxy/route.hpp"
#include "proxy/tls.hpp"

namespace weir::proxy {

struct ListenerRules {
  // `upstream` finds the number of an upstream by its name.
  ListenerRules(const config::Listener& listener, std::shared_ptr<const TlsServer> tls_server,
                config::Duration timeout_of_handshakes, const UpstreamNumbers& upstreams)
      : config(listener),
        tls(std::move(tls_server)),
        handshake_timeout(timeout_of_handshakes),
        routes(config, upstreams) {}

  const config::Listener config;
  const std::shared_ptr<const TlsServer> tls;  // null = plaintext
  const config::Duration handshake_timeout;
  const RouteTable routes;
};
using ListenerRulesPointer = std::shared_ptr<const ListenerRules>;

struct UpstreamRules {
  config::Upstream config;
  std::shared_ptr<const TlsClient> tls;  // null = plaintext
  // The newest is that of the connections that are opened under them.
  pool::Generations generations{};
};
using UpstreamRulesPointer = std::shared_ptr<const UpstreamRules>;

// The same rules, counted apart: the count of those who keep them is changed for each session, and
// each worker should have its own in its cache.
template <class Rules>
std::shared_ptr<const Rules> for_worker(const std::shared_ptr<const Rules>& rules) {
  const auto own = std::make_shared<std::shared_ptr<const Rules>>(rules);
  return {own, rules.get()};
}

}  // namespace weir::proxy
