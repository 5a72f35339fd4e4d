// What a handshake agreed on, and OpenSSL's errors in words: the rest of tls.hpp.

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509_vfy.h>

#include <array>
#include <cstring>

#include "proxy/counters.hpp"
#include "proxy/stream.hpp"
#include "proxy/tls.hpp"
#include "proxy/tls_offer.hpp"

namespace weir::proxy {
namespace {

struct Word {
  int reason;  // SSL_R_*
  std::string_view label;
  std::string_view words;
};

constexpr std::array words{
    Word{SSL_R_UNSUPPORTED_PROTOCOL, "protocol_version",
         "client offered no TLS version that is allowed"},
    Word{SSL_R_VERSION_TOO_LOW, "protocol_version",
         "client offered no TLS version that is allowed"},
    Word{SSL_R_NO_SHARED_CIPHER, "no_shared_cipher", "no shared cipher"},
    Word{SSL_R_NO_SUITABLE_SIGNATURE_ALGORITHM, "no_shared_cipher",
         "no shared signature algorithm"},
    Word{SSL_R_NO_SUITABLE_KEY_SHARE, "no_shared_group", "no shared key exchange group"},
    Word{SSL_R_NO_APPLICATION_PROTOCOL, "no_shared_alpn", "no shared application protocol (ALPN)"},
    Word{SSL_R_TLSV1_UNRECOGNIZED_NAME, "unknown_server_name",
         "no certificate for the server name"},
    Word{SSL_R_HTTP_REQUEST, "not_tls", "plain HTTP was spoken to a TLS port"},
    Word{SSL_R_HTTPS_PROXY_REQUEST, "not_tls", "plain HTTP was spoken to a TLS port"},
    Word{SSL_R_WRONG_VERSION_NUMBER, "not_tls", "the peer does not speak TLS"},
    Word{SSL_R_PEER_DID_NOT_RETURN_A_CERTIFICATE, "no_certificate",
         "the client has shown no certificate"},
    Word{SSL_R_CERTIFICATE_VERIFY_FAILED, "certificate", "certificate verify failed"},
};

constexpr std::string_view peer_alert = "peer_alert";

constexpr std::array<std::string_view, tls_result_count - 1> reasons{
    "protocol_version",
    "no_shared_cipher",
    "no_shared_group",
    "no_shared_alpn",
    "unknown_server_name",
    "not_tls",
    "certificate",
    "certificate_expired",
    "certificate_revoked",
    "certificate_unknown_authority",
    "no_certificate",
    peer_alert,
    "reset",
    "closed",
    "timeout",
    "other"};

std::string_view label_of_verification(long result) {
  switch (result) {
    case X509_V_ERR_CERT_HAS_EXPIRED:
      return "certificate_expired";
    case X509_V_ERR_CERT_REVOKED:
      return "certificate_revoked";
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT:
    case X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY:
    case X509_V_ERR_UNABLE_TO_VERIFY_LEAF_SIGNATURE:
    case X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT:
    case X509_V_ERR_SELF_SIGNED_CERT_IN_CHAIN:
      return "certificate_unknown_authority";
    default:
      return "certificate";
  }
}

}  // namespace

TlsFacts tls_facts(const ssl_st* ssl) {
  TlsFacts facts;
  facts.version = SSL_get_version(ssl);
  if (const SSL_CIPHER* cipher = SSL_get_current_cipher(ssl))
    facts.cipher = SSL_CIPHER_get_name(cipher);
  facts.server_name = kept_server_name(ssl);
  const unsigned char* protocol = nullptr;
  unsigned size = 0;
  SSL_get0_alpn_selected(ssl, &protocol, &size);
  if (size > 0) facts.alpn.assign(reinterpret_cast<const char*>(protocol), size);
  facts.resumed = SSL_session_reused(ssl) == 1;
  return facts;
}

TlsFailure tls_failure(const Stream& stream) {
  unsigned long error = ERR_peek_last_error();
  // Where one of our callbacks refused, the cause stands before that.
  if (ERR_GET_REASON(error) == SSL_R_CALLBACK_FAILED) error = ERR_peek_error();
  ERR_clear_error();
  const long verified = stream.ssl() == nullptr ? X509_V_OK : SSL_get_verify_result(stream.ssl());
  if (verified != X509_V_OK && ERR_GET_REASON(error) == SSL_R_CERTIFICATE_VERIFY_FAILED) {
    return {label_of_verification(verified), X509_verify_cert_error_string(verified)};
  }
  if (error == 0) {
    if (stream.last_error() != 0) return {"reset", std::strerror(stream.last_error())};
    return {"closed", "the peer closed the connection during the TLS handshake"};
  }
  const int reason = ERR_GET_REASON(error);
  for (const Word& word : words) {
    if (ERR_GET_LIB(error) == ERR_LIB_SSL && word.reason == reason) {
      return {word.label, std::string(word.words)};
    }
  }
  const char* text = ERR_reason_error_string(error);
  const std::string in_words = text == nullptr ? "TLS error" : text;
  // OpenSSL numbers the alerts that a peer sent from 1000 on.
  if (reason >= SSL_AD_REASON_OFFSET) return {peer_alert, "the peer sent an alert: " + in_words};
  return {"other", in_words};
}

const std::vector<std::string_view>& tls_failure_reasons() {
  static const std::vector<std::string_view> all(reasons.begin(), reasons.end());
  return all;
}

}  // namespace weir::proxy
