#pragma once
// Reading certificates and keys: PEM files (or text, for the demo) to OpenSSL objects, with every
// mistake as a problem at its place in the configuration. Used where TLS settings are made ready;
// single-threaded.

#include <openssl/ssl.h>

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "config/diagnostic.hpp"

namespace weir::proxy {

using CertificatePointer = std::unique_ptr<X509, decltype(&X509_free)>;
using KeyPointer = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

using BioPointer = std::unique_ptr<BIO, decltype(&BIO_free)>;

// A file as it is.
std::optional<std::string> read_file(const std::string& path, const config::Place& place,
                                     std::vector<config::Problem>& problems);
// Reads `text`, which must outlive it.
BioPointer memory(const std::string& text);

std::chrono::system_clock::time_point time_of(const ASN1_TIME* time);
// "2026-11-27 13:00 UTC"
std::string utc(std::chrono::system_clock::time_point time);

struct KeyedCertificate {
  std::vector<CertificatePointer> chain;  // the leaf first
  KeyPointer key{nullptr, &EVP_PKEY_free};
  bool is_ecdsa = false;
  std::vector<std::string> server_names;  // subjectAltName dNSName, lower case; else the CN
  std::string display_name;
  std::chrono::system_clock::time_point not_after;
};

config::Problem tls_problem(const config::Place& place, std::string message, std::string hint = {});
// The newest reason in OpenSSL's queue, in words; clears the queue.
std::string last_openssl_error();

std::optional<KeyedCertificate> load_certificate(const config::Certificate& files,
                                                 std::vector<config::Problem>& problems);
// Parses the extensions of a certificate now. OpenSSL does that at the first use, behind a lock of
// each certificate: in the middle of a handshake, when several workers share the certificate.
void prepare(X509* certificate);

// Adds a warning when the certificate has expired or will within 30 days.
void warn_of_expiry(const KeyedCertificate& certificate, const config::Certificate& files,
                    std::chrono::system_clock::time_point now,
                    std::vector<config::Problem>& problems);

bool use_certificate(SSL_CTX* context, const KeyedCertificate& certificate,
                     const config::Certificate& files, std::vector<config::Problem>& problems);

}  // namespace weir::proxy
