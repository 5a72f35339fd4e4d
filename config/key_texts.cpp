#include "config/key_texts.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <concepts>
#include <string_view>
#include <type_traits>
#include <utility>

#include "config/schema.hpp"
#include "config/value.hpp"

namespace weir::config {
namespace {

std::string text(const std::string& value) {
  return value;
}

std::string text(bool value) {
  return value ? "true" : "false";
}

template <class Number>
  requires(std::integral<Number> || std::floating_point<Number>)
std::string text(Number value) {
  return fmt::format("{}", value);
}

std::string text(Duration value) {
  return value.count() == 0 ? "0" : duration_text(value.count());
}

std::string text(const Backoff& value) {
  return fmt::format("{}..{}", text(value.first), text(value.most));
}

std::string text(const Keepalive& value) {
  return fmt::format("{},{},{}", text(value.idle), text(value.interval), value.count);
}

std::string text(const Address& value) {
  return value.text();
}

std::string text(const Network& value) {
  return value.text;
}

std::string text(const Certificate& value) {
  return fmt::format("{{cert: {}, key: {}}}", value.cert, value.key);
}

template <class Item>
std::string text(const std::vector<Item>& items) {
  std::string list;
  for (const Item& item : items) list += (list.empty() ? "" : ", ") + text(item);
  return "[" + list + "]";
}

// Quoted, as a value of YAML or JSON that any terminal shows.
std::string bytes(std::string_view value) {
  std::string quoted = "\"";
  for (const char c : value) {
    const auto byte = static_cast<unsigned char>(c);
    if (c == '\r' || c == '\n' || c == '\t') {
      quoted += c == '\r' ? "\\r" : c == '\n' ? "\\n" : "\\t";
    } else if (c == '"' || c == '\\') {
      quoted += {'\\', c};
    } else if (byte < 0x20U || byte > 0x7EU) {
      quoted += fmt::format("\\x{:02x}", byte);
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

// "0" where a rate has no limit.
std::string rate(double per_second) {
  return per_second == 0 ? "0" : fmt::format("{}/s", per_second);
}

class Texts {
 public:
  // Where the keys stand in the schema: "upstreams.*."
  explicit Texts(std::string_view place) : place_(place) {}

  template <class Value>
  void add(std::string_view key, const Value& value, Effect effect) {
    if constexpr (std::is_enum_v<Value>) {
      add_text(key, std::string(split_words(words_of(key)).at(static_cast<std::size_t>(value))),
               effect);
    } else {
      add_text(key, text(value), effect);
    }
  }
  // One whose text is made elsewhere; empty = not set.
  void add_text(std::string_view key, std::string text, Effect effect) {
    if (!text.empty()) texts_.push_back({std::string(key), std::move(text), effect});
  }
  void add_section(std::string_view key, Effect effect) { add_text(key, "set", effect); }
  std::vector<KeyText> take() { return std::move(texts_); }

 private:
  std::string_view words_of(std::string_view key) const {
    const std::string path = fmt::format("{}{}", place_, key);
    return std::ranges::find(all_keys(), path, &Key::path)->words;
  }

  std::string_view place_;
  std::vector<KeyText> texts_;
};

void add_tls(Texts& texts, const UpstreamTls& tls) {
  constexpr Effect replaced = Effect::idle_replaced;
  texts.add_section("tls", replaced);
  texts.add("tls.server_name", tls.server_name, replaced);
  texts.add("tls.verify", tls.verify, replaced);
  texts.add("tls.ca", tls.ca, replaced);
  if (tls.certificate) {
    texts.add_section("tls.certificate", replaced);
    texts.add("tls.certificate.cert", tls.certificate->cert, replaced);
    texts.add("tls.certificate.key", tls.certificate->key, replaced);
  }
  texts.add("tls.alpn", tls.alpn, replaced);
}

void add_pool(Texts& texts, const Pool& pool) {
  constexpr Effect at_once = Effect::none;
  constexpr Effect replaced = Effect::idle_replaced;
  texts.add("pool.mode", pool.mode, replaced);
  texts.add("pool.max_connections", pool.max_connections, at_once);
  texts.add("pool.max_total", pool.max_total, at_once);
  texts.add("pool.min_idle", pool.min_idle, at_once);
  texts.add("pool.max_idle", pool.max_idle, at_once);
  texts.add("pool.anticipate", pool.anticipate, at_once);
  texts.add("pool.max_opening", pool.max_opening, at_once);
  texts.add_text("pool.open_rate", rate(pool.open_rate), at_once);
  texts.add("pool.acquire_timeout", pool.acquire_timeout, Effect::new_sessions_only);
  texts.add("pool.max_waiting", pool.max_waiting, at_once);
  texts.add("pool.idle_timeout", pool.idle_timeout, at_once);
  texts.add("pool.fresh_max_age", pool.fresh_max_age, at_once);
  texts.add("pool.max_lifetime", pool.max_lifetime, at_once);
  texts.add("pool.max_uses", pool.max_uses, at_once);
  texts.add("pool.backoff", pool.backoff, at_once);
  texts.add("pool.server_speaks_first", pool.server_speaks_first, replaced);
  if (pool.reset) {
    texts.add_section("pool.reset", replaced);
    texts.add_text("pool.reset.send", bytes(pool.reset->send), replaced);
    texts.add_text("pool.reset.expect", bytes(pool.reset->expect), replaced);
    texts.add("pool.reset.timeout", pool.reset->timeout, replaced);
  }
  texts.add("pool.keepalive", pool.keepalive, Effect::new_sessions_only);
  texts.add("pool.user_timeout", pool.user_timeout, Effect::new_sessions_only);
}

void add_health_check(Texts& texts, const HealthCheck& check) {
  constexpr Effect at_once = Effect::none;
  texts.add_section("health_check", at_once);
  texts.add("health_check.type", check.type, at_once);
  texts.add("health_check.interval", check.interval, at_once);
  texts.add("health_check.fast_interval", check.fast_interval, at_once);
  texts.add("health_check.timeout", check.timeout, at_once);
  texts.add("health_check.healthy_after", check.healthy_after, at_once);
  texts.add("health_check.unhealthy_after", check.unhealthy_after, at_once);
  texts.add("health_check.port", check.port, at_once);
  texts.add("health_check.http.path", check.http.path, at_once);
  texts.add("health_check.http.host", check.http.host, at_once);
  texts.add("health_check.http.method", check.http.method, at_once);
  texts.add("health_check.http.expect", check.http.expect, at_once);
  if (check.exchange) {
    texts.add_section("health_check.exchange", at_once);
    texts.add_text("health_check.exchange.send", bytes(check.exchange->send), at_once);
    texts.add_text("health_check.exchange.expect", bytes(check.exchange->expect), at_once);
  }
}

}  // namespace

std::vector<KeyText> process_texts(const Config& config) {
  constexpr Effect at_once = Effect::none;
  Texts texts("");
  texts.add_text("workers", config.workers == 0 ? "auto" : text(config.workers),
                 Effect::next_start);
  texts.add("watch", config.watch, at_once);
  texts.add("limits.connections", config.limits.connections, at_once);
  texts.add("limits.handshakes", config.limits.handshakes, at_once);
  texts.add("drain.delay", config.drain.delay, at_once);
  texts.add("drain.timeout", config.drain.timeout, at_once);
  texts.add("log.level", config.log.level, at_once);
  texts.add("log.format", config.log.format, at_once);
  texts.add("access_log.path", config.access_log.path, at_once);
  texts.add("access_log.format", config.access_log.format, at_once);
  texts.add_text("admin.bind", config.admin.bind ? text(*config.admin.bind) : "off", at_once);
  return texts.take();
}

std::vector<KeyText> texts(const TlsSettings& settings) {
  constexpr Effect sessions = Effect::new_sessions_only;
  Texts texts("tls.*.");
  texts.add("certificates", settings.certificates, sessions);
  texts.add("unknown_server_name", settings.unknown_server_name, sessions);
  texts.add("profile", settings.profile, sessions);
  texts.add("alpn", settings.alpn, sessions);
  const ClientCertificate& client = settings.client_certificate;
  std::vector<std::string> allowed;
  for (const IdentityPattern& each : client.allow) allowed.push_back(each.text());
  texts.add("client_certificate.verify", client.verify, sessions);
  texts.add("client_certificate.ca", client.ca, sessions);
  texts.add("client_certificate.crl", client.crl, sessions);
  texts.add("client_certificate.allow", allowed, sessions);
  texts.add("session_tickets.enabled", settings.session_tickets.enabled, sessions);
  texts.add("session_tickets.key_file", settings.session_tickets.key_file, sessions);
  texts.add("session_tickets.rotate", settings.session_tickets.rotate, sessions);
  texts.add("handshake_timeout", settings.handshake_timeout, sessions);
  return texts.take();
}

std::vector<KeyText> texts(const Listener& listener) {
  constexpr Effect sessions = Effect::new_sessions_only;
  Texts texts("listeners.*.");
  texts.add("bind", listener.bind, sessions);
  texts.add_text("tls",
                 listener.passthrough   ? "passthrough"
                 : listener.tls.empty() ? "off"
                                        : listener.tls,
                 sessions);
  texts.add("proxy_protocol", listener.proxy_protocol, sessions);
  texts.add("trusted", listener.trusted, sessions);
  texts.add("limits.connections", listener.limits.connections, sessions);
  texts.add("timeouts.header", listener.timeouts.header, sessions);
  texts.add("timeouts.first_byte", listener.timeouts.first_byte, sessions);
  texts.add("timeouts.idle", listener.timeouts.idle, sessions);
  texts.add("timeouts.half_close", listener.timeouts.half_close, sessions);
  texts.add("timeouts.session", listener.timeouts.session, sessions);
  texts.add("upstream", listener.upstream, sessions);
  return texts.take();
}

std::vector<KeyText> texts(const Route& route) {
  constexpr Effect sessions = Effect::new_sessions_only;
  Texts texts("listeners.*.routes[].");
  texts.add("match.server_name", route.match.server_name, sessions);
  texts.add("match.alpn", route.match.alpn, sessions);
  texts.add("match.client", route.match.client, sessions);
  texts.add("upstream", route.upstream, sessions);
  return texts.take();
}

std::vector<KeyText> texts(const Upstream& upstream) {
  constexpr Effect at_once = Effect::none;
  constexpr Effect sessions = Effect::new_sessions_only;
  Texts texts("upstreams.*.");
  texts.add_text("dns.refresh", upstream.dns.refresh ? text(*upstream.dns.refresh) : "auto",
                 at_once);
  texts.add("dns.min", upstream.dns.min, at_once);
  texts.add("dns.max", upstream.dns.max, at_once);
  texts.add("dns.servers", upstream.dns.servers, at_once);
  texts.add("balance", upstream.balance, sessions);
  texts.add("hash_on", upstream.hash_on, sessions);
  if (upstream.tls) add_tls(texts, *upstream.tls);
  texts.add("proxy_protocol", upstream.proxy_protocol, Effect::idle_replaced);
  texts.add("connect_timeout", upstream.connect_timeout, sessions);
  texts.add("tls_timeout", upstream.tls_timeout, sessions);
  texts.add("attempts", upstream.attempts, sessions);
  texts.add("ejection.failures", upstream.ejection.failures, at_once);
  texts.add("ejection.duration", upstream.ejection.duration, at_once);
  texts.add("ejection.max_percent", upstream.ejection.max_percent, at_once);
  texts.add("slow_start", upstream.slow_start, at_once);
  texts.add("when_endpoint_removed", upstream.when_endpoint_removed, at_once);
  texts.add("when_endpoint_unhealthy", upstream.when_endpoint_unhealthy, at_once);
  add_pool(texts, upstream.pool);
  if (upstream.health_check) add_health_check(texts, *upstream.health_check);
  return texts.take();
}

std::vector<KeyText> texts(const Endpoint& endpoint) {
  Texts texts("upstreams.*.endpoints[].");
  texts.add("weight", endpoint.weight, Effect::none);
  texts.add("tier", endpoint.tier, Effect::none);
  return texts.take();
}

}  // namespace weir::config
