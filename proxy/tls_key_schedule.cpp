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

bool digest(TlsHash hash, std::span<const Octets> parts, unsigned char* out) {
  EVP_MD_CTX* const context = digest_context();
  bool good = EVP_DigestInit_ex2(context, digest_of(hash), nullptr) == 1;
  for (const Octets part : parts) {
    good = good && EVP_DigestUpdate(context, part.data(), part.size()) == 1;
  }
  return good && EVP_DigestFinal_ex(context, out, nullptr) == 1;
}

// RFC 2104. A message in at most `most_parts` parts.
constexpr std::size_t most_parts = 8;
bool hmac(TlsHash hash, Octets key, std::span<const Octets> message, unsigned char* out) {
  WEIR_ASSERT(message.size() <= most_parts, "a message has few parts");
  std::array<unsigned char, 128> block{};  // SHA-384 has the longer blocks
  const auto padded = std::span(block).first(hash == TlsHash::sha256 ? 64 : 128);
  bool good = true;
  if (key.size() <= padded.size()) {
    std::ranges::copy(key, padded.begin());
  } else {
    good = digest(hash, {&key, 1}, padded.data());
  }
  const auto mask = [&](unsigned char pattern) {
    for (unsigned char& byte : padded) byte ^= pattern;
  };
  std::array<unsigned char, 48> inner;
  std::array<Octets, 1 + most_parts> parts{padded};
  std::ranges::copy(message, parts.begin() + 1);
  mask(0x36);
  good = good && digest(hash, std::span(parts).first(1 + message.size()), inner.data());
  mask(0x36 ^ 0x5c);
  parts[1] = Octets(inner).first(size_of(hash));
  good = good && digest(hash, std::span(parts).first(2), out);
  OPENSSL_cleanse(block.data(), block.size());
  OPENSSL_cleanse(inner.data(), inner.size());
  return good;
}

bool hmac(TlsHash hash, Octets key, std::initializer_list<Octets> message, unsigned char* out) {
  return hmac(hash, key, std::span(message.begin(), message.size()), out);
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

bool prf(TlsHash hash, Octets secret, std::span<const Octets> label_and_seed,
         std::span<unsigned char> out) {
  if (label_and_seed.size() >= most_parts) return false;
  // A(1) = HMAC(secret, seed), A(i) = HMAC(secret, A(i-1)); block i = HMAC(secret, A(i) + seed).
  std::array<unsigned char, 48> chain;
  std::array<unsigned char, 48> block;
  const std::size_t size = size_of(hash);
  std::array<Octets, most_parts> parts{Octets(chain).first(size)};
  const auto end = std::ranges::copy(label_and_seed, parts.begin() + 1).out;
  const std::span<const Octets> message(parts.begin(), end);
  bool good = hmac(hash, secret, label_and_seed, chain.data());
  while (good && !out.empty()) {
    good = hmac(hash, secret, message, block.data());
    const std::size_t count = std::min(size, out.size());
    std::copy_n(block.begin(), count, out.begin());
    out = out.subspan(count);
    if (!out.empty()) good = good && hmac(hash, secret, message.first(1), chain.data());
  }
  OPENSSL_cleanse(block.data(), block.size());
  OPENSSL_cleanse(chain.data(), chain.size());
  return good;
}

}  // namespace weir::proxy
