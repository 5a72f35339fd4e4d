#pragma once
// What the operator asked for, as plain values. Every default stands here and nowhere else is it
// decided; the reader (reader.hpp) fills these structs from YAML and schema.hpp names each member
// after its key. A Config is built once, then shared read-only by all workers. Keys that this build
// does not support yet have no member: the reader refuses them.

#include <array>
#include <chrono>
#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace weir::config {

using Duration = std::chrono::milliseconds;
using namespace std::chrono_literals;

// Where a value was written. Lines and columns count from 1; line 0 means "a default".
struct Place {
  std::string file;
  int line = 0;
  int column = 0;
  // Where a value stands does not change what it means.
  bool operator==(const Place&) const { return true; }
};

// An IPv4 or IPv6 network. IPv4 is kept in the first 4 bytes.
struct Network {
  std::array<std::uint8_t, 16> bytes{};
  bool is_v6 = false;
  int prefix_length = 0;
  std::string text;  // as written
  bool operator==(const Network&) const = default;
};

// A socket address as written: "ip:port", "[ip6]:port" or "unix:/path".
struct Address {
  enum class Kind { ipv4, ipv6, unix_socket };
  Kind kind = Kind::ipv4;
  std::string host;  // numeric IP without brackets, or the path of a unix socket
  std::uint16_t port = 0;
  // The canonical text: what logs, metric labels and /status show.
  std::string text() const;
  bool operator==(const Address&) const = default;
};

struct Limits {
  std::uint32_t connections = 0;   // open client connections in the process; 0 = by RLIMIT_NOFILE
  std::uint32_t handshakes = 512;  // TLS handshakes in progress at once
  bool operator==(const Limits&) const = default;
};

struct Drain {
  Duration delay = 0s;
  Duration timeout = 30s;
  bool operator==(const Drain&) const = default;
};

enum class LogLevel { trace, debug, info, warn, error };
enum class LogFormat { text, json };

struct Log {
  LogLevel level = LogLevel::info;
  LogFormat format = LogFormat::text;
  bool operator==(const Log&) const = default;
};

struct AccessLog {
  // "off", "stdout", "stderr" or a file, already resolved against the file that names it.
  std::string path = "stdout";
  LogFormat format = LogFormat::json;
  bool operator==(const AccessLog&) const = default;
};

struct Admin {
  std::optional<Address> bind = Address{Address::Kind::ipv4, "127.0.0.1", 9180};  // nullopt = off
  Place place;
  bool operator==(const Admin&) const = default;
};

// A certificate chain and its key: two PEM files, paths resolved against the file that names them.
struct Certificate {
  std::string cert;
  std::string key;
  // The files' text where there are no files: the demo. Never read from YAML.
  std::optional<std::string> cert_pem;
  std::optional<std::string> key_pem;
  Place cert_place;
  Place key_place;
  bool operator==(const Certificate&) const = default;
};

enum class UnknownServerName { serve_default, reject };
enum class TlsProfile { intermediate, modern };

enum class ClientVerify { off, optional, required };

// Whom `allow` lets in. `*` stands for any characters; in a DNS name, as "*." in front, for one
// label or more.
struct IdentityPattern {
  enum class Kind { common_name, dns, uri };
  Kind kind = Kind::common_name;
  std::string value;  // of `dns`: lower case
  // As written: "cn:build-*".
  std::string text() const;
  bool operator==(const IdentityPattern&) const = default;
};

struct ClientCertificate {
  ClientVerify verify = ClientVerify::off;
  std::string ca;                      // empty = none
  std::string crl;                     // empty = none
  std::vector<IdentityPattern> allow;  // empty = any that the authorities have signed
  Place ca_place;
  Place crl_place;
  bool operator==(const ClientCertificate&) const = default;
};

struct SessionTickets {
  bool enabled = true;
  std::string key_file;  // empty = keys live in memory, and are replaced after each `rotate`
  Duration rotate = 12h;
  Place key_file_place;
  bool operator==(const SessionTickets&) const = default;
};

