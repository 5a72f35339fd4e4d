#pragma once
// Client certificates of one TlsServer: the authorities and lists of revoked certificates, read
// from their files; what OpenSSL is told of them; and who is let in after the handshake. A session
// ticket carries the client's certificate. It is taken only under the same authorities and lists,
// and only as long as all is valid that the certificate was verified by: then what a full handshake
// would refuse is not let in by an old ticket. Immutable; must outlive the contexts it was given.

#include <openssl/ssl.h>

#include <array>
#include <chrono>
#include <memory>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "config/diagnostic.hpp"
#include "proxy/tls.hpp"

namespace weir::proxy {

class ClientCertificates {
 public:
  // `verify` is not off. Null when there is a problem that is no warning.
  static std::unique_ptr<ClientCertificates> make(const config::ClientCertificate& settings,
                                                  std::vector<config::Problem>& problems);
  ClientCertificates(const ClientCertificates&) = delete;
  ClientCertificates& operator=(const ClientCertificates&) = delete;

  // Makes this context ask for certificates and verify them. `name` is that of the settings.
  bool serve(SSL_CTX* context, const std::string& name) const;
  // Right after the handshake: who the client is, into `facts`; and why it is not let in, or "".
  std::string judge(const SSL* ssl, TlsFacts& facts) const;

 private:
  using TimePoint = std::chrono::system_clock::time_point;
  using StorePointer = std::unique_ptr<X509_STORE, decltype(&X509_STORE_free)>;

  explicit ClientCertificates(const config::ClientCertificate& settings) : settings_(settings) {}
  bool read_authorities(std::vector<config::Problem>& problems);
  bool read_revocations(std::vector<config::Problem>& problems);
  bool add(X509_CRL* list, std::vector<config::Problem>& problems);
  void warn_of_revocations(std::vector<config::Problem>& problems) const;

  static int verified(int good, X509_STORE_CTX* verification);
  static int write_ticket(SSL* ssl, void* self);
  static SSL_TICKET_RETURN read_ticket(SSL* ssl, SSL_SESSION* session, const unsigned char* name,
                                       std::size_t name_size, SSL_TICKET_STATUS status, void* self);
  TimePoint good_until(const SSL* ssl) const;

  config::ClientCertificate settings_;
  StorePointer store_{X509_STORE_new(), &X509_STORE_free};
  std::vector<std::unique_ptr<X509, decltype(&X509_free)>> authorities_;
  // Whose list it is, and when it ends: the latest, where an authority has several.
  struct Revocations {
    const X509_NAME* issuer;  // of a list in the store
    TimePoint until;
  };
  std::vector<Revocations> revocations_;
  std::string content_;  // all that a verification is made by, as bytes
};

}  // namespace weir::proxy
