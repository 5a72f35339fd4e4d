#include "config/schema.hpp"

#include <gtest/gtest.h>

#include <set>

#include "config/value.hpp"
#include "tests/config/load.hpp"

namespace weir::config {
namespace {

using testing::ElementsAre;

bool takes_values(const Key& key) {
  return key.type != Type::section && key.type != Type::named && key.type != Type::list;
}

TEST(Schema, DescribesEveryKeyOnce) {
  std::set<std::string_view> paths;
  for (const Key& key : all_keys()) {
    EXPECT_TRUE(paths.insert(key.path).second) << key.path;
    EXPECT_TRUE(key.help.ends_with('.')) << key.path;
  }
  EXPECT_GT(paths.size(), 110U);
}

TEST(Schema, HasARowForEveryLevel) {
  const auto check = [](const SchemaNode& node, const auto& self) -> void {
    for (const SchemaNode& child : node.children) {
      EXPECT_NE(child.key, nullptr) << child.name;
      self(child, self);
    }
  };
  check(schema(), check);
}

TEST(Schema, StoresEverySupportedValue) {
  for (const Key& key : all_keys()) {
    if (!takes_values(key) || key.set != nullptr || !key.supported) continue;
    if (key.path == "include") continue;  // its files are in the Config
    // Only one value of it is supported, and that is the default.
    EXPECT_EQ(split_words(key.words).size(), split_words(key.later).size() + 1) << key.path;
  }
}

TEST(Schema, HasDefaultsThatItAccepts) {
  for (const Key& key : all_keys()) {
    const bool is_list = key.standard.starts_with('[');
    if (!takes_values(key) || key.standard.empty() || is_list) continue;
    const auto value = parse_value(key, {key.standard, false, ""});
    EXPECT_TRUE(value) << key.path << ": " << (value ? "" : value.error().message);
  }
}

TEST(Schema, RefusesWhatIsNotSupportedYetAtItsPlace) {
  const auto listener = [](const std::string& line) {
    return problems_of(replaced(smallest, "    upstream: api", "    upstream: api\n    " + line));
  };
  const auto upstream = [](const std::string& line) {
    return problems_of(smallest + "    " + line + "\n");
  };
  const auto top = [](const std::string& line) { return problems_of(line + "\n" + smallest); };
  EXPECT_THAT(top("admin: { token_file: a }"),
              ElementsAre(error_at(1, 10, "`token_file` is not supported yet")));
  EXPECT_THAT(top("sandbox: on"), ElementsAre(error_at(1, 10, "`sandbox: on` is not supported")));
  EXPECT_THAT(listener("mode: http"), ElementsAre(error_at(6, 11, "`mode: http` is not")));
  EXPECT_THAT(listener("allow: [10.0.0.0/8]"), ElementsAre(error_at(6, 5, "`allow` is not")));
  EXPECT_THAT(listener("limits: { connections_per_client: 5 }"),
              ElementsAre(error_at(6, 15, "`connections_per_client` is not")));
  EXPECT_THAT(upstream("pool: { mode: http }"), ElementsAre(error_at(10, 19, "`mode: http`")));
}

TEST(Schema, AcceptsWhatIsNotSupportedYetWhereItChangesNothing) {
  config_of(R"(version: 1
include: []
sandbox: off
admin: { connection_metrics: 0 }
tls:
  public:
    certificates: [ { cert: /dev/null, key: /dev/null } ]
    client_certificate: { verify: off, allow: [] }
listeners:
  web:
    bind: "127.0.0.1:8443"
    mode: tcp
    tls: public
    allow: []
    deny: []
    limits: { connections_per_client: 0, connect_rate_per_client: off }
    upstream: api
upstreams:
  api:
    endpoints: [ { address: "10.0.0.5:9000" } ]
)");
}

constexpr const char* every_value = R"(version: 1
watch: true
workers: 4
limits: { connections: 10, handshakes: 20 }
drain: { delay: 1s, timeout: 2s }
log: { level: warn, format: json }
access_log: { path: stderr, format: text }
admin: { bind: "unix:/run/weir.sock" }
tls:
  public:
    certificates: [ { cert: /dev/null, key: /dev/zero } ]
    unknown_server_name: reject
    profile: modern
    alpn: [mqtt, h2]
    session_tickets: { enabled: false, rotate: 1h }
    handshake_timeout: 3s
listeners:
  web:
    bind: [ "0.0.0.0:8443", "[::]:8443", "127.0.0.1:0" ]
    tls: public
    limits: { connections: 5 }
    timeouts: { first_byte: 1s, idle: 2s, half_close: 3s, session: 4s }
    routes:
      - { name: one, match: { alpn: mqtt, client: [10.1.0.0/16, "::1"] }, upstream: api }
upstreams:
  api:
    endpoints: [ { address: "10.0.0.5:9000", weight: 0, tier: 1 }, { address: "unix:/x" } ]
    balance: least_connections
    tls:
      server_name: API.internal
      verify: false
      ca: /dev/null
      certificate: { cert: /dev/null, key: /dev/zero }
      alpn: [h2]
    connect_timeout: 6s
    tls_timeout: 7s
    attempts: 8
    pool:
      mode: off
      max_connections: 30
      max_total: 31
      min_idle: 2
      max_idle: 3
      max_opening: 4
      acquire_timeout: 5s
      max_waiting: 6
      idle_timeout: 7s
      fresh_max_age: 8s
    health_check:
      interval: 1s
      fast_interval: 100ms
      timeout: 3s
      healthy_after: 4
      unhealthy_after: 5
      port: 6
)";

TEST(Schema, StoresEveryValueOfTheLanguage) {
  const LoadResult result = load(every_value);
  EXPECT_THAT(result.problems, ElementsAre(warning_at(31, 15, "not verified")));
  const Config& config = result.config.value();
  EXPECT_TRUE(config.watch);
  EXPECT_EQ(config.workers, 4U);
  EXPECT_EQ(config.limits.connections, 10U);
  EXPECT_EQ(config.limits.handshakes, 20U);
  EXPECT_EQ(config.drain.delay, 1s);
  EXPECT_EQ(config.drain.timeout, 2s);
  EXPECT_EQ(config.log.level, LogLevel::warn);
  EXPECT_EQ(config.log.format, LogFormat::json);
  EXPECT_EQ(config.access_log.path, "stderr");
  EXPECT_EQ(config.access_log.format, LogFormat::text);
  EXPECT_EQ(config.admin.bind->text(), "unix:/run/weir.sock");

  const TlsSettings& settings = config.tls.at("public");
  EXPECT_EQ(settings.name, "public");
  EXPECT_EQ(settings.certificates[0].cert, "/dev/null");
  EXPECT_EQ(settings.certificates[0].key, "/dev/zero");
  EXPECT_EQ(settings.unknown_server_name, UnknownServerName::reject);
  EXPECT_EQ(settings.profile, TlsProfile::modern);
  EXPECT_THAT(settings.alpn, ElementsAre("mqtt", "h2"));
  EXPECT_FALSE(settings.session_tickets.enabled);
  EXPECT_EQ(settings.session_tickets.rotate, 1h);
  EXPECT_EQ(settings.handshake_timeout, 3s);

  const Listener& listener = config.listeners[0];
  EXPECT_EQ(listener.bind.size(), 3U);
  EXPECT_EQ(listener.tls, "public");
  EXPECT_EQ(listener.limits.connections, 5U);
  EXPECT_EQ(listener.timeouts.first_byte, 1s);
  EXPECT_EQ(listener.timeouts.idle, 2s);
  EXPECT_EQ(listener.timeouts.half_close, 3s);
  EXPECT_EQ(listener.timeouts.session, 4s);
  EXPECT_EQ(listener.routes[0].name, "one");
  EXPECT_THAT(listener.routes[0].match.alpn, ElementsAre("mqtt"));
  EXPECT_EQ(listener.routes[0].match.client[1].prefix_length, 128);
  EXPECT_EQ(listener.routes[0].upstream, "api");

  const Upstream& upstream = config.upstreams[0];
  EXPECT_EQ(upstream.endpoints[0].weight, 0U);
  EXPECT_EQ(upstream.endpoints[0].tier, 1U);
  EXPECT_EQ(upstream.balance, Balance::least_connections);
  EXPECT_EQ(upstream.tls->server_name, "api.internal");
  EXPECT_FALSE(upstream.tls->verify);
  EXPECT_EQ(upstream.tls->ca, "/dev/null");
  EXPECT_EQ(upstream.tls->certificate->key, "/dev/zero");
  EXPECT_THAT(upstream.tls->alpn, ElementsAre("h2"));
  EXPECT_EQ(upstream.connect_timeout, 6s);
  EXPECT_EQ(upstream.tls_timeout, 7s);
  EXPECT_EQ(upstream.attempts, 8U);
  EXPECT_EQ(upstream.pool.mode, PoolMode::off);
  EXPECT_EQ(upstream.pool.max_connections, 30U);
  EXPECT_EQ(upstream.pool.max_total, 31U);
  EXPECT_EQ(upstream.pool.min_idle, 2U);
  EXPECT_EQ(upstream.pool.max_idle, 3U);
  EXPECT_EQ(upstream.pool.max_opening, 4U);
  EXPECT_EQ(upstream.pool.acquire_timeout, 5s);
  EXPECT_EQ(upstream.pool.max_waiting, 6U);
  EXPECT_EQ(upstream.pool.idle_timeout, 7s);
  EXPECT_EQ(upstream.pool.fresh_max_age, 8s);
  EXPECT_EQ(upstream.health_check->interval, 1s);
  EXPECT_EQ(upstream.health_check->fast_interval, 100ms);
  EXPECT_EQ(upstream.health_check->timeout, 3s);
  EXPECT_EQ(upstream.health_check->healthy_after, 4U);
  EXPECT_EQ(upstream.health_check->unhealthy_after, 5U);
  EXPECT_EQ(upstream.health_check->port, 6);
}

constexpr const char* upstream_half = R"(version: 1
listeners:
  web:
    bind: "127.0.0.1:8443"
    proxy_protocol: require
    trusted: ["10.0.0.0/8", "2001:db8::/32"]
    timeouts: { header: 3s }
    upstream: api
  other: { bind: "127.0.0.1:8444", upstream: cache }
upstreams:
  api:
    endpoints:
      - { address: "db.internal:5432", tier: 1 }
      - { address: "srv:_redis._tcp.Cache.Internal." }
    dns: { refresh: 20s, min: 2s, max: 1m, servers: ["127.0.0.1:5353"] }
    balance: hash
    hash_on: server_name
    proxy_protocol: v2
    pool:
      anticipate: 2.5
      open_rate: 100/s
      max_lifetime: 10m
      max_uses: 7
      backoff: 50ms .. 2s
      keepalive: 5s, 2s, 4
      user_timeout: 9s
    health_check:
      type: http
      http: { path: /ready, host: api.internal, method: HEAD, expect: [200, 204] }
    ejection: { failures: 3, duration: 10s, max_percent: 30 }
    slow_start: 20s
    when_endpoint_removed: close
    when_endpoint_unhealthy: close
  cache:
    endpoints: [ { address: "127.0.0.1:6379" } ]
    pool:
      mode: reset
      reset: { send: 'RESET\r\n', expect: "+RESET\r\n", timeout: 300ms }
    health_check: { type: exchange, exchange: { send: 'a\x00\\', expect: 'b\t' } }
)";

