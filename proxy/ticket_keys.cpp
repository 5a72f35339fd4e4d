#include "proxy/ticket_keys.hpp"

#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/rand.h>
#include <openssl/ssl.h>

#include <cstring>

#include "pool/assert.hpp"

namespace weir::proxy {
namespace {

TicketKeys::Key fresh_key() {
  TicketKeys::Key key;
  key.valid = RAND_bytes(key.name.data(), static_cast<int>(key.name.size())) == 1 &&
              RAND_priv_bytes(key.cipher.data(), static_cast<int>(key.cipher.size())) == 1 &&
              RAND_priv_bytes(key.mac.data(), static_cast<int>(key.mac.size())) == 1;
  return key;
}

int keys_index() {
  static const int index = SSL_CTX_get_ex_new_index(0, nullptr, nullptr, nullptr, nullptr);
  return index;
}

bool set_mac(EVP_MAC_CTX* mac, TicketKeys::Key& key) {
  std::array<OSSL_PARAM, 3> parameters{
      OSSL_PARAM_construct_octet_string(OSSL_MAC_PARAM_KEY, key.mac.data(), key.mac.size()),
      OSSL_PARAM_construct_utf8_string(OSSL_MAC_PARAM_DIGEST, const_cast<char*>("SHA256"), 0),
      OSSL_PARAM_construct_end()};
  return EVP_MAC_CTX_set_params(mac, parameters.data()) == 1;
}

// SSL_CTX_set_tlsext_ticket_key_evp_cb(3): 1 = use it, 2 = accept and renew, 0 = no such key.
int seal_or_open(SSL* ssl, unsigned char* name, unsigned char* iv, EVP_CIPHER_CTX* cipher,
                 EVP_MAC_CTX* mac, int seal) {
  auto* keys = static_cast<TicketKeys*>(SSL_CTX_get_ex_data(SSL_get_SSL_CTX(ssl), keys_index()));
  if (seal == 1) {
    TicketKeys::Key key = keys->current();
    if (!key.valid || RAND_bytes(iv, EVP_CIPHER_get_iv_length(EVP_aes_256_cbc())) != 1) return -1;
    std::memcpy(name, key.name.data(), key.name.size());
    const bool good = EVP_EncryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, key.cipher.data(), iv);
    return good && set_mac(mac, key) ? 1 : -1;
  }
  TicketKeys::Found found = keys->find(name);
  if (!found.key.valid) return 0;
  const bool good =
      EVP_DecryptInit_ex(cipher, EVP_aes_256_cbc(), nullptr, found.key.cipher.data(), iv);
  if (!good || !set_mac(mac, found.key)) return -1;
  // A TLS 1.3 ticket is used once, and OpenSSL sends a new one only when told to renew.
  return found.is_current && SSL_version(ssl) != TLS1_3_VERSION ? 1 : 2;
}

}  // namespace

TicketKeys::Key::~Key() {
  OPENSSL_cleanse(this, sizeof *this);
}

TicketKeys::TicketKeys(std::chrono::milliseconds rotate)
    : rotate_(rotate), made_(std::chrono::steady_clock::now()), keys_(2), sealing_(1) {
  keys_[sealing_] = fresh_key();
}

TicketKeys::TicketKeys(std::vector<Key> keys)
    : keys_(std::move(keys)), sealing_(keys_.size() < 2 ? 0 : keys_.size() - 2) {
  WEIR_ASSERT(!keys_.empty(), "a file of ticket keys has one");
}

void TicketKeys::serve(ssl_ctx_st* context) {
  SSL_CTX_set_ex_data(context, keys_index(), this);
  SSL_CTX_set_tlsext_ticket_key_evp_cb(context, &seal_or_open);
}

TicketKeys::Key TicketKeys::current() {
  const std::scoped_lock lock(mutex_);
  rotate_if_due();
  return keys_[sealing_];
}

TicketKeys::Found TicketKeys::find(const unsigned char* name) {
  const std::scoped_lock lock(mutex_);
  rotate_if_due();
  for (std::size_t i = 0; i < keys_.size(); ++i) {
    const Key& key = keys_[i];
    if (key.valid && std::memcmp(key.name.data(), name, key.name.size()) == 0) {
      return {key, i >= sealing_};
    }
  }
  return {};
}

void TicketKeys::rotate_if_due() {
  if (rotate_.count() == 0) return;
  const auto now = std::chrono::steady_clock::now();
  if (now - made_ < rotate_) return;
  // After two periods without a handshake the old key is too old to be accepted at all.
  keys_.front() = now - made_ < 2 * rotate_ ? keys_.back() : Key{};
  keys_.back() = fresh_key();
  made_ = now;
}

}  // namespace weir::proxy
