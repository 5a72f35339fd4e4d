#pragma once
// What a certificate says, as plain values for people: whose it is, which names it is for, when it
// ends. The texts of a peer's certificate are whatever the peer likes. Stateless.

#include <chrono>
#include <string>
#include <vector>

struct x509_st;

namespace weir::proxy {

struct CertificateFacts {
  std::string subject;  // "CN=api.internal"
  std::string issuer;
  std::vector<std::string> names;  // subjectAltName: DNS names and IP addresses
  std::chrono::system_clock::time_point not_after;
  bool operator==(const CertificateFacts&) const = default;
};

CertificateFacts certificate_facts(x509_st* certificate);

// For programs: "2027-11-27T13:20:00Z".
std::string in_iso8601(std::chrono::system_clock::time_point time);

// Less than 30 days before its end a certificate should be renewed.
bool ends_soon(std::chrono::system_clock::time_point not_after,
               std::chrono::system_clock::time_point now);
// "expires in 3 days, at ..." or "has expired at ...".
std::string expiry_in_words(std::chrono::system_clock::time_point not_after,
                            std::chrono::system_clock::time_point now);

// Which names a certificate is for, in words: the first few, or its subject.
std::string names_in_words(const CertificateFacts& facts);

}  // namespace weir::proxy
