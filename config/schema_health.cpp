// The keys of an upstream's health check.

#include <utility>

#include "config/schema.hpp"

namespace weir::config {
namespace {

constexpr Key keys[] = {
    {.path = "upstreams.*.health_check",
     .help = "How endpoints are checked; absent = not at all.",
     .set = [](Target& at,
               const Value& value) { at.upstream->health_check.emplace().place = value.place; }},
    {.path = "upstreams.*.health_check.type",
     .type = Type::choice,
     .words = "tcp|tls|http|exchange|redis",
     .standard = "tcp",
     .help =
         "What a check does: connect, and then a TLS handshake, a request, an exchange of bytes "
         "or a PING.",
     .set = [](Target& at,
               const Value& value) { at.upstream->health_check->type = value.as<CheckType>(); }},
    {.path = "upstreams.*.health_check.interval",
     .type = Type::duration,
     .standard = "5s",
     .least = 10,
     .help = "Between two checks, give or take 10 %.",
     .set = [](Target& at,
               const Value& value) { at.upstream->health_check->interval = value.duration(); }},
    {.path = "upstreams.*.health_check.fast_interval",
     .type = Type::duration,
     .standard = "1s",
     .least = 10,
     .help = "Between two checks while the state is changing.",
     .set =
         [](Target& at, const Value& value) {
           at.upstream->health_check->fast_interval = value.duration();
         }},
    {.path = "upstreams.*.health_check.timeout",
     .type = Type::duration,
     .standard = "2s",
     .help = "How long one check may take.",
     .set = [](Target& at,
               const Value& value) { at.upstream->health_check->timeout = value.duration(); }},
    {.path = "upstreams.*.health_check.healthy_after",
     .type = Type::count,
     .standard = "2",
     .least = 1,
     .most = 1000,
     .help = "Consecutive successes that make an endpoint healthy.",
     .set = [](Target& at,
               const Value& value) { at.upstream->health_check->healthy_after = value.count(); }},
    {.path = "upstreams.*.health_check.unhealthy_after",
     .type = Type::count,
     .standard = "3",
     .least = 1,
     .most = 1000,
     .help = "Consecutive failures that make an endpoint unhealthy.",
     .set = [](Target& at,
               const Value& value) { at.upstream->health_check->unhealthy_after = value.count(); }},
    {.path = "upstreams.*.health_check.port",
     .type = Type::count,
     .standard = "0",
     .most = 65535,
     .help = "The port to check; 0 = the endpoint's own.",
     .set =
         [](Target& at, const Value& value) {
           at.upstream->health_check->port = static_cast<std::uint16_t>(value.integer);
         }},
    {.path = "upstreams.*.health_check.http", .help = "The request of type: http."},
    {.path = "upstreams.*.health_check.http.path",
     .type = Type::text,
     .standard = "/healthz",
     .help = "The path to ask for.",
     .set = [](Target& at,
               const Value& value) { at.upstream->health_check->http.path = value.text; }},
    {.path = "upstreams.*.health_check.http.host",
     .type = Type::text,
     .standard = "\"\"",
     .help = "The Host header; empty = the endpoint's address.",
     .set = [](Target& at,
               const Value& value) { at.upstream->health_check->http.host = value.text; }},
    {.path = "upstreams.*.health_check.http.method",
     .type = Type::text,
     .standard = "GET",
     .help = "The method.",
     .set = [](Target& at,
               const Value& value) { at.upstream->health_check->http.method = value.text; }},
    {.path = "upstreams.*.health_check.http.expect",
     .type = Type::count,
     .many = Many::list,
     .standard = "[200]",
     .least = 100,
     .most = 599,
     .help = "The status codes of a healthy endpoint.",
     .set =
         [](Target& at, const Value& value) {
           // The first that is written replaces the default.
           HttpCheck& http = at.upstream->health_check->http;
           if (!std::exchange(http.expect_written, true)) http.expect.clear();
           http.expect.push_back(value.count());
         }},
    {.path = "upstreams.*.health_check.exchange",
     .help = "The bytes of type: exchange; escapes \\r \\n \\t \\xNN.",
     .set = [](Target& at, const Value&) { at.upstream->health_check->exchange.emplace(); }},
    {.path = "upstreams.*.health_check.exchange.send",
     .type = Type::bytes,
     .required = true,
     .help = "The bytes to send; may be empty.",
     .set = [](Target& at,
               const Value& value) { at.upstream->health_check->exchange->send = value.text; }},
    {.path = "upstreams.*.health_check.exchange.expect",
     .type = Type::bytes,
     .required = true,
     .help = "What the answer must begin with.",
     .set = [](Target& at,
               const Value& value) { at.upstream->health_check->exchange->expect = value.text; }},
};

}  // namespace

std::span<const Key> health_keys() {
  return keys;
}

}  // namespace weir::config
