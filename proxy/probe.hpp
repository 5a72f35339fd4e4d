#pragma once
// `weir check --probe`: tries what a good configuration names. Can the addresses be bound, do names
// lead somewhere, does each endpoint answer as a session and a health check would have it, until
// when are the certificates good? Serves nobody, changes nothing, and leaves no trace but short
// connections to the endpoints. Runs a loop of its own on the calling thread.

#include <vector>

#include "config/config.hpp"
#include "proxy/name_check.hpp"
#include "proxy/probe_report.hpp"
#include "proxy/tls_store.hpp"

namespace weir::proxy {

// In the order of the configuration: listeners, admin, certificates, endpoints. `names` are the
// answers for this configuration, `tls` is what was made of it. Each endpoint takes no longer than
// its upstream's connect_timeout, tls_timeout and health_check.timeout together, many at a time.
// Throws std::system_error where there can be no loop.
std::vector<ProbeResult> probe(const config::Config& config, const TlsStore& tls,
                               const std::vector<NameAnswer>& names);

}  // namespace weir::proxy
