#include "proxy/tls_offer.hpp"

#include <openssl/ssl.h>

#include <algorithm>
#include <memory>

namespace weir::proxy {
namespace {

void free_name(void*, void* name, CRYPTO_EX_DATA*, int, long, void*) {
  delete static_cast<std::string*>(name);
}

int name_index() {
  static const int index = SSL_get_ex_new_index(0, nullptr, nullptr, nullptr, &free_name);
  return index;
}

}  // namespace

std::string offered_server_name(ssl_st* ssl) {
  const unsigned char* bytes = nullptr;
  std::size_t size = 0;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name, &bytes, &size) != 1) return {};
  // list length (2), name type (1, 0 = host name), name length (2), name
  if (size < 5 || bytes[2] != TLSEXT_NAMETYPE_host_name) return {};
  const std::size_t length = (std::size_t{bytes[3]} << 8) | bytes[4];
  if (length == 0 || 5 + length > size || length > TLSEXT_MAXLEN_host_name) return {};
  std::string name(reinterpret_cast<const char*>(bytes) + 5, length);
  // OpenSSL itself refuses it but where a session of TLS 1.2 is resumed.
  if (name.contains('\0')) return {};
  std::ranges::transform(name, name.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return name;
}

bool offers_ecdsa(ssl_st* ssl) {
  const unsigned char* bytes = nullptr;
  std::size_t size = 0;
  if (SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_signature_algorithms, &bytes, &size) != 1) {
    return false;
  }
  for (std::size_t i = 2; i + 1 < size; i += 2) {
    // RFC 8446, 4.2.3: ecdsa_* are 0x0403, 0x0503, 0x0603.
    if (bytes[i + 1] == 3 && bytes[i] >= 4 && bytes[i] <= 6) return true;
  }
  return false;
}

void keep_server_name(ssl_st* ssl, std::string name) {
  // A second ClientHello (after a HelloRetryRequest) replaces what the first one said.
  if (auto* kept = static_cast<std::string*>(SSL_get_ex_data(ssl, name_index()))) {
    *kept = std::move(name);
    return;
  }
  if (name.empty()) return;
  auto fresh = std::make_unique<std::string>(std::move(name));
  if (SSL_set_ex_data(ssl, name_index(), fresh.get()) == 1) static_cast<void>(fresh.release());
}

std::string_view kept_server_name(const ssl_st* ssl) {
  const auto* name = static_cast<const std::string*>(SSL_get_ex_data(ssl, name_index()));
  return name == nullptr ? std::string_view() : *name;
}

}  // namespace weir::proxy
