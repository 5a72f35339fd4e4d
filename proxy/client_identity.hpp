#pragma once
// Who a client is by its certificate, and whether a pattern of `allow` means it. A name that no
// honest authority signs (a control character in it, a DNS name that is a wildcard or no host name,
// a name without end) is nobody's, and no pattern matches it. Whether the certificate is to be
// believed is decided before (client_certificates.hpp). Pure.

#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"

struct x509_st;

namespace weir::proxy {

struct ClientIdentity {
  static constexpr std::size_t longest_name = 2048;

  std::string subject;                 // in one line, for people
  std::string common_name;             // the first of the subject's, UTF-8; may be empty
  std::vector<std::string> dns_names;  // lower case
  std::vector<std::string> uris;

  // What it goes by in logs, as `allow` would be written: its common name, else its first URI, else
  // its first DNS name. Never empty.
  std::string text() const;
};

ClientIdentity identity_of(const x509_st* certificate);

// Common names and URIs are compared byte by byte.
bool matches(const config::IdentityPattern& pattern, const ClientIdentity& identity);

// `*` in the pattern stands for any characters, none included.
bool matches_text(std::string_view pattern, std::string_view text);

}  // namespace weir::proxy
