// The keys of upstreams, but for their pools and health checks.

#include "config/schema.hpp"

namespace weir::config {
namespace {

constexpr Key keys[] = {
    {.path = "upstreams",
     .type = Type::named,
     .required = true,
     .help = "Groups of servers that connections are drawn from. At least one."},
    {.path = "upstreams.*",
     .help = "One upstream.",
     .set =
         [](Target& at, const Value& value) {
           at.upstream = &at.config.upstreams.emplace_back();
           at.upstream->name = value.text;
           at.upstream->place = value.place;
         }},
    {.path = "upstreams.*.endpoints",
     .type = Type::list,
     .required = true,
     .help = "The servers. At least one."},
    {.path = "upstreams.*.endpoints[]",
     .help = "One server.",
     .set =
         [](Target& at, const Value& value) {
           at.endpoint = &at.upstream->endpoints.emplace_back();
           at.endpoint->place = value.place;
         }},
    {.path = "upstreams.*.endpoints[].address",
     .type = Type::endpoint,
     .required = true,
     .help = "ip:port, [ip6]:port, unix:/path, name:port or srv:name.",
     .set =
         [](Target& at, const Value& value) {
           at.endpoint->kind = value.kind;
           at.endpoint->address = value.address;
           at.endpoint->place = value.place;
         }},
    {.path = "upstreams.*.endpoints[].weight",
     .type = Type::count,
     .standard = "1",
     .most = 256,
     .help = "The share of new sessions; 0 = takes none.",
     .set = [](Target& at, const Value& value) { at.endpoint->weight = value.count(); }},
    {.path = "upstreams.*.endpoints[].tier",
     .type = Type::count,
     .standard = "0",
     .most = 15,
     .help = "A tier is used when no lower one has a healthy endpoint.",
     .set = [](Target& at, const Value& value) { at.endpoint->tier = value.count(); }},

    {.path = "upstreams.*.dns",
     .help = "How endpoints that are names are resolved again.",
     .set = [](Target& at, const Value& value) { at.upstream->dns.place = value.place; }},
    {.path = "upstreams.*.dns.refresh",
     .type = Type::duration,
     .words = "auto",
     .standard = "auto",
     .least = 10,
     .help = "auto = after the record's TTL, between min and max.",
     .set =
         [](Target& at, const Value& value) {
           if (value.word < 0) at.upstream->dns.refresh = value.duration();
         }},
    {.path = "upstreams.*.dns.min",
     .type = Type::duration,
     .standard = "1s",
     .least = 10,
     .help = "The shortest time between two look-ups.",
     .set = [](Target& at, const Value& value) { at.upstream->dns.min = value.duration(); }},
    {.path = "upstreams.*.dns.max",
     .type = Type::duration,
     .standard = "5m",
     .least = 10,
     .help = "The longest time between two look-ups.",
     .set = [](Target& at, const Value& value) { at.upstream->dns.max = value.duration(); }},
    {.path = "upstreams.*.dns.servers",
     .type = Type::address,
     .many = Many::one_or_list,
     .standard = "[]",
     .help = "The resolvers to ask, as ip:port; empty = those of /etc/resolv.conf.",
     .set = [](Target& at,
               const Value& value) { at.upstream->dns.servers.push_back(value.address); }},

    {.path = "upstreams.*.balance",
     .type = Type::choice,
     .words = "round_robin|least_connections|random_two|hash",
     .standard = "round_robin",
     .help = "How an endpoint is chosen.",
     .set = [](Target& at, const Value& value) { at.upstream->balance = value.as<Balance>(); }},
    {.path = "upstreams.*.hash_on",
     .type = Type::choice,
     .words = "client_address|server_name",
     .standard = "client_address",
     .help = "What balance: hash looks at.",
     .set = [](Target& at, const Value& value) { at.upstream->hash_on = value.as<HashOn>(); }},

    {.path = "upstreams.*.tls",
     .help = "TLS to the endpoints; absent = plaintext.",
     .set = [](Target& at, const Value&) { at.upstream->tls.emplace(); }},
    {.path = "upstreams.*.tls.server_name",
     .type = Type::host_name,
     .help = "The name to ask for and to verify; default: the host part of the address.",
     .set = [](Target& at, const Value& value) { at.upstream->tls->server_name = value.text; }},
    {.path = "upstreams.*.tls.verify",
     .type = Type::boolean,
     .standard = "true",
     .help = "Whether the endpoint's certificate and name are verified.",
     .set = [](Target& at, const Value& value) { at.upstream->tls->verify = value.flag; }},
    {.path = "upstreams.*.tls.ca",
     .type = Type::path,
     .words = "system",
     .standard = "system",
     .help = "The authorities to trust: system, or a PEM file.",
     .set =
         [](Target& at, const Value& value) {
           at.upstream->tls->ca = value.text;
           at.upstream->tls->ca_place = value.place;
         }},
    {.path = "upstreams.*.tls.certificate",
     .help = "The certificate Weir shows, for mutual TLS.",
     .set = [](Target& at,
               const Value&) { at.certificate = &at.upstream->tls->certificate.emplace(); }},
    {.path = "upstreams.*.tls.certificate.cert",
     .type = Type::path,
     .required = true,
     .help = "A PEM file with the certificate chain, leaf first.",
     .set =
         [](Target& at, const Value& value) {
           at.certificate->cert = value.text;
           at.certificate->cert_place = value.place;
         }},
    {.path = "upstreams.*.tls.certificate.key",
     .type = Type::path,
     .required = true,
     .help = "A PEM file with the private key.",
     .set =
         [](Target& at, const Value& value) {
           at.certificate->key = value.text;
           at.certificate->key_place = value.place;
         }},
    {.path = "upstreams.*.tls.alpn",
     .type = Type::protocol,
     .many = Many::list,
     .standard = "[]",
     .help = "Application protocols to offer to the endpoint.",
     .set = [](Target& at, const Value& value) { at.upstream->tls->alpn.push_back(value.text); }},

    {.path = "upstreams.*.proxy_protocol",
     .type = Type::choice,
     .words = "off|v1|v2",
     .standard = "off",
     .help = "The PROXY header that is sent to the endpoint.",
     .set =
         [](Target& at, const Value& value) {
           at.upstream->proxy_protocol = value.as<SendProxy>();
           at.upstream->proxy_protocol_place = value.place;
         }},
    {.path = "upstreams.*.connect_timeout",
     .type = Type::duration,
     .standard = "5s",
     .help = "How long a TCP connect may take.",
     .set = [](Target& at,
               const Value& value) { at.upstream->connect_timeout = value.duration(); }},
    {.path = "upstreams.*.tls_timeout",
     .type = Type::duration,
     .standard = "5s",
     .help = "How long a TLS handshake with an endpoint may take.",
     .set = [](Target& at, const Value& value) { at.upstream->tls_timeout = value.duration(); }},
    {.path = "upstreams.*.attempts",
     .type = Type::count,
     .standard = "3",
     .least = 1,
     .most = 16,
     .help = "Endpoints tried for one session, only while no client byte has been sent.",
     .set = [](Target& at, const Value& value) { at.upstream->attempts = value.count(); }},

    {.path = "upstreams.*.ejection",
     .help = "Endpoints that real sessions cannot reach are passed over for a while."},
    {.path = "upstreams.*.ejection.failures",
     .type = Type::count,
     .standard = "5",
     .zero = "off",
     .help = "Consecutive failures to connect.",
     .set = [](Target& at, const Value& value) { at.upstream->ejection.failures = value.count(); }},
    {.path = "upstreams.*.ejection.duration",
     .type = Type::duration,
     .standard = "30s",
     .help = "The first ejection; it doubles, up to ten times this.",
     .set = [](Target& at,
               const Value& value) { at.upstream->ejection.duration = value.duration(); }},
    {.path = "upstreams.*.ejection.max_percent",
     .type = Type::count,
     .standard = "50",
     .most = 100,
     .help = "At most this share of the endpoints is ejected at once.",
     .set = [](Target& at,
               const Value& value) { at.upstream->ejection.max_percent = value.count(); }},
    {.path = "upstreams.*.slow_start",
     .type = Type::duration,
     .standard = "0s",
     .zero = "off",
     .help = "Ramp an endpoint's weight up after it has recovered or come.",
     .set = [](Target& at, const Value& value) { at.upstream->slow_start = value.duration(); }},
    {.path = "upstreams.*.when_endpoint_removed",
     .type = Type::choice,
     .words = "drain|close",
     .standard = "drain",
     .help = "Sessions of an endpoint that left the configuration or DNS.",
     .set =
         [](Target& at, const Value& value) {
           at.upstream->when_endpoint_removed = value.as<WhenRemoved>();
         }},
    {.path = "upstreams.*.when_endpoint_unhealthy",
     .type = Type::choice,
     .words = "keep|close",
     .standard = "keep",
     .help = "Sessions of an endpoint that failed its checks.",
     .set =
         [](Target& at, const Value& value) {
           at.upstream->when_endpoint_unhealthy = value.as<WhenUnhealthy>();
         }},
};

}  // namespace

std::span<const Key> upstream_keys() {
  return keys;
}

}  // namespace weir::config
