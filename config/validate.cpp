#include "config/validate.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cctype>
#include <cerrno>
#include <limits>
#include <map>
#include <set>
#include <system_error>

#include "config/oddity.hpp"
#include "config/overlap.hpp"
#include "config/reachability.hpp"

namespace weir::config {
namespace {

// Why the file cannot be read, or "". A FIFO must not make this wait.
std::string fault_of_file(const std::string& path) {
  const auto reason = [](int error) { return std::generic_category().message(error); };
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (descriptor < 0) return reason(errno);
  struct stat status = {};
  std::string fault;
  if (::fstat(descriptor, &status) != 0) {
    fault = reason(errno);
  } else if (S_ISDIR(status.st_mode)) {
    fault = reason(EISDIR);
  }
  ::close(descriptor);
  return fault;
}

// The process raises its limit to this one when it starts.
std::uint64_t most_descriptors() {
  rlimit limit{};
  const bool is_known = ::getrlimit(RLIMIT_NOFILE, &limit) == 0;
  return is_known ? limit.rlim_max : std::numeric_limits<std::uint64_t>::max();
}

class Validator {
 public:
  Validator(const Config& config, const Node& root, Report& report)
      : config_(config), root_(root), report_(report) {
    for (const Upstream& upstream : config.upstreams) upstream_names_.push_back(upstream.name);
    for (const auto& [name, settings] : config.tls) tls_names_.push_back(name);
    std::ranges::sort(upstream_names_);
  }

  void run();

 private:
  void check_listener(const Listener& listener);
  void check_tls_reference(const Listener& listener);
  void check_upstream_reference(const std::string& upstream, const Place& place);
  void check_tls(const TlsSettings& settings);
  void check_client_certificate(const ClientCertificate& client, const Entry& written);
  void check_upstream(const Upstream& upstream, const Node& written);
  void check_endpoints(const Upstream& upstream, const Entry& written);
  void check_upstream_tls(const Upstream& upstream, const Entry& written);
  void check_pool(const Pool& pool, const Node& written);
  void check_pool_mode(const Upstream& upstream, const Entry& written);
  void check_health(const Upstream& upstream, const Entry& written);
  void check_files(const Certificate& certificate);
  void check_file(const std::string& path, const Place& place);
  void warn_unused();

