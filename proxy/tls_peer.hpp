#pragma once
// What a TLS server shows of itself in a handshake, kept for telling it: its certificate, also
// where it is refused, and whether it asked for ours. Only listens: what is accepted is decided as
// without it. Outlives the SSL that it watches; confined to its thread.

#include <optional>
#include <string>
#include <string_view>

#include "proxy/certificate_facts.hpp"

struct ssl_st;
struct x509_store_ctx_st;

namespace weir::proxy {

class TlsPeer {
 public:
  // Before the handshake of an SSL that a TlsClient has made.
  void watch(ssl_st* ssl);

  // The leaf; null when none was shown.
  const CertificateFacts* certificate() const { return certificate_ ? &*certificate_ : nullptr; }
  // Why it is not to be trusted, as X509_V_ERR_*; 0 = it is.
  int fault() const { return fault_; }
  bool asked_for_certificate() const { return asked_for_certificate_; }
  // TLS 1.3 ends for a client before the server has looked at the client's certificate.
  bool may_refuse_later(const ssl_st* ssl) const;

 private:
  static int verify(int good, x509_store_ctx_st* context);
  static int asked(ssl_st* ssl, void* self);

  std::optional<CertificateFacts> certificate_;
  int fault_ = 0;
  bool asked_for_certificate_ = false;
};

// Has a TLS 1.3 server given a ticket? It does so once it is content with the client.
bool has_ticket(const ssl_st* ssl);

// The name of the certificate by which the server was verified; empty = none.
std::string matched_name(ssl_st* ssl);

// A fault in words, with what the certificate says about it. `asked` is the name that was expected.
std::string fault_in_words(int fault, const CertificateFacts& certificate, std::string_view asked);

}  // namespace weir::proxy
