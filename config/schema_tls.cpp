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

    {.path = "tls.*.client_certificate",
     .help = "Whether clients show a certificate, and whose is let in."},
    {.path = "tls.*.client_certificate.verify",
     .type = Type::choice,
     .words = "off|optional|required",
     .standard = "off",
     .help = "Whether a client certificate is asked for, and required. One that is shown must be "
             "good, also where it is optional.",
     .set =
         [](Target& at, const Value& value) {
           at.tls->client_certificate.verify = value.as<ClientVerify>();
         }},
    {.path = "tls.*.client_certificate.ca",
     .type = Type::path,
     .help = "A PEM file with the authorities that sign client certificates, roots or not; "
             "required unless `verify` is `off`.",
     .set =
         [](Target& at, const Value& value) {
           at.tls->client_certificate.ca = value.text;
           at.tls->client_certificate.ca_place = value.place;
         }},
    {.path = "tls.*.client_certificate.crl",
     .type = Type::path,
     .help =
         "A PEM file with the authorities' lists of revoked certificates, one of each authority "
         "that signs. A list that has expired, or is missing, refuses who needs it.",
     .set =
         [](Target& at, const Value& value) {
           at.tls->client_certificate.crl = value.text;
           at.tls->client_certificate.crl_place = value.place;
         }},
    {.path = "tls.*.client_certificate.allow",
     .type = Type::identity,
     .many = Many::list,
     .standard = "[]",
     .help = "Identities that are let in, one of: `cn:` the subject's common name, `dns:` and "
             "`uri:` any of the subject's alternative names. `*` stands for any characters; in "
             "`dns:*.svc.example` for one label or more. Empty: any that the authorities signed.",
     .set = [](Target& at,
               const Value& value) { at.tls->client_certificate.allow.push_back(value.identity); }},

    {.path = "tls.*.session_tickets", .help = "Resumption by session tickets."},
    {.path = "tls.*.session_tickets.enabled",
     .type = Type::boolean,
     .standard = "true",
     .help = "Whether tickets are issued.",
     .set = [](Target& at, const Value& value) { at.tls->session_tickets.enabled = value.flag; }},
    {.path = "tls.*.session_tickets.key_file",
     .type = Type::path,
     .help =
         "A file of ticket keys, shared by a fleet: 80 random bytes each, in base64, the newest "
         "last (`openssl rand -base64 80 >> FILE`). The last three open tickets, the last but "
         "one seals them. Without it, keys live in memory and rotate.",
     .set =
         [](Target& at, const Value& value) {
           at.tls->session_tickets.key_file = value.text;
           at.tls->session_tickets.key_file_place = value.place;
         }},
    {.path = "tls.*.session_tickets.rotate",
     .type = Type::duration,
     .standard = "12h",
     .least = 60'000,
     .help = "How often the ticket key in memory is replaced.",
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
