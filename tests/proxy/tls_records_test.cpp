// The record layer on its own: against the records of RFC 8448, against itself, and against a peer
// that seals whatever it likes.

#include "proxy/tls_records.hpp"

#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <array>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "tests/support/hex.hpp"

namespace weir::proxy {
namespace {

using Bytes = std::vector<std::byte>;
using Content = TlsRecords::Content;
using Opened = TlsRecords::Opened;

constexpr std::size_t tag_size = TlsRecords::tag_size;
constexpr std::size_t header_size = TlsRecords::header_size;

Bytes bytes_of(std::string_view digits) {
  Bytes bytes;
  for (const unsigned char byte : from_hex(digits)) bytes.push_back(std::byte{byte});
  return bytes;
}

TlsSecret secret_of(std::string_view digits) {
  return TlsSecret(from_hex(digits));
}

Bytes noise(std::size_t size, unsigned seed = 1) {
  std::mt19937 random(seed);
  Bytes bytes(size);
  for (std::byte& byte : bytes) byte = static_cast<std::byte>(random());
  return bytes;
}

TlsSecret secret(TlsSuite suite, unsigned char fill) {
  return TlsSecret(std::vector<unsigned char>(size_of(hash_of(suite)), fill));
}

constexpr TlsSuite aes_128 = TlsSuite::aes_128_gcm_sha256;
constexpr std::array suites{aes_128, TlsSuite::aes_256_gcm_sha384,
                            TlsSuite::chacha20_poly1305_sha256};
constexpr unsigned char our_fill = 1;
constexpr unsigned char their_fill = 2;

TlsRecords make_ours(TlsSuite suite = aes_128, std::uint64_t sealed = 0) {
  return {suite, secret(suite, our_fill), secret(suite, their_fill), sealed};
}
TlsRecords make_theirs(TlsSuite suite = aes_128) {
  return {suite, secret(suite, their_fill), secret(suite, our_fill), 0};
}

Bytes sealed(TlsRecords& records, const Bytes& plain, Content content = Content::application_data) {
  Bytes out(plain.size() + TlsRecords::overhead);
  EXPECT_EQ(records.seal(content, plain, out.data()), out.size());
  return out;
}

Bytes key_updated(TlsRecords& records) {
  Bytes out(2 * TlsRecords::overhead);
  out.resize(records.update_key(out.data()));
  EXPECT_FALSE(out.empty());
  return out;
}

// What one open() did; `data` is what it brought.
struct Got {
  Opened opened;
  Bytes data;
};
Got open(TlsRecords& records, std::span<const std::byte>& input,
         std::size_t room = TlsRecords::largest_record) {
  Got got{Opened::broken, Bytes(room)};
  std::size_t size = 0;
  got.opened = records.open(input, got.data, size);
  got.data.resize(size);
  return got;
}
Got open(TlsRecords& records, const Bytes& record) {
  std::span<const std::byte> input = record;
  Got got = open(records, input);
  const bool took_it =
      got.opened == Opened::data || got.opened == Opened::nothing || got.opened == Opened::end;
  EXPECT_TRUE(input.empty() || !took_it) << "a record that was opened is taken out";
  return got;
}

// A client that seals what TlsRecords never would. Its cipher is OpenSSL's, used for itself.
class Forger {
 public:
  explicit Forger(TlsSuite suite = aes_128, std::uint64_t sequence = 0)
      : Forger(suite, secret(suite, their_fill), sequence) {}
  Forger(TlsSuite suite, const TlsSecret& secret, std::uint64_t sequence)
      : cipher_(suite == aes_128                        ? EVP_aes_128_gcm()
                : suite == TlsSuite::aes_256_gcm_sha384 ? EVP_aes_256_gcm()
                                                        : EVP_chacha20_poly1305()),
        sequence_(sequence),
        key_(static_cast<std::size_t>(EVP_CIPHER_get_key_length(cipher_))) {
    EXPECT_TRUE(expand_label(hash_of(suite), secret.bytes(), "key", {}, key_));
    EXPECT_TRUE(expand_label(hash_of(suite), secret.bytes(), "iv", {}, iv_));
  }

