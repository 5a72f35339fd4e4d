#include "config/identity.hpp"

#include <gtest/gtest.h>

#include "tests/config/load.hpp"

namespace weir::config {
namespace {

using Kind = IdentityPattern::Kind;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

TEST(Identity, ReadsEachKind) {
  const std::pair<std::string, IdentityPattern> cases[] = {
      {"cn:build-*", {Kind::common_name, "build-*"}},
      {"cn:*", {Kind::common_name, "*"}},
      {"cn:Jane Doe: the second", {Kind::common_name, "Jane Doe: the second"}},
      {"dns:Api.Example", {Kind::dns, "api.example"}},
      {"dns:*.svc.Example", {Kind::dns, "*.svc.example"}},
      {"uri:spiffe://example/ns/*", {Kind::uri, "spiffe://example/ns/*"}},
      {"uri:urn:*:x", {Kind::uri, "urn:*:x"}},
  };
  for (const auto& [text, expected] : cases) {
    const auto pattern = parse_identity_pattern(text);
    ASSERT_TRUE(pattern) << text << ": " << pattern.error().message;
    EXPECT_EQ(*pattern, expected) << text;
  }
  EXPECT_EQ(parse_identity_pattern("dns:A.example")->text(), "dns:a.example");
  EXPECT_EQ(parse_identity_pattern("uri:a:b")->text(), "uri:a:b");
}

TEST(Identity, SaysHowToWriteWhatIsWrong) {
  const std::tuple<std::string, std::string, std::string> cases[] = {
      {"build-1", "must start with `cn:`, `dns:` or `uri:`", "write `cn:build-1` or `dns:build-1`"},
      {"spiffe://example/a", "must start with", "write `uri:spiffe://example/a`"},
      {"CN:build-1", "must start with", ""},
      {"CN=build-1", "must start with", ""},
      {"", "must start with", ""},
      {"cn:", "`cn:` names nobody", ""},
      {std::string("cn:a\0b", 6), "no control characters", ""},
      {"cn:" + std::string(2049, 'a'), "has up to 2048 bytes", ""},
      {"dns:*", "would stand for every name", "dns:*.svc.example"},
      {"dns:a.*.example", "a `*` can only stand for the whole first label", ""},
      {"dns:build-*.example", "a `*` can only stand for the whole first label", ""},
      {"dns:a..example", "is not a host name", ""},
      {"uri:example/ns", "it starts with its scheme", "uri:spiffe://example/ns/*"},
      {"uri:*", "it starts with its scheme", ""},
      {"uri:*://example", "it starts with its scheme", ""},
      {"uri:spiffe://exa mple", "neither spaces", ""},
      {"uri:spiffe://ex\xc3\xa4mple", "letters beyond ASCII", ""},
  };
  for (const auto& [text, message, hint] : cases) {
    const auto pattern = parse_identity_pattern(text);
    ASSERT_FALSE(pattern) << text;
    EXPECT_THAT(pattern.error().message, HasSubstr(message)) << text;
    EXPECT_THAT(pattern.error().hint, HasSubstr(hint)) << text;
  }
}

// A configuration with these client certificates and tickets; the keys begin at column 7 of line 5.
std::string with_tls(const std::string& keys) {
  return "version: 1\ntls:\n  public:\n    certificates: [ { cert: /dev/null, key: /dev/null } "
         "]\n" +
         keys +
         R"(listeners:
  web: { bind: "127.0.0.1:0", tls: public, upstream: api }
upstreams:
  api: { endpoints: [ { address: "127.0.0.1:1" } ] }
)";
}

TEST(ClientCertificate, IsReadAsWritten) {
  const Config config = config_of(with_tls(R"(    client_certificate:
      verify: required
      ca: /dev/null
      crl: /dev/zero
      allow: ["cn:a", "dns:*.B"]
    session_tickets: { key_file: /dev/null }
)"));
  const TlsSettings& settings = config.tls.at("public");
  EXPECT_EQ(settings.client_certificate.verify, ClientVerify::required);
  EXPECT_EQ(settings.client_certificate.ca, "/dev/null");
  EXPECT_EQ(settings.client_certificate.crl, "/dev/zero");
  EXPECT_THAT(
      settings.client_certificate.allow,
      ElementsAre(IdentityPattern{Kind::common_name, "a"}, IdentityPattern{Kind::dns, "*.b"}));
  EXPECT_EQ(settings.session_tickets.key_file, "/dev/null");
}

TEST(ClientCertificate, HasItsMistakesToldAtTheirPlace) {
  const auto of = [](const std::string& client) {
    return problems_of(with_tls("    client_certificate: { " + client + " }\n"));
  };
  EXPECT_THAT(of("verify: required"), ElementsAre(error_at(5, 35, "nobody is known who signs")));
  EXPECT_THAT(of("verify: optional"), ElementsAre(error_at(5, 35, "nobody is known who signs")));
  EXPECT_THAT(of("ca: /dev/null"), ElementsAre(error_at(5, 5, "`verify` is missing")));
  EXPECT_THAT(of("allow: [\"cn:a\"]"), ElementsAre(error_at(5, 5, "`verify` is missing")));
  EXPECT_THAT(of("verify: required, ca: /dev/null, allow: [a]"),
              ElementsAre(error_at(5, 68, "must start with")));
  EXPECT_THAT(of("verify: required, ca: /absent"),
              ElementsAre(error_at(5, 49, "cannot read `/absent`")));
  EXPECT_THAT(of("verify: required, ca: /dev/null, crl: /absent"),
              ElementsAre(error_at(5, 65, "cannot read `/absent`")));
  EXPECT_THAT(of("verify: off, allow: []"), IsEmpty());
}

TEST(ClientCertificate, IsOddWhereItDoesNothing) {
  const auto of = [](const std::string& keys) {
    return problems_of(with_tls("    " + keys + "\n"));
  };
  EXPECT_THAT(of("client_certificate: { verify: off, ca: /dev/null }"),
              ElementsAre(warning_at(5, 35, "beside `verify: off` does nothing")));
  EXPECT_THAT(of("client_certificate: { verify: optional, ca: /dev/null, allow: [\"cn:a\"] }"),
              ElementsAre(warning_at(5, 60, "is let in without a certificate")));
  EXPECT_THAT(of("session_tickets: { key_file: /dev/null, rotate: 1h }"),
              ElementsAre(warning_at(5, 45, "`rotate` does nothing")));
  EXPECT_THAT(of("session_tickets: { enabled: false, key_file: /dev/null }"),
              ElementsAre(warning_at(5, 40, "`key_file` does nothing")));
  EXPECT_THAT(of("session_tickets: { key_file: /absent }"),
              ElementsAre(error_at(5, 34, "cannot read `/absent`")));
}

}  // namespace
}  // namespace weir::config