  const Config& config_;
  const Node& root_;
  Report& report_;
  std::vector<std::string_view> upstream_names_;  // sorted
  std::vector<std::string_view> tls_names_;       // sorted
  std::set<std::string_view> used_upstreams_;
  std::set<std::string_view> used_tls_;
  std::map<std::string_view, std::string> file_faults_;  // by path: each file is tried once
};

void Validator::run() {
  for (const Listener& listener : config_.listeners) check_listener(listener);
  for (const auto& [name, settings] : config_.tls) check_tls(settings);
  if (const Entry* upstreams = root_.find("upstreams")) {
    // Both are in the order of the file, and the reader left none out.
    for (std::size_t i = 0; i < config_.upstreams.size(); ++i) {
      check_upstream(config_.upstreams[i], upstreams->value.entries[i].value);
    }
  }
  report_overlaps(config_, report_);
  warn_unused();
  warn_odd(config_, root_, most_descriptors(), report_);
}

void Validator::check_listener(const Listener& listener) {
  check_tls_reference(listener);
  // Who comes by a unix socket is let in by its file's permissions.
  const bool has_network = std::ranges::any_of(listener.bind, [](const Address& address) {
    return address.kind != Address::Kind::unix_socket;
  });
  if (listener.proxy_protocol != AcceptProxy::off && listener.trusted.empty() && has_network) {
    report_.error(listener.proxy_protocol_place, "nobody may send a PROXY header",
                  "write `trusted: [...]`, the networks of those who may");
  }
  if (!listener.upstream.empty()) {
    check_upstream_reference(listener.upstream, listener.upstream_place);
  }
  for (const Route& route : listener.routes) {
    if (!route.upstream.empty()) check_upstream_reference(route.upstream, route.upstream_place);
  }
}

void Validator::check_tls_reference(const Listener& listener) {
  if (listener.tls.empty()) return;
  used_tls_.insert(listener.tls);
  if (std::ranges::binary_search(tls_names_, std::string_view(listener.tls))) return;
  report_.error(listener.tls_place,
                fmt::format("there is no TLS setting {}", in_backticks(listener.tls)),
                report_.full() ? "" : did_you_mean(listener.tls, tls_names_));
}

void Validator::check_tls(const TlsSettings& settings) {
  for (const Certificate& certificate : settings.certificates) check_files(certificate);
  check_file(settings.session_tickets.key_file, settings.session_tickets.key_file_place);
  check_file(settings.client_certificate.ca, settings.client_certificate.ca_place);
  check_file(settings.client_certificate.crl, settings.client_certificate.crl_place);
  const Entry* written = root_.find({"tls", settings.name, "client_certificate"});
  if (written == nullptr || has_fault(written->value)) return;
  check_client_certificate(settings.client_certificate, *written);
}

void Validator::check_client_certificate(const ClientCertificate& client, const Entry& written) {
  const Entry* verify = written.value.find("verify");
  if (client.verify != ClientVerify::off) {
    if (!client.ca.empty()) return;
    report_.error(verify->value.mark, "nobody is known who signs the clients' certificates",
                  "write `ca: FILE`, a PEM file with their authorities");
    return;
  }
  // Whoever writes down who is let in must not find the door open.
  if (verify != nullptr || (client.ca.empty() && client.crl.empty() && client.allow.empty()))
    return;
  report_.error(written.key_mark, "no client certificate is asked for: `verify` is missing",
                "write `verify: required`, `optional`, or `off`");
}

void Validator::check_upstream_reference(const std::string& upstream, const Place& place) {
  used_upstreams_.insert(upstream);
  if (std::ranges::binary_search(upstream_names_, std::string_view(upstream))) return;
  report_.error(place, fmt::format("there is no upstream {}", in_backticks(upstream)),
                report_.full() ? "" : did_you_mean(upstream, upstream_names_));
}

void Validator::check_upstream(const Upstream& upstream, const Node& written) {
  if (const Entry* endpoints = written.find("endpoints")) check_endpoints(upstream, *endpoints);
  if (const Entry* tls = written.find("tls")) check_upstream_tls(upstream, *tls);
  if (const Entry* pool = written.find("pool")) {
    check_pool(upstream.pool, pool->value);
    check_pool_mode(upstream, *pool);
  }
  if (const Entry* health = written.find("health_check")) check_health(upstream, *health);
  const Entry* dns = written.find("dns");
  if (dns == nullptr || has_fault(dns->value)) return;
  if (upstream.dns.max < upstream.dns.min) {
    const Entry* max = dns->value.find("max");
    report_.error(max != nullptr ? max->value.mark : dns->key_mark, "`max` is shorter than `min`");
  }
  const bool reachable = std::ranges::all_of(upstream.dns.servers, [](const Address& server) {
    return server.kind != Address::Kind::unix_socket && server.port != 0;
  });
  if (!reachable) {
    report_.error(dns->key_mark, "a resolver has an IP address and a port",
                  "write `servers: [\"127.0.0.1:53\"]`");
  }
  if (!upstream.has_names()) {
    report_.warning(dns->key_mark, "no endpoint is a name: `dns` has nothing to do");
  }
}

void Validator::check_endpoints(const Upstream& upstream, const Entry& written) {
  if (!upstream.endpoints.empty() &&
      std::ranges::all_of(upstream.endpoints,
                          [](const Endpoint& endpoint) { return endpoint.weight == 0; })) {
    report_.error(written.key_mark, "every endpoint has weight 0: none would get a session",
                  "give at least one a weight");
  }
  std::map<std::string, const Endpoint*> seen;
  for (const Endpoint& endpoint : upstream.endpoints) {
    if (endpoint.address.host.empty()) continue;  // its address was faulty
    const auto [earlier, is_first] = seen.emplace(endpoint.text(), &endpoint);
    if (is_first) continue;
    const Place& place = earlier->second->place;
    report_.error(endpoint.place,
                  fmt::format("the endpoint {} is already written at {}:{}:{}",
                              in_backticks(earlier->first), place.file, place.line, place.column),
                  "to give it a larger share, raise its `weight`");
  }
}

void Validator::check_upstream_tls(const Upstream& upstream, const Entry& written) {
  if (!upstream.tls) return;
  const UpstreamTls& tls = *upstream.tls;
  if (tls.ca != "system") check_file(tls.ca, tls.ca_place);
  if (tls.certificate) check_files(*tls.certificate);
  const bool has_unix = std::ranges::any_of(upstream.endpoints, [](const Endpoint& endpoint) {
    return endpoint.address.kind == Address::Kind::unix_socket;
  });
  if (has_unix && tls.verify && written.value.find("server_name") == nullptr) {
    report_.error(written.key_mark, "a unix socket has no name that TLS could verify",
                  "write `server_name`");
  }
  const bool has_service = std::ranges::any_of(upstream.endpoints, [](const Endpoint& endpoint) {
    return endpoint.kind == Endpoint::Kind::service;
  });
  if (has_service && tls.verify && written.value.find("server_name") == nullptr) {
    report_.error(written.key_mark,
                  "the servers of an SRV record have no name that TLS could trust",
                  "write `server_name`");
  }
}

// What a way of using connections asks of the protocol, and what excludes what.
void Validator::check_pool_mode(const Upstream& upstream, const Entry& written) {
  const Pool& pool = upstream.pool;
  if (has_fault(written.value)) return;
  if (pool.mode == PoolMode::reset && !pool.reset) {
    report_.error(written.key_mark, "`mode: reset` needs to know the exchange",
                  "write `reset: { send: \"...\", expect: \"...\" }`");
  }
  if (const Entry* reset = written.value.find("reset")) {
    if (pool.mode != PoolMode::reset) {
      report_.error(reset->key_mark, "`reset` is for `mode: reset` only");
    } else if (pool.reset && (pool.reset->send.empty() || pool.reset->expect.empty())) {
      report_.error(reset->key_mark, "a reset exchange has something to send and to expect");
    }
  }
  const Entry* speaks = written.value.find("server_speaks_first");
  if (speaks != nullptr && pool.server_speaks_first && pool.mode == PoolMode::reset) {
    report_.error(speaks->key_mark,
                  "`server_speaks_first` excludes `mode: reset`: a greeting comes once");
  }
  if (upstream.proxy_protocol == SendProxy::off) return;
  if (pool.mode == PoolMode::reset) {
    report_.error(upstream.proxy_protocol_place,
                  "`proxy_protocol` excludes `mode: reset`: the header names one client");
  } else if (speaks != nullptr && pool.server_speaks_first) {
    report_.error(
        upstream.proxy_protocol_place,
        "`proxy_protocol` excludes `server_speaks_first`: the server waits for the header");
  }
}

void Validator::check_health(const Upstream& upstream, const Entry& written) {
  if (!upstream.health_check || has_fault(written.value)) return;
  const HealthCheck& check = *upstream.health_check;
  if (check.type == CheckType::exchange && (!check.exchange || check.exchange->expect.empty())) {
    report_.error(written.key_mark, "`type: exchange` needs to know the bytes",
                  "write `exchange: { send: \"...\", expect: \"...\" }`");
  }
  if (check.type == CheckType::tls && !upstream.tls) {
    report_.error(written.key_mark, "`type: tls` is for an upstream with `tls`");
  }
  const HttpCheck& http = check.http;
  const auto is_token = [](std::string_view text) {
    return !text.empty() && std::ranges::all_of(text, [](unsigned char c) {
      return std::isalnum(c) != 0 || c == '-' || c == '_';
    });
  };
  const auto is_visible = [](std::string_view text) {
    return std::ranges::all_of(text, [](unsigned char c) { return c > ' ' && c < 0x7f; });
  };
  if (!is_token(http.method) || !http.path.starts_with('/') || !is_visible(http.path) ||
      !is_visible(http.host)) {
    report_.error(written.key_mark, "this is no HTTP request",
                  "`method` is a word, `path` starts with `/`, and neither they nor `host` have "
                  "spaces");
  }
}

void Validator::check_pool(const Pool& pool, const Node& written) {
  const Entry* min_idle = written.find("min_idle");
  if (min_idle == nullptr || has_fault(written)) return;
  const auto exceeds = [&](std::string_view key, std::uint32_t limit) {
    report_.error(min_idle->value.mark, fmt::format("`min_idle` is {}, more than `{}`, which is {}",
                                                    pool.min_idle, key, limit));
  };
  if (pool.min_idle > pool.max_idle) {
    exceeds("max_idle", pool.max_idle);
  } else if (pool.max_connections != 0 && pool.min_idle > pool.max_connections) {
    exceeds("max_connections", pool.max_connections);
  }
}

void Validator::check_files(const Certificate& certificate) {
  check_file(certificate.cert, certificate.cert_place);
  check_file(certificate.key, certificate.key_place);
}

void Validator::check_file(const std::string& path, const Place& place) {
  if (path.empty()) return;  // reported as missing or faulty
  const auto [fault, is_new] = file_faults_.try_emplace(path);
  if (is_new) fault->second = fault_of_file(path);
  if (fault->second.empty()) return;
  report_.error(place, fmt::format("cannot read {}: {}", in_backticks(path), fault->second));
}

void Validator::warn_unused() {
  for (const Upstream& upstream : config_.upstreams) {
    if (used_upstreams_.contains(upstream.name)) continue;
    report_.warning(upstream.place,
                    fmt::format("no listener uses the upstream {}", in_backticks(upstream.name)));
  }
  for (const auto& [name, settings] : config_.tls) {
    if (used_tls_.contains(name)) continue;
    report_.warning(settings.place,
                    fmt::format("no listener uses the TLS setting {}", in_backticks(name)));
  }
  const Entry* listeners = root_.find("listeners");
  for (std::size_t i = 0; i < config_.listeners.size(); ++i) {
    const Listener& listener = config_.listeners[i];
    const Node& written = listeners->value.entries[i].value;
    if (written.find("upstream") == nullptr && written.find("routes") == nullptr) {
      report_.warning(listener.place,
                      fmt::format("the listener {} has neither `upstream` nor `routes`: it closes "
                                  "every connection",
                                  in_backticks(listener.name)));
    }
    warn_unreachable(config_, listener, written, report_);
  }
}

}  // namespace

void validate(const Config& config, const Node& root, Report& report) {
  Validator(config, root, report).run();
}

}  // namespace weir::config