struct TlsSettings {
  std::string name;
  std::vector<Certificate> certificates;
  UnknownServerName unknown_server_name = UnknownServerName::serve_default;
  TlsProfile profile = TlsProfile::intermediate;
  std::vector<std::string> alpn;
  ClientCertificate client_certificate;
  SessionTickets session_tickets;
  Duration handshake_timeout = 10s;
  Place place;
  bool operator==(const TlsSettings&) const = default;
};

// 0 switches a timeout off, but for handshakes and headers, which always have one.
struct ListenerTimeouts {
  Duration header = 10s;  // for a whole PROXY header and, where TLS is passed through, ClientHello
  Duration first_byte = 0s;
  Duration idle = 5min;
  Duration half_close = 30s;
  Duration session = 0s;
  bool operator==(const ListenerTimeouts&) const = default;
};

// Empty lists match everything; all that are not empty must match.
struct RouteMatch {
  std::vector<std::string> server_name{};  // lower case, exact or "*.suffix" (one label or more)
  std::vector<std::string> alpn{};
  std::vector<Network> client{};
  bool operator==(const RouteMatch&) const = default;
};

struct Route {
  std::string name;  // "" when not named
  RouteMatch match;
  std::string upstream;
  Place upstream_place;
  Place place;
  bool operator==(const Route&) const = default;
};

struct ListenerLimits {
  std::uint32_t connections = 0;  // 0 = no limit
  bool operator==(const ListenerLimits&) const = default;
};

enum class AcceptProxy { off, accept, require };

struct Listener {
  std::string name;
  std::vector<Address> bind;
  std::vector<Place> bind_places;  // parallel to bind
  std::string tls;                 // name of a TlsSettings; empty = off, or:
  bool passthrough = false;        // the ClientHello is read, and TLS goes on to the server
  AcceptProxy proxy_protocol = AcceptProxy::off;
  std::vector<Network> trusted;  // who may send a PROXY header
  ListenerLimits limits;
  ListenerTimeouts timeouts;
  std::vector<Route> routes;
  std::string upstream;  // where no route matches; empty = none
  Place tls_place;
  Place proxy_protocol_place;
  Place upstream_place;
  Place place;
  bool operator==(const Listener&) const = default;
};

struct Endpoint {
  // address: dialled as it is. name: every address of `address.host` is an endpoint. service: the
  // same for each target of the DNS SRV records of `address.host`, with their ports and weights.
  enum class Kind { address, name, service };
  Kind kind = Kind::address;
  Address address;           // of a name: host and port; of a service: host alone
  std::uint32_t weight = 1;  // 0 = takes no new sessions
  std::uint32_t tier = 0;
  Place place;
  // As written: the address, "name:port" or "srv:name".
  std::string text() const;
  bool operator==(const Endpoint&) const = default;
};

struct Dns {
  std::optional<Duration> refresh;  // nullopt = auto: the record's TTL, between min and max
  Duration min = 1s;
  Duration max = 5min;
  std::vector<Address> servers;  // empty = those of /etc/resolv.conf
  Place place;
  bool operator==(const Dns&) const = default;
};

enum class Balance { round_robin, least_connections, random_two, hash };
enum class HashOn { client_address, server_name };

struct UpstreamTls {
  std::string server_name;  // SNI and verified name; empty = the host part of the address
  bool verify = true;
  std::string ca = "system";  // "system" or a path
  Place ca_place;
  std::optional<Certificate> certificate;
  std::vector<std::string> alpn;
  bool operator==(const UpstreamTls&) const = default;
};

// `reset`: a used connection is lent again after an exchange in which the server has answered
// exactly what it answers when it has forgotten its client.
enum class PoolMode { fresh, off, reset };

struct Backoff {
  Duration first = 100ms;
  Duration most = 15s;
  bool operator==(const Backoff&) const = default;
};

struct Reset {
  std::string send;
  std::string expect;
  Duration timeout = 1s;
  bool operator==(const Reset&) const = default;
};

struct Keepalive {
  Duration idle = 30s;
  Duration interval = 10s;
  std::uint32_t count = 3;
  bool operator==(const Keepalive&) const = default;
};