  // `plain`, the inner type and the padding, under an outer type.
  Bytes seal(Bytes plain, int type, std::size_t padding = 0, int outer = 23) {
    plain.push_back(static_cast<std::byte>(type));
    plain.resize(plain.size() + padding);
    return seal_inner(plain, outer);
  }
  Bytes seal_inner(const Bytes& inner, int outer = 23) {
    Bytes record(header_size + inner.size() + tag_size);
    auto* const out = reinterpret_cast<unsigned char*>(record.data());
    out[0] = static_cast<unsigned char>(outer);
    out[1] = out[2] = 3;
    out[3] = static_cast<unsigned char>((inner.size() + tag_size) >> 8);
    out[4] = static_cast<unsigned char>((inner.size() + tag_size) & 0xff);
    const Context context = start();
    int size = 0;
    EXPECT_EQ(EVP_EncryptUpdate(context.get(), nullptr, &size, out, header_size), 1);
    EXPECT_EQ(EVP_EncryptUpdate(context.get(), out + header_size, &size,
                                reinterpret_cast<const unsigned char*>(inner.data()),
                                static_cast<int>(inner.size())),
              1);
    EXPECT_EQ(EVP_EncryptFinal_ex(context.get(), out + header_size + size, &size), 1);
    EXPECT_EQ(EVP_CIPHER_CTX_ctrl(context.get(), EVP_CTRL_AEAD_GET_TAG, tag_size,
                                  out + header_size + inner.size()),
              1);
    return record;
  }

 private:
  using Context = std::unique_ptr<EVP_CIPHER_CTX, decltype(&EVP_CIPHER_CTX_free)>;
  Context start() {
    std::array<unsigned char, 12> nonce = iv_;
    const std::uint64_t sequence = sequence_++;
    for (std::size_t i = 0; i < 8; ++i) {
      nonce[4 + i] ^= static_cast<unsigned char>(sequence >> (56 - 8 * i));
    }
    Context context(EVP_CIPHER_CTX_new(), &EVP_CIPHER_CTX_free);
    EXPECT_EQ(EVP_EncryptInit_ex(context.get(), cipher_, nullptr, key_.data(), nonce.data()), 1);
    return context;
  }

