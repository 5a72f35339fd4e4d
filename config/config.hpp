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
};

// An IPv4 or IPv6 network. IPv4 is kept in the first 4 bytes.
struct Network {
  std::array<std::uint8_t, 16> bytes{};
  bool is_v6 = false;
  int prefix_length = 0;
  std::string text;  // as written
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
};

struct Drain {
  Duration delay = 0s;
  Duration timeout = 30s;
};

enum class LogLevel { trace, debug, info, warn, error };
enum class LogFormat { text, json };

struct Log {
  LogLevel level = LogLevel::info;
  LogFormat format = LogFormat::text;
};

struct AccessLog {
  // "off", "stdout", "stderr" or a file, already resolved against the file that names it.
  std::string path = "stdout";
  LogFormat format = LogFormat::json;
};

struct Admin {
  std::optional<Address> bind = Address{Address::Kind::ipv4, "127.0.0.1", 9180};  // nullopt = off
  Place place;
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
};

enum class UnknownServerName { serve_default, reject };
enum class TlsProfile { intermediate, modern };

struct SessionTickets {
  bool enabled = true;
  Duration rotate = 12h;
};

struct TlsSettings {
  std::string name;
  std::vector<Certificate> certificates;
  UnknownServerName unknown_server_name = UnknownServerName::serve_default;
  TlsProfile profile = TlsProfile::intermediate;
  std::vector<std::string> alpn;
  SessionTickets session_tickets;
  Duration handshake_timeout = 10s;
  Place place;
};

// 0 switches a timeout off, but for handshakes and headers, which always have one.
struct ListenerTimeouts {
  Duration first_byte = 0s;
  Duration idle = 5min;
  Duration half_close = 30s;
  Duration session = 0s;
};

// Empty lists match everything; all that are not empty must match.
struct RouteMatch {
  std::vector<std::string> server_name{};  // lower case, exact or "*.suffix" (one label or more)
  std::vector<std::string> alpn{};
  std::vector<Network> client{};
};

struct Route {
  std::string name;  // "" when not named
  RouteMatch match;
  std::string upstream;
  Place upstream_place;
  Place place;
};

struct ListenerLimits {
  std::uint32_t connections = 0;  // 0 = no limit
};

struct Listener {
  std::string name;
  std::vector<Address> bind;
  std::vector<Place> bind_places;  // parallel to bind
  std::string tls;                 // name of a TlsSettings; empty = off
  ListenerLimits limits;
  ListenerTimeouts timeouts;
  std::vector<Route> routes;
  std::string upstream;  // where no route matches; empty = none
  Place tls_place;
  Place upstream_place;
  Place place;
};

struct Endpoint {
  Address address;
  std::uint32_t weight = 1;  // 0 = takes no new sessions
  std::uint32_t tier = 0;
  Place place;
};

enum class Balance { round_robin, least_connections };

struct UpstreamTls {
  std::string server_name;  // SNI and verified name; empty = the host part of the address
  bool verify = true;
  std::string ca = "system";  // "system" or a path
  Place ca_place;
  std::optional<Certificate> certificate;
  std::vector<std::string> alpn;
};

enum class PoolMode { fresh, off };

struct Pool {
  PoolMode mode = PoolMode::fresh;
  std::uint32_t max_connections = 0;  // per endpoint; 0 = no limit
  std::uint32_t max_total = 0;        // per upstream; 0 = no limit
  std::uint32_t min_idle = 0;         // per endpoint
  std::uint32_t max_idle = 64;        // per endpoint
  std::uint32_t max_opening = 8;      // per endpoint
  Duration acquire_timeout = 5s;      // 0 = a session does not wait
  std::uint32_t max_waiting = 1024;   // per upstream
  Duration idle_timeout = 60s;        // each connection draws up to 10 % less
  Duration fresh_max_age = 25s;       // each connection draws up to 20 % less
};

struct HealthCheck {
  Duration interval = 5s;  // jittered by 10 %
  Duration fast_interval = 1s;
  Duration timeout = 2s;
  std::uint32_t healthy_after = 2;
  std::uint32_t unhealthy_after = 3;
  std::uint16_t port = 0;  // 0 = the endpoint's own
};

struct Upstream {
  std::string name;
  std::vector<Endpoint> endpoints;
  Balance balance = Balance::round_robin;
  std::optional<UpstreamTls> tls;
  Duration connect_timeout = 5s;
  Duration tls_timeout = 5s;
  std::uint32_t attempts = 3;
  Pool pool;
  std::optional<HealthCheck> health_check;
  Place place;
};

struct Config {
  int version = 1;
  std::uint32_t workers = 0;  // 0 = auto
  Limits limits;
  Drain drain;
  Log log;
  AccessLog access_log;
  Admin admin;
  std::map<std::string, TlsSettings> tls;
  std::vector<Listener> listeners;  // in the order of the file
  std::vector<Upstream> upstreams;  // in the order of the file
};

}  // namespace weir::config
