#pragma once
// The configuration that is in force, and what stands for it in the running program: the numbers
// and the addresses of its listeners, the numbers of its upstreams. Immutable: a reload makes
// another one. Any thread.

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "config/config.hpp"
#include "proxy/listening.hpp"
#include "proxy/outcome.hpp"
#include "proxy/tls_store.hpp"

namespace weir::proxy {

struct InForce {
  struct Listener {
    std::size_t index = 0;                 // its number
    std::vector<BindingPointer> bindings;  // in the order of `bind`
  };

  // Sessions by outcome.
  using Sessions = std::array<std::uint64_t, reason_count>;

  std::shared_ptr<const config::Config> config;
  TlsStore tls;
  std::vector<Listener> listeners;     // in the order of the configuration
  std::vector<std::size_t> upstreams;  // numbers, in the order of the configuration
  std::size_t upstream_count = 0;      // that have ever been configured: their numbers are below
  // By listener and upstream: sessions of before the upstream came back. As while it was away, they
  // are shown as those of none, so that no counter goes back and none of them is missing.
  std::map<std::pair<std::size_t, std::size_t>, Sessions> earlier_sessions;
};
using InForcePointer = std::shared_ptr<const InForce>;

// How reloads have gone.
struct Reloads {
  std::uint64_t good = 0;
  std::uint64_t refused = 0;
  bool last_was_good = true;
  std::chrono::system_clock::time_point last_good;  // the start, when there was none
  std::string why_refused;                          // the last one, in words; empty = it was good
};

}  // namespace weir::proxy
