// The keys of listeners and of their routes.

#include "config/schema.hpp"

namespace weir::config {
namespace {

constexpr Key keys[] = {
    {.path = "listeners",
     .type = Type::named,
     .required = true,
     .help = "Where clients connect. At least one."},
    {.path = "listeners.*",
     .help = "One listener.",
     .set =
         [](Target& at, const Value& value) {
           at.listener = &at.config.listeners.emplace_back();
           at.listener->name = value.text;
           at.listener->place = value.place;
         }},
    {.path = "listeners.*.bind",
     .type = Type::address,
     .many = Many::one_or_list,
     .required = true,
     .help = "ip:port, [ip6]:port or unix:/path, or a list of them; port 0 = any free port.",
     .set =
         [](Target& at, const Value& value) {
           at.listener->bind.push_back(value.address);
           at.listener->bind_places.push_back(value.place);
         }},
    {.path = "listeners.*.mode",
     .type = Type::choice,
     .words = "tcp|http",
     .later = "http",
     .standard = "tcp",
     .help = "tcp = bytes, http = HTTP/1.1."},
    {.path = "listeners.*.tls",
     .type = Type::reference,
     .words = "off|passthrough",
     .standard = "off",
     .help =
         "The name of a TLS setting, by which TLS is terminated; off; or passthrough: the server "
         "name and the protocols of the ClientHello are read, and TLS goes on to the server.",
     .set =
         [](Target& at, const Value& value) {
           at.listener->tls = value.word < 0 ? value.text : "";
           at.listener->passthrough = value.word == 1;
           at.listener->tls_place = value.place;
         }},
    {.path = "listeners.*.proxy_protocol",
     .type = Type::choice,
     .words = "off|accept|require",
     .standard = "off",
     .help = "Whether clients send a PROXY header, version 1 or 2.",
     .set =
         [](Target& at, const Value& value) {
           at.listener->proxy_protocol = value.as<AcceptProxy>();
           at.listener->proxy_protocol_place = value.place;
         }},
    {.path = "listeners.*.trusted",
     .type = Type::network,
     .many = Many::list,
     .standard = "[]",
     .help = "Networks that may send a PROXY header.",
     .set = [](Target& at, const Value& value) { at.listener->trusted.push_back(value.network); }},
    {.path = "listeners.*.allow",
     .type = Type::network,
     .many = Many::list,
     .standard = "[]",
     .supported = false,
     .harmless = "[]",
     .help = "Client networks that are let in; empty = everyone."},
    {.path = "listeners.*.deny",
     .type = Type::network,
     .many = Many::list,
     .standard = "[]",
     .supported = false,
     .harmless = "[]",
     .help = "Client networks that are turned away; wins over allow."},

    {.path = "listeners.*.limits", .help = "Limits of this listener."},
    {.path = "listeners.*.limits.connections",
     .type = Type::count,
     .standard = "0",
     .zero = "no limit",
     .help = "Open connections of this listener.",
     .set = [](Target& at,
               const Value& value) { at.listener->limits.connections = value.count(); }},
    {.path = "listeners.*.limits.connections_per_client",
     .type = Type::count,
     .standard = "0",
     .zero = "no limit",
     .supported = false,
     .harmless = "0",
     .help = "Open connections by client address (IPv6: by /64)."},
    {.path = "listeners.*.limits.connect_rate_per_client",
     .type = Type::rate,
     .standard = "0",
     .zero = "no limit",
     .supported = false,
     .harmless = "0",
     .help = "New connections by client address, such as 50/s."},

    {.path = "listeners.*.timeouts", .help = "Timeouts of the sessions of this listener."},
    {.path = "listeners.*.timeouts.header",
     .type = Type::duration,
     .standard = "10s",
     .help = "From accept to the end of a PROXY header and, with passthrough, of the ClientHello.",
     .set = [](Target& at,
               const Value& value) { at.listener->timeouts.header = value.duration(); }},
    {.path = "listeners.*.timeouts.first_byte",
     .type = Type::duration,
     .standard = "0s",
     .zero = "no limit",
     .help = "How long a client may stay silent after accept (and TLS).",
     .set = [](Target& at,
               const Value& value) { at.listener->timeouts.first_byte = value.duration(); }},
    {.path = "listeners.*.timeouts.idle",
     .type = Type::duration,
     .standard = "5m",
     .zero = "no limit",
     .help = "No byte in either direction.",
     .set = [](Target& at, const Value& value) { at.listener->timeouts.idle = value.duration(); }},
    {.path = "listeners.*.timeouts.half_close",
     .type = Type::duration,
     .standard = "30s",
     .zero = "no limit",
     .help = "After one side has finished and the other is silent.",
     .set = [](Target& at,
               const Value& value) { at.listener->timeouts.half_close = value.duration(); }},
    {.path = "listeners.*.timeouts.session",
     .type = Type::duration,
     .standard = "0s",
     .zero = "no limit",
     .help = "The whole life of a session.",
     .set = [](Target& at,
               const Value& value) { at.listener->timeouts.session = value.duration(); }},

    {.path = "listeners.*.routes",
     .type = Type::list,
     .standard = "[]",
     .help = "Rules that choose an upstream; the first match wins."},
    {.path = "listeners.*.routes[]",
     .help = "One rule.",
     .set =
         [](Target& at, const Value& value) {
           at.route = &at.listener->routes.emplace_back();
           at.route->place = value.place;
         }},
    {.path = "listeners.*.routes[].name",
     .type = Type::name,
     .help = "The name in logs and metrics.",
     .set = [](Target& at, const Value& value) { at.route->name = value.text; }},
    {.path = "listeners.*.routes[].match",
     .help = "What a connection must show; all that are not empty must match."},
    {.path = "listeners.*.routes[].match.server_name",
     .type = Type::server_name,
     .many = Many::one_or_list,
     .standard = "[]",
     .help = "Names the client asks for: exact, or \"*.example.com\" for all below it.",
     .set = [](Target& at,
               const Value& value) { at.route->match.server_name.push_back(value.text); }},
    {.path = "listeners.*.routes[].match.alpn",
     .type = Type::protocol,
     .many = Many::one_or_list,
     .standard = "[]",
     .help = "Application protocols, one of which was agreed on, or (passthrough) is offered.",
     .set = [](Target& at, const Value& value) { at.route->match.alpn.push_back(value.text); }},
    {.path = "listeners.*.routes[].match.client",
     .type = Type::network,
     .many = Many::one_or_list,
     .standard = "[]",
     .help = "Networks the client's address is in.",
     .set = [](Target& at,
               const Value& value) { at.route->match.client.push_back(value.network); }},
    {.path = "listeners.*.routes[].upstream",
     .type = Type::reference,
     .required = true,
     .help = "The upstream that gets the connection.",
     .set =
         [](Target& at, const Value& value) {
           at.route->upstream = value.text;
           at.route->upstream_place = value.place;
         }},
    {.path = "listeners.*.upstream",
     .type = Type::reference,
     .help = "Where no route matches; without it such a connection is closed.",
     .set =
         [](Target& at, const Value& value) {
           at.listener->upstream = value.text;
           at.listener->upstream_place = value.place;
         }},
};

}  // namespace

std::span<const Key> listener_keys() {
  return keys;
}

}  // namespace weir::config
