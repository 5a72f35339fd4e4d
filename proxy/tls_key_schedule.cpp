#include "proxy/tls_key_schedule.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <algorithm>
#include <initializer_list>
#include <memory>

#include "pool/assert.hpp"

namespace weir::proxy {
namespace {

using Digest = std::unique_ptr<EVP_MD, decltype(&EVP_MD_free)>;

const EVP_MD* digest_of(TlsHash hash) {
  // Fetched once: each look-up in OpenSSL's store takes locks.
  static const Digest sha256(EVP_MD_fetch(nullptr, "SHA2-256", nullptr), &EVP_MD_free);
  static const Digest sha384(EVP_MD_fetch(nullptr, "SHA2-384", nullptr), &EVP_MD_free);
  return hash == TlsHash::sha256 ? sha256.get() : sha384.get();
}

EVP_MD_CTX* digest_context() {
  static thread_local const std::unique_ptr<EVP_MD_CTX, decltype(&EVP_MD_CTX_free)> context(
      EVP_MD_CTX_new(), &EVP_MD_CTX_free);
  return context.get();
}

// One pass of HMAC (RFC 2104): the key padded and masked, then the parts.
bool pass(TlsHash hash, Octets key, unsigned char mask, std::initializer_list<Octets> parts,
          unsigned char* out) {
  EVP_MD_CTX* const context = digest_context();
  std::array<unsigned char, 128> block;  // SHA-384 has the longer blocks
  const std::size_t block_size = hash == TlsHash::sha256 ? 64 : 128;
  WEIR_ASSERT(key.size() <= block_size, "secrets are no longer than a hash");
  std::ranges::fill(std::ranges::copy(key, block.begin()).out, block.end(), 0);
  for (unsigned char& byte : block) byte ^= mask;
  bool good = EVP_DigestInit_ex2(context, digest_of(hash), nullptr) == 1 &&
              EVP_DigestUpdate(context, block.data(), block_size) == 1;
  for (const Octets part : parts) {
    good = good && EVP_DigestUpdate(context, part.data(), part.size()) == 1;
  }
  good = good && EVP_DigestFinal_ex(context, out, nullptr) == 1;
  OPENSSL_cleanse(block.data(), block.size());
  return good;
}

bool hmac(TlsHash hash, Octets key, std::initializer_list<Octets> parts, unsigned char* out) {
  std::array<unsigned char, 48> inner;
  return pass(hash, key, 0x36, parts, inner.data()) &&
         pass(hash, key, 0x5c, {Octets(inner).first(size_of(hash))}, out);
}

}  // namespace

TlsSecret::TlsSecret(Octets bytes) : size_(static_cast<std::uint8_t>(bytes.size())) {
  WEIR_ASSERT(bytes.size() <= bytes_.size(), "a secret is no longer than a hash");
  std::ranges::copy(bytes, bytes_.begin());
}

TlsSecret::~TlsSecret() {
  OPENSSL_cleanse(bytes_.data(), bytes_.size());
}

bool expand_label(TlsHash hash, Octets secret, std::string_view label, Octets context,
                  std::span<unsigned char> out) {
  constexpr std::string_view prefix = "tls13 ";
  WEIR_ASSERT(out.size() <= size_of(hash), "one block of HKDF-Expand is enough");
  WEIR_ASSERT(prefix.size() + label.size() <= 255 && context.size() <= 255, "lengths of one octet");
  // struct { uint16 length; opaque label<7..255>; opaque context<0..255>; } HkdfLabel, and the
  // number of the block.
  const std::array<unsigned char, 3> head{0, static_cast<unsigned char>(out.size()),
                                          static_cast<unsigned char>(prefix.size() + label.size())};
  const auto context_size = static_cast<unsigned char>(context.size());
  constexpr unsigned char block_number = 1;
  const auto octets = [](std::string_view text) {
    return Octets(reinterpret_cast<const unsigned char*>(text.data()), text.size());
  };
  std::array<unsigned char, 48> block;
  if (!hmac(hash, secret,
            {head, octets(prefix), octets(label), {&context_size, 1}, context, {&block_number, 1}},
            block.data())) {
    return false;
  }
  std::copy_n(block.begin(), out.size(), out.begin());
  OPENSSL_cleanse(block.data(), block.size());
  return true;
}

bool extract(TlsHash hash, Octets salt, Octets input, std::span<unsigned char> out) {
  WEIR_ASSERT(out.size() == size_of(hash), "HKDF-Extract gives a whole hash");
  return hmac(hash, salt, {input}, out.data());
}

Octets empty_hash(TlsHash hash) {
  struct Hashes {
    std::array<unsigned char, 48> sha256{};
    std::array<unsigned char, 48> sha384{};
    Hashes() {
      EVP_Digest("", 0, sha256.data(), nullptr, digest_of(TlsHash::sha256), nullptr);
      EVP_Digest("", 0, sha384.data(), nullptr, digest_of(TlsHash::sha384), nullptr);
    }
  };
  static const Hashes hashes;
  return Octets(hash == TlsHash::sha256 ? hashes.sha256 : hashes.sha384).first(size_of(hash));
}

}  // namespace weir::proxy