TEST(Schema, FillsTheUpstreamHalf) {
  const Config config = config_of(upstream_half);
  const Listener& listener = config.listeners[0];
  EXPECT_EQ(listener.proxy_protocol, AcceptProxy::require);
  EXPECT_EQ(listener.trusted.size(), 2U);
  EXPECT_EQ(listener.timeouts.header, 3s);

  const Upstream& api = config.upstreams[0];
  EXPECT_EQ(api.endpoints[0].kind, Endpoint::Kind::name);
  EXPECT_EQ(api.endpoints[0].text(), "db.internal:5432");
  EXPECT_EQ(api.endpoints[1].kind, Endpoint::Kind::service);
  EXPECT_EQ(api.endpoints[1].text(), "srv:_redis._tcp.cache.internal");
  EXPECT_EQ(api.dns.refresh, 20s);
  EXPECT_EQ(api.dns.min, 2s);
  EXPECT_EQ(api.dns.max, 1min);
  EXPECT_EQ(api.dns.servers.at(0).text(), "127.0.0.1:5353");
  EXPECT_EQ(api.balance, Balance::hash);
  EXPECT_EQ(api.hash_on, HashOn::server_name);
  EXPECT_EQ(api.proxy_protocol, SendProxy::v2);
  EXPECT_EQ(api.pool.anticipate, 2.5);
  EXPECT_EQ(api.pool.open_rate, 100);
  EXPECT_EQ(api.pool.max_lifetime, 10min);
  EXPECT_EQ(api.pool.max_uses, 7U);
  EXPECT_EQ(api.pool.backoff.first, 50ms);
  EXPECT_EQ(api.pool.backoff.most, 2s);
  EXPECT_EQ(api.pool.keepalive.idle, 5s);
  EXPECT_EQ(api.pool.keepalive.interval, 2s);
  EXPECT_EQ(api.pool.keepalive.count, 4U);
  EXPECT_EQ(api.pool.user_timeout, 9s);
  EXPECT_EQ(api.health_check->type, CheckType::http);
  EXPECT_EQ(api.health_check->http.path, "/ready");
  EXPECT_EQ(api.health_check->http.host, "api.internal");
  EXPECT_EQ(api.health_check->http.method, "HEAD");
  EXPECT_THAT(api.health_check->http.expect, ElementsAre(200, 204));
  EXPECT_EQ(api.ejection.failures, 3U);
  EXPECT_EQ(api.ejection.duration, 10s);
  EXPECT_EQ(api.ejection.max_percent, 30U);
  EXPECT_EQ(api.slow_start, 20s);
  EXPECT_EQ(api.when_endpoint_removed, WhenRemoved::close);
  EXPECT_EQ(api.when_endpoint_unhealthy, WhenUnhealthy::close);
}

TEST(Schema, FillsWhatIsWrittenAsBytes) {
  const Config config = config_of(upstream_half);
  const Upstream& cache = config.upstreams[1];
  EXPECT_EQ(cache.pool.mode, PoolMode::reset);
  EXPECT_EQ(cache.pool.reset->send, "RESET\r\n");
  EXPECT_EQ(cache.pool.reset->expect, "+RESET\r\n");
  EXPECT_EQ(cache.pool.reset->timeout, 300ms);
  EXPECT_EQ(cache.health_check->exchange->send, std::string("a\0\\", 3));
  EXPECT_EQ(cache.health_check->exchange->expect, "b\t");
}

}  // namespace
}  // namespace weir::config
