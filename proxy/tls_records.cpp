#include "proxy/tls_records.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>

#include "pool/assert.hpp"

namespace weir::proxy {
namespace {

using Cipher = std::unique_ptr<EVP_CIPHER, decltype(&EVP_CIPHER_free)>;

const EVP_CIPHER* cipher_of(TlsSuite suite) {
  // Fetched once: each look-up in OpenSSL's store takes locks.
  static const Cipher aes_128(EVP_CIPHER_fetch(nullptr, "AES-128-GCM", nullptr), &EVP_CIPHER_free);
  static const Cipher aes_256(EVP_CIPHER_fetch(nullptr, "AES-256-GCM", nullptr), &EVP_CIPHER_free);
  static const Cipher chacha20(EVP_CIPHER_fetch(nullptr, "ChaCha20-Poly1305", nullptr),
                               &EVP_CIPHER_free);
  switch (suite) {
    case TlsSuite::aes_128_gcm_sha256:
      return aes_128.get();
    case TlsSuite::aes_256_gcm_sha384:
      return aes_256.get();
    case TlsSuite::chacha20_poly1305_sha256:
      return chacha20.get();
  }
  return nullptr;
}

std::size_t key_size(TlsSuite suite) {
  return suite == TlsSuite::aes_128_gcm_sha256 ? 16 : 32;
}

const unsigned char* octets(const std::byte* bytes) {
  return reinterpret_cast<const unsigned char*>(bytes);
}
unsigned char* octets(std::byte* bytes) {
  return reinterpret_cast<unsigned char*>(bytes);
}

// TLSCiphertext's length field.
std::size_t payload_size(std::span<const std::byte> header) {
  return (std::to_integer<std::size_t>(header[3]) << 8) | std::to_integer<std::size_t>(header[4]);
}

constexpr std::byte key_update_type{24};

}  // namespace

std::optional<TlsSuite> tls_suite(unsigned number) {
  switch (number) {
    case 0x1301:
      return TlsSuite::aes_128_gcm_sha256;
    case 0x1302:
      return TlsSuite::aes_256_gcm_sha384;
    case 0x1303:
      return TlsSuite::chacha20_poly1305_sha256;
    default:
      return std::nullopt;
  }
}

TlsHash hash_of(TlsSuite suite) {
  return suite == TlsSuite::aes_256_gcm_sha384 ? TlsHash::sha384 : TlsHash::sha256;
}

TlsRecords::TlsRecords(TlsSuite suite, const TlsSecret& ours, const TlsSecret& theirs,
                       std::uint64_t sealed)
    : suite_(suite) {
  sealing_.secret = ours;
  sealing_.sequence = sealed;
  opening_.secret = theirs;
}

void TlsRecords::FreeCipher::operator()(evp_cipher_ctx_st* context) const {
  EVP_CIPHER_CTX_free(context);
}

// Key and IV: RFC 8446, 7.3.
bool TlsRecords::make_cipher(Direction& direction, bool seals) {
  std::array<unsigned char, 32> key;
  const auto used = std::span(key).first(key_size(suite_));
  direction.cipher.reset(EVP_CIPHER_CTX_new());
  const bool good =
      direction.cipher != nullptr &&
      expand_label(hash_of(suite_), direction.secret.bytes(), "key", {}, used) &&
      expand_label(hash_of(suite_), direction.secret.bytes(), "iv", {}, direction.iv) &&
      EVP_CipherInit_ex(direction.cipher.get(), cipher_of(suite_), nullptr, key.data(), nullptr,
                        seals ? 1 : 0) == 1;
  OPENSSL_cleanse(key.data(), key.size());
  if (!good) direction.cipher.reset();
  return good;
}

// The next generation of a secret: RFC 8446, 7.2.
bool TlsRecords::renew(Direction& direction) {
  const TlsHash hash = hash_of(suite_);
  std::array<unsigned char, 48> next;
  const auto used = std::span(next).first(size_of(hash));
  if (!expand_label(hash, direction.secret.bytes(), "traffic upd", {}, used)) return false;
  direction.secret = TlsSecret(used);
  OPENSSL_cleanse(next.data(), next.size());
  direction.sequence = 0;
  direction.cipher.reset();
  return true;
}

// The number of the record, in network order, over the end of the IV: RFC 8446, 5.3.
std::array<unsigned char, 12> TlsRecords::nonce(Direction& direction) {
  std::array<unsigned char, 12> nonce = direction.iv;
  const std::uint64_t sequence = direction.sequence++;
  for (std::size_t i = 0; i < 8; ++i) {
    nonce[11 - i] = static_cast<unsigned char>(nonce[11 - i] ^ ((sequence >> (8 * i)) & 0xff));
  }
  return nonce;
}

std::size_t TlsRecords::seal(Content content, std::span<const std::byte> plain, std::byte* out) {
  WEIR_ASSERT(plain.size() <= most_plain, "a record holds 16 KiB");
  // A peer that only listens says nothing but now and then a KeyUpdate.
  if (content == Content::application_data) empty_records_ = 0;
  if (!sealing_.cipher && !make_cipher(sealing_, true)) return 0;
  EVP_CIPHER_CTX* const cipher = sealing_.cipher.get();
  const std::size_t payload = plain.size() + 1 + tag_size;
  unsigned char* const header = octets(out);
  header[0] = static_cast<unsigned char>(Content::application_data);
  header[1] = 3;
  header[2] = 3;
  header[3] = static_cast<unsigned char>(payload >> 8);
  header[4] = static_cast<unsigned char>(payload & 0xff);
  unsigned char* next = header + header_size;
  const auto type = static_cast<unsigned char>(content);
  int size = 0;
  const auto iv = nonce(sealing_);
  const bool good =
      EVP_EncryptInit_ex(cipher, nullptr, nullptr, nullptr, iv.data()) == 1 &&
      EVP_EncryptUpdate(cipher, nullptr, &size, header, header_size) == 1 &&
      (plain.empty() || EVP_EncryptUpdate(cipher, next, &size, octets(plain.data()),
                                          static_cast<int>(plain.size())) == 1) &&
      EVP_EncryptUpdate(cipher, next + plain.size(), &size, &type, 1) == 1 &&
      EVP_EncryptFinal_ex(cipher, next + plain.size() + 1, &size) == 1 &&
      EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_GET_TAG, tag_size, next + plain.size() + 1) == 1;
  return good ? header_size + payload : 0;
}