  const EVP_CIPHER* cipher_;
  std::uint64_t sequence_;
  std::vector<unsigned char> key_;
  std::array<unsigned char, 12> iv_{};
};

// Opening this record, the first of a connection, breaks it with this alert.
void expect_broken(const Bytes& record, std::optional<TlsAlert> alert) {
  TlsRecords records = make_ours();
  const Got got = open(records, record);
  EXPECT_EQ(got.opened, Opened::broken);
  EXPECT_TRUE(got.data.empty());
  EXPECT_EQ(records.alert(), alert);
}

Bytes alert(int level, int description) {
  return {static_cast<std::byte>(level), static_cast<std::byte>(description)};
}

// RFC 8448, section 3. The server's data comes after its ticket, so it is its second record.
TEST(TlsRecords, SealsAndOpensTheRecordsOfRfc8448) {
  const TlsSecret client =
      secret_of("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5");
  const TlsSecret server =
      secret_of("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643");
  const Bytes from_client = bytes_of(
      "17 03 03 00 43 a2 3f 70 54 b6 2c 94 d0 af fa fe 82 28 ba 55 cb ef ac ea 42 f9 14 aa 66 bc "
      "ab 3f 2b 98 19 a8 a5 b4 6b 39 5b d5 4a 9a 20 44 1e 2b 62 97 4e 1f 5a 62 92 a2 97 70 14 bd "
      "1e 3d ea e6 3a ee bb 21 69 49 15 e4");
  const Bytes from_server = bytes_of(
      "17 03 03 00 43 2e 93 7e 11 ef 4a c7 40 e5 38 ad 36 00 5f c4 a4 69 32 fc 32 25 d0 5f 82 aa "
      "1b 36 e3 0e fa f9 7d 90 e6 df fc 60 2d cb 50 1a 59 a8 fc c4 9c 4b f2 e5 f0 a2 1c 00 47 c2 "
      "ab f3 32 54 0d d0 32 e1 67 c2 95 5d");
  const Bytes goodbye_of_client =
      bytes_of("17 03 03 00 13 c9 87 27 60 65 56 66 b7 4d 7f f1 15 3e fd 6d b6 d0 b0 e3");
  const Bytes goodbye_of_server =
      bytes_of("17 03 03 00 13 b5 8f d6 71 66 eb f5 99 d2 47 20 cf be 7e fa 7a 88 64 a9");
  Bytes data;
  for (unsigned char i = 0; i < 50; ++i) data.push_back(std::byte{i});

  TlsRecords ours(aes_128, server, client, 1);
  const Got got = open(ours, from_client);
  EXPECT_EQ(got.opened, Opened::data);
  EXPECT_EQ(got.data, data);
  EXPECT_EQ(sealed(ours, data), from_server);
  EXPECT_EQ(open(ours, goodbye_of_client).opened, Opened::end);
  EXPECT_EQ(sealed(ours, alert(1, 0), Content::alert), goodbye_of_server);
}

TEST(TlsRecords, KnowsTheSuitesByTheirNumbers) {
  EXPECT_EQ(tls_suite(0x1301), TlsSuite::aes_128_gcm_sha256);
  EXPECT_EQ(tls_suite(0x1302), TlsSuite::aes_256_gcm_sha384);
  EXPECT_EQ(tls_suite(0x1303), TlsSuite::chacha20_poly1305_sha256);
  EXPECT_EQ(tls_suite(0x1304), std::nullopt);
  EXPECT_EQ(tls_suite(0xc02f), std::nullopt);
}

TEST(TlsRecords, CarriesEverySizeBothWaysUnderEverySuite) {
  for (const TlsSuite suite : suites) {
    SCOPED_TRACE(testing::Message() << "suite " << static_cast<int>(suite));
    TlsRecords ours = make_ours(suite);
    TlsRecords theirs = make_theirs(suite);
    for (const std::size_t size : {0U, 1U, 1369U, 16383U, 16384U}) {
      for (const auto& [from, to] : {std::pair{&ours, &theirs}, std::pair{&theirs, &ours}}) {
        const Bytes data = noise(size);
        const Got got = open(*to, sealed(*from, data));
        EXPECT_EQ(got.opened, size == 0 ? Opened::nothing : Opened::data);
        EXPECT_TRUE(got.data == data) << size << " bytes";
      }
    }
  }
}

TEST(TlsRecords, SealsAsOpensslDoesUnderEverySuite) {
  for (const TlsSuite suite : suites) {
    SCOPED_TRACE(testing::Message() << "suite " << static_cast<int>(suite));
    Forger forger(suite);
    TlsRecords theirs = make_theirs(suite);
    for (const std::size_t size : {100U, 16384U, 1U}) {
      EXPECT_TRUE(sealed(theirs, noise(size)) == forger.seal(noise(size), 23));
    }
  }
}

TEST(TlsRecords, TakesOneRecordAtATimeFromTheInput) {
  TlsRecords ours = make_ours();
  TlsRecords theirs = make_theirs();
  Bytes all;
  for (unsigned i = 1; i <= 5; ++i) {
    const Bytes record = sealed(theirs, noise(100 * i, i));
    all.insert(all.end(), record.begin(), record.end());
  }
  all.resize(all.size() - 1);
  std::span<const std::byte> input = all;
  for (unsigned i = 1; i <= 4; ++i) EXPECT_EQ(open(ours, input).data, noise(100 * i, i));
  EXPECT_EQ(open(ours, input).opened, Opened::partial);
  EXPECT_EQ(input.size(), 500 + TlsRecords::overhead - 1);
}

TEST(TlsRecords, WaitsForTheLastByteOfARecord) {
  TlsRecords ours = make_ours();
  TlsRecords theirs = make_theirs();
  for (unsigned round = 0; round < 2; ++round) {
    const Bytes record = sealed(theirs, noise(40));
    for (std::size_t size = 0; size < record.size(); ++size) {
      std::span<const std::byte> input = std::span(record).first(size);
      EXPECT_FALSE(TlsRecords::holds_record(input));
      EXPECT_EQ(open(ours, input).opened, Opened::partial) << size << " bytes";
      EXPECT_EQ(input.size(), size) << "nothing is taken out";
    }
    EXPECT_TRUE(TlsRecords::holds_record(record));
    EXPECT_EQ(TlsRecords::record_size(record), record.size());
    EXPECT_EQ(open(ours, record).data, noise(40));
  }
}

TEST(TlsRecords, WaitsForRoom) {
  TlsRecords ours = make_ours();
  TlsRecords theirs = make_theirs();
  const Bytes record = sealed(theirs, noise(100));
  std::span<const std::byte> input = record;
  for (const std::size_t room : {0U, 1U, 99U, 100U}) {  // the type needs some too
    const Got got = open(ours, input, room);
    EXPECT_EQ(got.opened, Opened::full) << room << " bytes of room";
    EXPECT_TRUE(got.data.empty());
    EXPECT_EQ(input.size(), record.size());
  }
  EXPECT_EQ(open(ours, input).data, noise(100));
}

TEST(TlsRecords, StripsPadding) {
  TlsRecords ours = make_ours();
  Forger forger;
  for (const std::size_t padding : {0U, 1U, 255U, 16383U}) {
    EXPECT_EQ(open(ours, forger.seal(noise(1), 23, padding)).data, noise(1)) << padding;
  }
  // Data that ends in zeros keeps them.
  const Bytes zeros(100);
  EXPECT_EQ(open(ours, forger.seal(zeros, 23, 50)).data, zeros);
  EXPECT_EQ(open(ours, forger.seal({}, 23, 50)).opened, Opened::nothing);
  EXPECT_EQ(open(ours, forger.seal(alert(1, 0), 21, 50)).opened, Opened::end);
}

TEST(TlsRecords, BreaksAtARecordOfZeros) {
  for (const std::size_t size : {1U, 2U, 1000U, 16385U}) {
    expect_broken(Forger().seal_inner(Bytes(size)), TlsAlert::unexpected_message);
  }
}

TEST(TlsRecords, FollowsAKeyUpdate) {
  for (const TlsSuite suite : suites) {
    TlsRecords ours = make_ours(suite);
    TlsRecords theirs = make_theirs(suite);
    for (unsigned generation = 0; generation < 3; ++generation) {
      EXPECT_EQ(open(ours, sealed(theirs, noise(50))).data, noise(50));
      EXPECT_EQ(open(ours, key_updated(theirs)).opened, Opened::nothing);
      EXPECT_FALSE(ours.key_is_wanted()) << "it was not asked for";
      EXPECT_EQ(open(ours, sealed(theirs, noise(60))).data, noise(60));
      EXPECT_EQ(open(theirs, sealed(ours, noise(70))).data, noise(70)) << "ours is as before";
    }
  }
}

TEST(TlsRecords, AnswersAKeyUpdateThatAsksForOne) {
  TlsRecords ours = make_ours();
  TlsRecords theirs = make_theirs();
  Forger forger;
  EXPECT_EQ(open(ours, forger.seal(bytes_of("18 00 00 01 01"), 22)).opened, Opened::nothing);
  EXPECT_TRUE(ours.key_is_wanted());
  EXPECT_EQ(open(theirs, key_updated(ours)).opened, Opened::nothing);
  EXPECT_FALSE(theirs.key_is_wanted()) << "or they would go on for ever";
  EXPECT_FALSE(ours.key_is_wanted());
  EXPECT_EQ(open(theirs, sealed(ours, noise(9))).data, noise(9));
  // Their side goes on under the key that it announced: from its first record, and only that.
  key_updated(theirs);
  EXPECT_EQ(open(ours, sealed(theirs, noise(8))).data, noise(8));
  const Got got = open(ours, forger.seal(noise(7), 23));
  EXPECT_EQ(got.opened, Opened::broken) << "the old key is void";
  EXPECT_EQ(ours.alert(), TlsAlert::bad_record_mac);
}

TEST(TlsRecords, WearsAKeyOutIn16MillionRecords) {
  constexpr std::uint64_t last = (1U << 24) - 1;
  TlsRecords ours = make_ours(aes_128, last);
  EXPECT_FALSE(ours.key_is_worn());
  Forger as_ours(aes_128, secret(aes_128, our_fill), last);
  EXPECT_EQ(sealed(ours, noise(5)), as_ours.seal(noise(5), 23));
  EXPECT_TRUE(ours.key_is_worn());
  EXPECT_EQ(key_updated(ours), as_ours.seal(bytes_of("18 00 00 01 00"), 22));
  EXPECT_FALSE(ours.key_is_worn());
  std::vector<unsigned char> next(32);
  ASSERT_TRUE(
      expand_label(TlsHash::sha256, secret(aes_128, our_fill).bytes(), "traffic upd", {}, next));
  EXPECT_EQ(sealed(ours, noise(5)), Forger(aes_128, TlsSecret(next), 0).seal(noise(5), 23));
}

TEST(TlsRecords, UnderstandsAlerts) {
  for (const int level : {1, 2}) {  // the level says nothing: RFC 8446, 6
    TlsRecords ours = make_ours();
    Forger forger;
    EXPECT_EQ(open(ours, forger.seal(alert(level, 90), 21)).opened, Opened::nothing)
        << "user_canceled: close_notify is still to come";
    EXPECT_EQ(open(ours, forger.seal(alert(level, 0), 21)).opened, Opened::end);
    for (const int description : {10, 20, 40, 80, 112, 255}) {
      expect_broken(Forger().seal(alert(level, description), 21), std::nullopt);
    }
  }
  expect_broken(Forger().seal({}, 21), TlsAlert::decode_error);
  expect_broken(Forger().seal({std::byte{2}}, 21), TlsAlert::decode_error);
  expect_broken(Forger().seal(bytes_of("01 00 01 00"), 21), TlsAlert::decode_error);
}

TEST(TlsRecords, BreaksAtAWrongTag) {
  TlsRecords theirs = make_theirs();
  Bytes record = sealed(theirs, noise(10));
  record.back() ^= std::byte{1};
  expect_broken(record, TlsAlert::bad_record_mac);
}

TEST(TlsRecords, OpensARecordInItsTurnAndOnce) {
  TlsRecords theirs = make_theirs();
  const Bytes first = sealed(theirs, noise(10));
  const Bytes second = sealed(theirs, noise(10));
  expect_broken(second, TlsAlert::bad_record_mac);
  TlsRecords ours = make_ours();
  EXPECT_EQ(open(ours, first).opened, Opened::data);
  EXPECT_EQ(open(ours, first).opened, Opened::broken);
}

TEST(TlsRecords, BreaksAtAnotherType) {
  for (const int outer : {0x14, 0x15, 0x16, 0x18, 0x00, 0xff}) {
    expect_broken(Forger().seal(noise(10), 23, 0, outer), TlsAlert::unexpected_message);
  }
  // In the clear, as before the handshake's end.
  expect_broken(bytes_of("14 03 03 00 01 01"), TlsAlert::unexpected_message);
  expect_broken(bytes_of("15 03 03 00 02 01 00"), TlsAlert::unexpected_message);
  for (const int inner : {1, 20, 24, 255}) {
    expect_broken(Forger().seal(noise(10), inner), TlsAlert::unexpected_message);
  }
}

TEST(TlsRecords, BreaksAtALengthThatCannotBe) {
  // The header is enough to see it.
  expect_broken(bytes_of("17 03 03 40 12"), TlsAlert::record_overflow);
  expect_broken(bytes_of("17 03 03 ff ff"), TlsAlert::record_overflow);
  expect_broken(bytes_of("17 03 03 00 00"), TlsAlert::decode_error);
  expect_broken(bytes_of("17 03 03 00 10"), TlsAlert::decode_error);
  TlsRecords ours = make_ours();
  EXPECT_EQ(open(ours, bytes_of("17 03 03 40 11")).opened, Opened::partial);
  EXPECT_EQ(open(ours, bytes_of("17 03 03 00 11")).opened, Opened::partial);
  // Padding is no excuse: RFC 8446, 5.4.
  expect_broken(Forger().seal(noise(16384), 23, 1), TlsAlert::record_overflow);
  expect_broken(Forger().seal(noise(16385), 23), TlsAlert::record_overflow);
}

TEST(TlsRecords, BreaksAtAMalformedKeyUpdate) {
  expect_broken(Forger().seal(bytes_of("18 00 00 01 02"), 22), TlsAlert::illegal_parameter);
  expect_broken(Forger().seal(bytes_of("18 00 00 01 ff"), 22), TlsAlert::illegal_parameter);
  for (const char* const message : {
           "18 00 00 01 00 18 00 00 01 00",  // two
           "18 00 00 01",                    // the beginning of one
           "18",                             //
           "",                               //
           "18 00 00 00",                    // without its request
           "18 00 00 02 00 00",              // longer
           "18 00 01 01 00",                 // another length
           "04 00 00 01 00",                 // something else
           "01 00 00 01 00",                 //
       }) {
    SCOPED_TRACE(message);
    expect_broken(Forger().seal(bytes_of(message), 22), TlsAlert::unexpected_message);
  }
}

TEST(TlsRecords, BreaksAtTooManyRecordsWithoutData) {
  TlsRecords ours = make_ours();
  Forger forger;
  for (int round = 0; round < 2; ++round) {
    for (int i = 0; i < 32; ++i) {
      ASSERT_EQ(open(ours, forger.seal({}, 23)).opened, Opened::nothing) << i;
    }
    if (round == 1) break;
    EXPECT_EQ(open(ours, forger.seal(noise(1), 23)).opened, Opened::data) << "from here anew";
  }
  EXPECT_EQ(open(ours, forger.seal({}, 23)).opened, Opened::broken);
  EXPECT_EQ(ours.alert(), TlsAlert::unexpected_message);
}

TEST(TlsRecords, KeepsAPeerThatListensAndUpdatesItsKeyNowAndThen) {
  TlsRecords ours = make_ours();
  TlsRecords theirs = make_theirs();
  for (int i = 0; i < 100; ++i) {
    sealed(ours, noise(10));
    ASSERT_EQ(open(ours, key_updated(theirs)).opened, Opened::nothing) << i;
  }
}

TEST(TlsRecords, GivesNoDataOnceABitIsFlipped) {
  for (unsigned seed = 0; seed < 3000; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    std::mt19937 random(seed);
    const TlsSuite suite = suites[random() % suites.size()];
    TlsRecords theirs = make_theirs(suite);
    Bytes record = sealed(theirs, noise(random() % 200, seed));
    for (std::size_t flips = 1 + random() % 3; flips > 0; --flips) {
      // Each in a byte of its own, so that no two undo each other.
      const std::size_t place = (random() % (record.size() / 4)) * 4 + flips;
      record[place] ^= std::byte{1} << (random() % 8);
    }
    TlsRecords ours = make_ours(suite);
    const Got got = open(ours, record);
    ASSERT_TRUE(got.opened == Opened::broken || got.opened == Opened::partial)
        << static_cast<int>(got.opened);
    ASSERT_TRUE(got.data.empty());
  }
}

}  // namespace
}  // namespace weir::proxy
