#include "proxy/tls_peer.hpp"

#include <fmt/format.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include "proxy/tls_certificate.hpp"

namespace weir::proxy {
namespace {

int peer_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

}  // namespace

void TlsPeer::watch(ssl_st* ssl) {
  *this = {};
  SSL_set_ex_data(ssl, peer_index(), this);
  SSL_set_verify(ssl, SSL_get_verify_mode(ssl), &TlsPeer::verify);
  SSL_set_cert_cb(ssl, &TlsPeer::asked, this);
}

bool TlsPeer::may_refuse_later(const ssl_st* ssl) const {
  return asked_for_certificate_ && SSL_version(ssl) >= TLS1_3_VERSION;
}

// Called for each certificate of the chain and each fault in it, until the first fault.
int TlsPeer::verify(int good, x509_store_ctx_st* context) {
  const auto* ssl =
      static_cast<SSL*>(X509_STORE_CTX_get_ex_data(context, SSL_get_ex_data_X509_STORE_CTX_idx()));
  auto* peer = ssl == nullptr ? nullptr : static_cast<TlsPeer*>(SSL_get_ex_data(ssl, peer_index()));
  if (peer == nullptr) return good;
  X509* leaf = X509_STORE_CTX_get0_cert(context);
  if (!peer->certificate_ && leaf != nullptr) peer->certificate_ = certificate_facts(leaf);
  if (good == 0 && peer->fault_ == 0) peer->fault_ = X509_STORE_CTX_get_error(context);
  return good;
}

int TlsPeer::asked(ssl_st*, void* self) {
  static_cast<TlsPeer*>(self)->asked_for_certificate_ = true;
  return 1;
}

bool has_ticket(const ssl_st* ssl) {
  const SSL_SESSION* session = ssl == nullptr ? nullptr : SSL_get_session(ssl);
  return session != nullptr && SSL_SESSION_has_ticket(session) == 1;
}

std::string matched_name(ssl_st* ssl) {
  X509_VERIFY_PARAM* const param = SSL_get0_param(ssl);
  if (const char* name = X509_VERIFY_PARAM_get0_peername(param)) return name;
  char* const ip = X509_VERIFY_PARAM_get1_ip_asc(param);
  if (ip == nullptr) return {};
  std::string text = ip;
  OPENSSL_free(ip);
  return text;
}

std::string fault_in_words(int fault, const CertificateFacts& certificate, std::string_view asked) {
  const std::string words = X509_verify_cert_error_string(fault);
  switch (fault) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return fmt::format("{}; the server's says {}", words, utc(certificate.not_after));
    case X509_V_ERR_HOSTNAME_MISMATCH:
    case X509_V_ERR_IP_ADDRESS_MISMATCH:
      return fmt::format("{}: the certificate is for {}, not for {}", words,
                         names_in_words(certificate), asked);
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
      return fmt::format("{}; the certificate of {} says it was issued by {}", words,
                         names_in_words(certificate), certificate.issuer);
    default:
      return fmt::format("{} (the certificate of {})", words, names_in_words(certificate));
  }
}

}  // namespace weir::proxy
