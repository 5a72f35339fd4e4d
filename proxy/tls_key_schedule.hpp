#pragma once
// The arithmetic of TLS's key schedules (1.3: RFC 8446, section 7.1; 1.2: RFC 5246, section 5) on
// OpenSSL's digests, without the look-ups and allocations that OpenSSL 3.0 makes for each step: a
// handshake of TLS 1.3 takes eighteen of them. Pure; any thread.

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace weir::proxy {

using Octets = std::span<const unsigned char>;

// The hash of a cipher suite.
enum class TlsHash : std::uint8_t { sha256, sha384 };
constexpr std::size_t size_of(TlsHash hash) {
  return hash == TlsHash::sha256 ? 32 : 48;
}

// A secret of the schedule, wiped when it goes.
class TlsSecret {
 public:
  TlsSecret() = default;
  explicit TlsSecret(Octets bytes);  // at most 48
  TlsSecret(const TlsSecret&) = default;
  TlsSecret& operator=(const TlsSecret&) = default;
  ~TlsSecret();

  Octets bytes() const { return {bytes_.data(), size_}; }
  bool empty() const { return size_ == 0; }

 private:
  std::array<unsigned char, 48> bytes_{};
  std::uint8_t size_ = 0;
};

// HKDF-Expand-Label; `label` without its prefix. `out` is at most one hash long. False when
// OpenSSL refuses, which it does for want of memory only.
bool expand_label(TlsHash hash, Octets secret, std::string_view label, Octets context,
                  std::span<unsigned char> out);
// HKDF-Extract (RFC 5869, 2.2); `out` is as long as the hash.
bool extract(TlsHash hash, Octets salt, Octets input, std::span<unsigned char> out);
// The hash of nothing, the context of "derived".
Octets empty_hash(TlsHash hash);

// The PRF of TLS 1.2; `label_and_seed` is one string in parts, `out` has any length.
bool prf(TlsHash hash, Octets secret, std::span<const Octets> label_and_seed,
         std::span<unsigned char> out);

}  // namespace weir::proxy