struct Pool {
  PoolMode mode = PoolMode::fresh;
  std::uint32_t max_connections = 0;  // per endpoint; 0 = no limit
  std::uint32_t max_total = 0;        // per upstream; 0 = no limit
  std::uint32_t min_idle = 0;         // per endpoint
  std::uint32_t max_idle = 64;        // per endpoint
  double anticipate = 1.0;            // how far the idle target follows the arrival rate
  std::uint32_t max_opening = 8;      // per endpoint
  double open_rate = 0;               // per endpoint, connections a second; 0 = no limit
  Duration acquire_timeout = 5s;      // 0 = a session does not wait
  std::uint32_t max_waiting = 1024;   // per upstream
  Duration idle_timeout = 60s;        // each connection draws up to 10 % less
  Duration fresh_max_age = 25s;       // each connection draws up to 20 % less
  Duration max_lifetime = 30min;      // each connection draws up to 10 % less
  std::uint32_t max_uses = 0;         // 0 = no limit
  Backoff backoff{};
  bool server_speaks_first = false;
  std::optional<Reset> reset{};  // for mode: reset
  Keepalive keepalive{};
  Duration user_timeout = 30s;  // 0 = the kernel's own
  bool operator==(const Pool&) const = default;
};

enum class CheckType { tcp, tls, http, exchange, redis };

struct HttpCheck {
  std::string path = "/healthz";
  std::string host;  // empty = the endpoint's address
  std::string method = "GET";
  std::vector<std::uint32_t> expect{200};  // status codes
  bool expect_written = false;
  bool operator==(const HttpCheck&) const = default;
};

struct Exchange {
  std::string send;
  std::string expect;
  bool operator==(const Exchange&) const = default;
};

struct HealthCheck {
  CheckType type = CheckType::tcp;
  Duration interval = 5s;  // jittered by 10 %
  Duration fast_interval = 1s;
  Duration timeout = 2s;
  std::uint32_t healthy_after = 2;
  std::uint32_t unhealthy_after = 3;
  std::uint16_t port = 0;  // 0 = the endpoint's own
  HttpCheck http;
  std::optional<Exchange> exchange;
  Place place;
  bool operator==(const HealthCheck&) const = default;
};

struct Ejection {
  std::uint32_t failures = 5;  // in a row, of real sessions; 0 = off
  Duration duration = 30s;     // doubles, up to ten times this
  std::uint32_t max_percent = 50;
  bool operator==(const Ejection&) const = default;
};

enum class SendProxy { off, v1, v2 };
enum class WhenRemoved { drain, close };
enum class WhenUnhealthy { keep, close };

struct Upstream {
  std::string name;
  std::vector<Endpoint> endpoints;
  Dns dns;
  Balance balance = Balance::round_robin;
  HashOn hash_on = HashOn::client_address;
  std::optional<UpstreamTls> tls;
  SendProxy proxy_protocol = SendProxy::off;
  Duration connect_timeout = 5s;
  Duration tls_timeout = 5s;
  std::uint32_t attempts = 3;
  Pool pool;
  std::optional<HealthCheck> health_check;
  Ejection ejection;
  Duration slow_start = 0s;
  WhenRemoved when_endpoint_removed = WhenRemoved::drain;
  WhenUnhealthy when_endpoint_unhealthy = WhenUnhealthy::keep;
  Place proxy_protocol_place;
  Place place;

  bool has_names() const;  // endpoints that DNS finds
  bool operator==(const Upstream&) const = default;
};

// The whole configuration as one file again: effective.hpp. It does not change what is meant.
struct Wording {
  std::string yaml;  // empty when the configuration was not read from text
  bool operator==(const Wording&) const { return true; }
};

struct Config {
  int version = 1;
  bool watch = false;         // reload by itself when a file that was read changes
  std::uint32_t workers = 0;  // 0 = auto
  Limits limits;
  Drain drain;
  Log log;
  AccessLog access_log;
  Admin admin;
  std::map<std::string, TlsSettings> tls;
  std::vector<Listener> listeners;  // in the order of the file
  std::vector<Upstream> upstreams;  // in the order of the file
  Wording wording;
  bool operator==(const Config&) const = default;
};

}  // namespace weir::config