std::size_t TlsRecords::update_key(std::byte* out) {
  // KeyUpdate: type, a length of three octets, update_not_requested.
  constexpr std::array message{key_update_type, std::byte{0}, std::byte{0}, std::byte{1},
                               std::byte{0}};
  const std::size_t size = seal(Content::handshake, message, out);
  key_is_wanted_ = false;
  return size > 0 && renew(sealing_) ? size : 0;
}

bool TlsRecords::holds_record(std::span<const std::byte> input) {
  return input.size() >= header_size && input.size() >= record_size(input);
}

std::size_t TlsRecords::record_size(std::span<const std::byte> input) {
  return header_size + payload_size(input);
}

TlsRecords::Opened TlsRecords::open(std::span<const std::byte>& input, std::span<std::byte> to,
                                    std::size_t& size) {
  size = 0;
  if (input.size() < header_size) return Opened::partial;
  const auto header = input.first(header_size);
  // After the handshake nothing travels in the clear: RFC 8446, 5.
  if (header[0] != static_cast<std::byte>(Content::application_data)) {
    return broken(TlsAlert::unexpected_message);
  }
  const std::size_t payload = payload_size(header);
  if (payload > largest_record - header_size) return broken(TlsAlert::record_overflow);
  if (payload <= tag_size) return broken(TlsAlert::decode_error);
  if (input.size() < header_size + payload) return Opened::partial;
  std::size_t content_size = payload - tag_size;
  if (content_size > to.size()) return Opened::full;
  if (!decrypt(header, input.subspan(header_size, payload), to.data())) {
    return broken(TlsAlert::bad_record_mac);
  }
  input = input.subspan(header_size + payload);
  // Zeros are padding, before them stands the type: RFC 8446, 5.4.
  while (content_size > 0 && to[content_size - 1] == std::byte{0}) --content_size;
  if (content_size == 0) return broken(TlsAlert::unexpected_message);
  --content_size;
  return understand(static_cast<Content>(to[content_size]), to.first(content_size), size);
}

