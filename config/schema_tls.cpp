// The keys of the named TLS settings that listeners refer to.

#include "config/schema.hpp"

namespace weir::config {
namespace {

constexpr Key keys[] = {
    {.path = "tls", .type = Type::named, .help = "Named TLS settings for listeners."},
    {.path = "tls.*",
     .help = "One TLS setting.",
     .set =
         [](Target& at, const Value& value) {
           at.tls = &at.config.tls[value.text];
           at.tls->name = value.text;
           at.tls->place = value.place;
         }},
    {.path = "tls.*.certificates",
     .type = Type::list,
     .required = true,
     .help = "Chosen by server name; the first is the default."},
    {.path = "tls.*.certificates[]",
     .help = "A certificate chain and its key.",
     .set = [](Target& at,
               const Value&) { at.certificate = &at.tls->certificates.emplace_back(); }},
    {.path = "tls.*.certificates[].cert",
     .type = Type::path,
     .required = true,
     .help = "A PEM file with the certificate chain, leaf first.",
     .set =
         [](Target& at, const Value& value) {
           at.certificate->cert = value.text;
           at.certificate->cert_place = value.place;
         }},
    {.path = "tls.*.certificates[].key",
     .type = Type::path,
     .required = true,
     .help = "A PEM file with the private key.",
     .set =
         [](Target& at, const Value& value) {
           at.certificate->key = value.text;
           at.certificate->key_place = value.place;
         }},
    {.path = "tls.*.unknown_server_name",
     .type = Type::choice,
     .words = "default|reject",
     .standard = "default",
     .help = "When no certificate fits the server name: serve the first one, or reject.",
     .set =
         [](Target& at, const Value& value) {
           at.tls->unknown_server_name = value.as<UnknownServerName>();
         }},
    {.path = "tls.*.profile",
     .type = Type::choice,
     .words = "intermediate|modern",
     .standard = "intermediate",
     .help = "Mozilla server-side TLS 6.0: intermediate (1.2 and 1.3) or modern (1.3 only).",
     .set = [](Target& at, const Value& value) { at.tls->profile = value.as<TlsProfile>(); }},
    {.path = "tls.*.alpn",
     .type = Type::protocol,
     .many = Many::list,
     .standard = "[]",
     .help = "Application protocols to offer, the preferred first, such as [h2, http/1.1].",
     .set = [](Target& at, const Value& value) { at.tls->alpn.push_back(value.text); }},

    {.path = "tls.*.client_certificate", .help = "Whether clients show a certificate."},
    {.path = "tls.*.client_certificate.verify",
     .type = Type::choice,
     .words = "off|optional|required",
     .later = "optional|required",
     .standard = "off",
     .help = "Whether a client certificate is asked for, and required."},
    {.path = "tls.*.client_certificate.ca",
     .type = Type::path,
     .supported = false,
     .help = "A PEM file with the authorities that sign client certificates."},
    {.path = "tls.*.client_certificate.crl",
     .type = Type::path,
     .supported = false,
     .help = "A PEM file with revoked client certificates."},
    {.path = "tls.*.client_certificate.allow",
     .type = Type::text,
     .many = Many::list,
     .standard = "[]",
     .supported = false,
     .harmless = "[]",
     .help = "Identities that are let in, such as \"cn:build-*\"; empty = any the CA signed."},

    {.path = "tls.*.session_tickets", .help = "Resumption by session tickets."},
    {.path = "tls.*.session_tickets.enabled",
     .type = Type::boolean,
     .standard = "true",
     .help = "Whether tickets are issued.",
     .set = [](Target& at, const Value& value) { at.tls->session_tickets.enabled = value.flag; }},
    {.path = "tls.*.session_tickets.key_file",
     .type = Type::path,
     .supported = false,
     .help = "Keys shared by a fleet; without it they live in memory and rotate."},
    {.path = "tls.*.session_tickets.rotate",
     .type = Type::duration,
     .standard = "12h",
     .least = 60'000,
     .help = "How often the ticket key is replaced.",
     .set = [](Target& at,
               const Value& value) { at.tls->session_tickets.rotate = value.duration(); }},
    {.path = "tls.*.handshake_timeout",
     .type = Type::duration,
     .standard = "10s",
     .help = "How long a handshake may take.",
     .set = [](Target& at, const Value& value) { at.tls->handshake_timeout = value.duration(); }},
};

}  // namespace

std::span<const Key> tls_keys() {
  return keys;
}

}  // namespace weir::config
