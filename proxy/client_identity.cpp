#include "proxy/client_identity.hpp"

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <memory>
#include <optional>

#include "config/host_name.hpp"
#include "proxy/tls_certificate.hpp"

namespace weir::proxy {
namespace {

// UTF-8, whatever it is encoded in; empty when it is no name.
std::string name_of(const ASN1_STRING* string) {
  unsigned char* utf8 = nullptr;
  const int size = ASN1_STRING_to_UTF8(&utf8, string);
  if (size < 0) return {};
  std::string name(reinterpret_cast<const char*>(utf8), static_cast<std::size_t>(size));
  OPENSSL_free(utf8);
  const bool has_controls = std::ranges::any_of(
      name, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
  return has_controls || name.size() > ClientIdentity::longest_name ? std::string() : name;
}

std::string common_name(const X509_NAME* subject) {
  const int position = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (position < 0) return {};
  return name_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, position)));
}

std::string one_line(const X509_NAME* subject) {
  const BioPointer bio(BIO_new(BIO_s_mem()), &BIO_free);
  if (!bio || X509_NAME_print_ex(bio.get(), subject, 0, XN_FLAG_RFC2253) < 0) return {};
  const char* text = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &text);
  return {text, std::min(static_cast<std::size_t>(size), ClientIdentity::longest_name)};
}

// "*." and a suffix: one label or more in front of it, as in routes.
bool matches_dns(std::string_view pattern, std::string_view name) {
  if (!pattern.starts_with("*.")) return pattern == name;
  const std::string_view suffix = pattern.substr(1);
  return name.size() > suffix.size() && name.ends_with(suffix);
}

}  // namespace

ClientIdentity identity_of(const x509_st* certificate) {
  ClientIdentity identity;
  const X509_NAME* subject = X509_get_subject_name(certificate);
  identity.subject = one_line(subject);
  identity.common_name = common_name(subject);
  const std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> names(
      static_cast<GENERAL_NAMES*>(
          X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)),
      &GENERAL_NAMES_free);
  for (int i = 0; names && i < sk_GENERAL_NAME_num(names.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(names.get(), i);
    if (name->type == GEN_DNS) {
      auto host = config::parse_host_name(name_of(name->d.dNSName));
      if (host) identity.dns_names.push_back(std::move(*host));
    } else if (name->type == GEN_URI) {
      std::string uri = name_of(name->d.uniformResourceIdentifier);
      if (!uri.empty()) identity.uris.push_back(std::move(uri));
    }
  }
  ERR_clear_error();
  return identity;
}

std::string ClientIdentity::text() const {
  if (!common_name.empty()) return "cn:" + common_name;
  if (!uris.empty()) return "uri:" + uris.front();
  if (!dns_names.empty()) return "dns:" + dns_names.front();
  return "subject:" + subject;
}

bool matches(const config::IdentityPattern& pattern, const ClientIdentity& identity) {
  switch (pattern.kind) {
    case config::IdentityPattern::Kind::common_name:
      return !identity.common_name.empty() && matches_text(pattern.value, identity.common_name);
    case config::IdentityPattern::Kind::dns:
      return std::ranges::any_of(identity.dns_names, [&](const std::string& name) {
        return matches_dns(pattern.value, name);
      });
    case config::IdentityPattern::Kind::uri:
      return std::ranges::any_of(
          identity.uris, [&](const std::string& uri) { return matches_text(pattern.value, uri); });
  }
  return false;
}

bool matches_text(std::string_view pattern, std::string_view text) {
  const std::size_t star = pattern.find('*');
  if (star == std::string_view::npos) return pattern == text;
  if (!text.starts_with(pattern.substr(0, star))) return false;
  text.remove_prefix(star);
  pattern.remove_prefix(star + 1);
  // What stands between two stars is found at its first place; what ends the pattern, at the end.
  for (std::size_t next = 0; (next = pattern.find('*')) != std::string_view::npos;) {
    const std::size_t found = text.find(pattern.substr(0, next));
    if (found == std::string_view::npos) return false;
    text.remove_prefix(found + next);
    pattern.remove_prefix(next + 1);
  }
  return text.ends_with(pattern);
}

}  // namespace weir::proxy