bool TlsRecords::decrypt(std::span<const std::byte> header, std::span<const std::byte> sealed,
                         std::byte* to) {
  if (!opening_.cipher && !make_cipher(opening_, false)) return false;
  EVP_CIPHER_CTX* const cipher = opening_.cipher.get();
  const auto bytes = sealed.first(sealed.size() - tag_size);
  // OpenSSL takes the tag by a pointer that is not const, and only reads it.
  auto* const tag = const_cast<std::byte*>(sealed.last(tag_size).data());
  int size = 0;
  const auto iv = nonce(opening_);
  return EVP_DecryptInit_ex(cipher, nullptr, nullptr, nullptr, iv.data()) == 1 &&
         EVP_DecryptUpdate(cipher, nullptr, &size, octets(header.data()), header_size) == 1 &&
         EVP_DecryptUpdate(cipher, octets(to), &size, octets(bytes.data()),
                           static_cast<int>(bytes.size())) == 1 &&
         EVP_CIPHER_CTX_ctrl(cipher, EVP_CTRL_AEAD_SET_TAG, tag_size, tag) == 1 &&
         EVP_DecryptFinal_ex(cipher, octets(to) + bytes.size(), &size) == 1;
}

TlsRecords::Opened TlsRecords::understand(Content content, std::span<const std::byte> bytes,
                                          std::size_t& size) {
  switch (content) {
    case Content::application_data:
      if (bytes.empty()) return without_data();
      empty_records_ = 0;
      size = bytes.size();
      return Opened::data;
    case Content::alert:
      if (bytes.size() != 2) return broken(TlsAlert::decode_error);
      // The level, in the first octet, is ignored: RFC 8446, 6.
      if (bytes[1] == static_cast<std::byte>(TlsAlert::close_notify)) return Opened::end;
      if (bytes[1] == static_cast<std::byte>(TlsAlert::user_canceled)) return without_data();
      return broken(std::nullopt);
    case Content::handshake:
      return understand_handshake(bytes);
  }
  return broken(TlsAlert::unexpected_message);
}

// A client has nothing to say but KeyUpdate, which ends its record: RFC 8446, 4.6.3 and 5.1.
TlsRecords::Opened TlsRecords::understand_handshake(std::span<const std::byte> message) {
  constexpr std::array head{key_update_type, std::byte{0}, std::byte{0}, std::byte{1}};
  if (message.size() != head.size() + 1 || !std::ranges::equal(message.first(head.size()), head)) {
    return broken(TlsAlert::unexpected_message);
  }
  const std::byte requested = message.back();
  if (requested > std::byte{1}) return broken(TlsAlert::illegal_parameter);
  if (!renew(opening_)) return broken(TlsAlert::internal_error);
  if (requested == std::byte{1}) key_is_wanted_ = true;
  return without_data();
}

TlsRecords::Opened TlsRecords::without_data() {
  return ++empty_records_ > most_empty_records ? broken(TlsAlert::unexpected_message)
                                               : Opened::nothing;
}

TlsRecords::Opened TlsRecords::broken(std::optional<TlsAlert> alert) {
  alert_ = alert;
  return Opened::broken;
}

}  // namespace weir::proxy
