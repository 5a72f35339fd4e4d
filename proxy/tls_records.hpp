#pragma once
// The record layer of one TLS 1.3 connection after its handshake (RFC 8446, section 5): seals and
// opens records under the traffic secrets that OpenSSL's handshake has agreed on, and follows key
// updates (4.6.3). The ciphers are OpenSSL's. With it a connection needs no SSL any longer: that
// saves 13 KiB where it idles, and two copies of each byte where it does not.
//
// Pure: bytes in, bytes out, no I/O. A record that breaks the protocol ends the connection: there
// is no way on after `broken`. Confined to one thread.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>

#include "proxy/tls_key_schedule.hpp"

struct evp_cipher_ctx_st;

namespace weir::proxy {

enum class TlsSuite : std::uint8_t {
  aes_128_gcm_sha256,
  aes_256_gcm_sha384,
  chacha20_poly1305_sha256,
};
// By its number in the protocol (RFC 8446, B.4); nothing for one that is not served here.
std::optional<TlsSuite> tls_suite(unsigned number);
TlsHash hash_of(TlsSuite suite);

// RFC 8446, B.2. Only those that are sent or understood here.
enum class TlsAlert : std::uint8_t {
  close_notify = 0,
  unexpected_message = 10,
  bad_record_mac = 20,
  record_overflow = 22,
  illegal_parameter = 47,
  decode_error = 50,
  internal_error = 80,
  user_canceled = 90,
};

class TlsRecords {
 public:
  // What travels in a record.
  enum class Content : std::uint8_t { alert = 21, handshake = 22, application_data = 23 };

  static constexpr std::size_t most_plain = 16 * 1024;  // bytes of content in a record
  static constexpr std::size_t header_size = 5;
  static constexpr std::size_t tag_size = 16;
  static constexpr std::size_t overhead = header_size + 1 + tag_size;   // the 1 is the type
  static constexpr std::size_t largest_record = most_plain + overhead;  // padding included: 5.4

  // `sealed`: how many records have gone out under `ours` already.
  TlsRecords(TlsSuite suite, const TlsSecret& ours, const TlsSecret& theirs, std::uint64_t sealed);

  // Seals at most most_plain bytes into `out`, which has room for them and the overhead. The size
  // of the record; 0 when OpenSSL refuses, which it does for want of memory only.
  std::size_t seal(Content content, std::span<const std::byte> plain, std::byte* out);
  // Is it time for a new key of ours? RFC 8446, 5.5.
  bool key_is_worn() const { return sealing_.sequence >= most_records_of_a_key; }
  // The peer wants one: it has to come before our next data.
  bool key_is_wanted() const { return key_is_wanted_; }
  // Seals the KeyUpdate that announces it, and goes on under it. As seal().
  std::size_t update_key(std::byte* out);

  enum class Opened : std::uint8_t {
    data,     // `size` bytes of it stand in `to`
    nothing,  // a record without data was dealt with
    partial,  // the input holds no whole record
    full,     // the record's content may not fit into `to`
    end,      // the peer has said close_notify
    broken,   // see alert()
  };
  // Opens the first record of `input` and takes it out.
  Opened open(std::span<const std::byte>& input, std::span<std::byte> to, std::size_t& size);
  // Does `input` begin with a whole record, and how long is that, header and all?
  static bool holds_record(std::span<const std::byte> input);
  static std::size_t record_size(std::span<const std::byte> input);
  // What the peer is to be told after `broken`; nothing when it was the peer's alert that ended it.
  std::optional<TlsAlert> alert() const { return alert_; }

 private:
  // RFC 8446, 5.5 allows 2^24.5 full records under one key of AES-GCM.
  static constexpr std::uint64_t most_records_of_a_key = std::uint64_t{1} << 24;
  // As OpenSSL: a peer may not keep us busy with records that carry nothing, in a row and with no
  // data of ours between.
  static constexpr int most_empty_records = 32;

  struct FreeCipher {
    void operator()(evp_cipher_ctx_st* context) const;
  };
  struct Direction {
    TlsSecret secret;
    std::uint64_t sequence = 0;
    // Both from the first record on: a connection that is silent has no cipher.
    std::array<unsigned char, 12> iv{};
    std::unique_ptr<evp_cipher_ctx_st, FreeCipher> cipher;
  };

  bool make_cipher(Direction& direction, bool seals);
  bool renew(Direction& direction);
  static std::array<unsigned char, 12> nonce(Direction& direction);
  bool decrypt(std::span<const std::byte> header, std::span<const std::byte> sealed, std::byte* to);
  Opened understand(Content content, std::span<const std::byte> bytes, std::size_t& size);
  Opened understand_handshake(std::span<const std::byte> message);
  Opened without_data();
  Opened broken(std::optional<TlsAlert> alert);

  TlsSuite suite_;
  bool key_is_wanted_ = false;
  std::uint8_t empty_records_ = 0;
  std::optional<TlsAlert> alert_;
  Direction sealing_;
  Direction opening_;
};

}  // namespace weir::proxy
