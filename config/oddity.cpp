#include "config/oddity.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace weir::config {
namespace {

// A drain ends what is still open when its time is over. The default of either time is nobody's
// choice, and below the other in most configurations.
void warn_of_drain(const Config& config, const Node& root, Report& report) {
  const Entry* timeout = root.find({"drain", "timeout"});
  if (timeout == nullptr || has_fault(timeout->value)) return;
  if (config.drain.timeout == Duration::zero() || config.drain.timeout == Drain{}.timeout) return;
  const Entry* listeners = root.find("listeners");
  for (std::size_t i = 0; i < config.listeners.size(); ++i) {
    const Duration time = config.listeners[i].timeouts.idle;
    if (time <= config.drain.timeout || time == ListenerTimeouts{}.idle) continue;
    const Node& written = listeners->value.entries[i].value;
    const Entry* idle = written.find({"timeouts", "idle"});
    report.warning(
        timeout->value.mark,
        fmt::format("a drain waits {} for sessions that the listener {} lets be silent "
                    "for {}",
                    timeout->value.text, in_backticks(config.listeners[i].name), idle->value.text),
        "those that are quiet then are cut off");
    return;
  }
}

void warn_of_connections(const Config& config, const Node& root, std::uint64_t descriptors,
                         Report& report) {
  const Entry* connections = root.find({"limits", "connections"});
  const std::uint64_t needed = std::uint64_t{2} * config.limits.connections;
  if (connections == nullptr || has_fault(connections->value) || needed <= descriptors) return;
  report.warning(
      connections->value.mark,
      fmt::format(
          "{} connections need {} descriptors, one at each end, and RLIMIT_NOFILE allows {}",
          config.limits.connections, needed, descriptors),
      "raise the hard limit (`LimitNOFILE=` of systemd), or leave the key out");
}

void warn_of_trust(const Config& config, const Node& root, Report& report) {
  const Entry* upstreams = root.find("upstreams");
  for (std::size_t i = 0; i < config.upstreams.size(); ++i) {
    if (!config.upstreams[i].tls || config.upstreams[i].tls->verify) continue;
    const Entry* verify = upstreams->value.entries[i].value.find({"tls", "verify"});
    if (verify == nullptr || has_fault(verify->value)) continue;
    report.warning(verify->value.mark,
                   "the servers' certificates are not verified: whoever is on the way can read and "
                   "change everything",
                   "`ca` names the authority of certificates that are not public");
  }
}

void warn_of_client_certificate(const ClientCertificate& client, const Node& written,
                                Report& report) {
  const Entry* verify = written.find("verify");
  const Entry* allow = written.find("allow");
  if (verify == nullptr || has_fault(written)) return;
  if (client.verify == ClientVerify::off) {
    if (client.ca.empty() && client.crl.empty() && client.allow.empty()) return;
    report.warning(verify->value.mark,
                   "no client certificate is asked for: what is written beside `verify: off` does "
                   "nothing");
  } else if (client.verify == ClientVerify::optional && !client.allow.empty()) {
    report.warning(allow->key_mark,
                   "whom `allow` keeps out is let in without a certificate, since `verify` is "
                   "`optional`",
                   "write `verify: required`, or let the servers look at what they are told");
  }
}

void warn_of_tickets(const SessionTickets& tickets, const Node& written, Report& report) {
  if (tickets.key_file.empty() || has_fault(written)) return;
  if (!tickets.enabled) {
    report.warning(written.find("key_file")->key_mark,
                   "no ticket is given: `enabled` is `false`, and `key_file` does nothing");
  } else if (const Entry* rotate = written.find("rotate")) {
    report.warning(rotate->key_mark,
                   "the keys of a `key_file` change with it: `rotate` does nothing");
  }
}

void warn_of_clients(const Config& config, const Node& root, Report& report) {
  for (const auto& [name, settings] : config.tls) {
    if (const Entry* written = root.find({"tls", name, "client_certificate"})) {
      warn_of_client_certificate(settings.client_certificate, written->value, report);
    }
    if (const Entry* written = root.find({"tls", name, "session_tickets"})) {
      warn_of_tickets(settings.session_tickets, written->value, report);
    }
  }
}

// Once a listener: one upstream is enough to see what is meant.
void warn_of_double_tls(const Config& config, const Node& root, Report& report) {
  const Entry* listeners = root.find("listeners");
  const auto is_reached = [](const Listener& listener, const Upstream& upstream) {
    return listener.upstream == upstream.name ||
           std::ranges::find(listener.routes, upstream.name, &Route::upstream) !=
               listener.routes.end();
  };
  for (std::size_t i = 0; i < config.listeners.size(); ++i) {
    const Listener& listener = config.listeners[i];
    if (!listener.passthrough) continue;
    const auto found = std::ranges::find_if(config.upstreams, [&](const Upstream& upstream) {
      return upstream.tls && is_reached(listener, upstream);
    });
    if (found == config.upstreams.end()) continue;
    report.warning(listeners->value.entries[i].value.find("tls")->value.mark,
                   fmt::format("the client's TLS passes through, and the upstream {} wraps it in "
                               "TLS of its own",
                               in_backticks(found->name)),
                   "`tls` of an upstream is for clients whose TLS ends here");
  }
}

}  // namespace

void warn_odd(const Config& config, const Node& root, std::uint64_t descriptors, Report& report) {
  warn_of_drain(config, root, report);
  warn_of_connections(config, root, descriptors, report);
  warn_of_trust(config, root, report);
  warn_of_clients(config, root, report);
  warn_of_double_tls(config, root, report);
}

}  // namespace weir::config
