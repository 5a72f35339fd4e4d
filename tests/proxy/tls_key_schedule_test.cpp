// The key schedules of TLS: against the values that RFCs print, and, as the provider serves them to
// OpenSSL, against OpenSSL's own over random inputs.

#include "proxy/tls_key_schedule.hpp"

#include <gtest/gtest.h>
#include <openssl/core_names.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/provider.h>

#include <array>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include "proxy/tls_provider.hpp"
#include "tests/support/hex.hpp"

namespace weir::proxy {
namespace {

using Bytes = std::vector<unsigned char>;

Bytes expanded(const Bytes& secret, std::string_view label, Octets context, std::size_t size) {
  Bytes out(size);
  EXPECT_TRUE(expand_label(TlsHash::sha256, secret, label, context, out));
  return out;
}

Bytes extracted(const Bytes& salt, const Bytes& input) {
  Bytes out(32);
  EXPECT_TRUE(extract(TlsHash::sha256, salt, input, out));
  return out;
}

// RFC 8448, section 3: "Simple 1-RTT Handshake".
TEST(TlsKeySchedule, ExpandsLabelsAsRfc8448Does) {
  const Bytes server = from_hex("a11af9f05531f856ad47116b45a950328204b4f44bfb6b3a4b4f1f3fcb631643");
  EXPECT_EQ(expanded(server, "key", {}, 16), from_hex("9f02283b6c9c07efc26bb9f2ac92e356"));
  EXPECT_EQ(expanded(server, "iv", {}, 12), from_hex("cf782b88dd83549aadf1e984"));
  const Bytes client = from_hex("9e40646ce79a7f9dc05af8889bce6552875afa0b06df0087f792ebb7c17504a5");
  EXPECT_EQ(expanded(client, "key", {}, 16), from_hex("17422dda596ed5d9acd890e3c63f5051"));
  EXPECT_EQ(expanded(client, "iv", {}, 12), from_hex("5b78923dee08579033e523d9"));
}

TEST(TlsKeySchedule, GoesDownToTheMasterSecretAsRfc8448Does) {
  const Bytes zeros(32);
  const Bytes early = extracted({}, zeros);
  EXPECT_EQ(early, from_hex("33ad0a1c607ec03b09e6cd9893680ce210adf300aa1f2660e1b22e10f170f92a"));
  const Bytes salt = expanded(early, "derived", empty_hash(TlsHash::sha256), 32);
  EXPECT_EQ(salt, from_hex("6f2615a108c702c5678f54fc9dbab69716c076189c48250cebeac3576c3611ba"));
  const Bytes handshake =
      extracted(salt, from_hex("8bd4054fb55b9d63fdfbacf9f04b9f0d35e6d63f537563efd46272900f89492d"));
  EXPECT_EQ(handshake,
            from_hex("1dc826e93606aa6fdc0aadc12f741b01046aa6b99f691ed221a9f0ca043fbeac"));
  const Bytes master =
      extracted(expanded(handshake, "derived", empty_hash(TlsHash::sha256), 32), zeros);
  EXPECT_EQ(master, from_hex("18df06843d13a08bf2a449844c5f8a478001bc4d4c627984d5a41da8d0402919"));
}

// RFC 5869, A.1 and A.3.
TEST(TlsKeySchedule, ExtractsAsRfc5869Does) {
  const Bytes input(22, 0x0b);
  EXPECT_EQ(extracted(from_hex("000102030405060708090a0b0c"), input),
            from_hex("077709362c2e32df0ddc3f0dc47bba6390b6c73bb50f9c3122ec844ad7c2b3e5"));
  EXPECT_EQ(extracted({}, input),
            from_hex("19ef24a32c717b167f33a91d6f648bdf96596776afdb6377ac434c1c293ccb04"));
}

// The vector that the TLS working group's list has for SHA-256.
TEST(TlsKeySchedule, KnowsThePrfOfTls12) {
  const Bytes secret = from_hex("9bbe436ba940f017b17652849a71db35");
  const Bytes label = from_hex("74657374206c6162656c");  // "test label"
  const Bytes seed = from_hex("a0ba9f936cda311827a6f796ffd5198c");
  Bytes out(100);
  ASSERT_TRUE(prf(TlsHash::sha256, secret, std::array<Octets, 2>{label, seed}, out));
  EXPECT_EQ(out, from_hex("e3f229ba727be17b8d122620557cd453c2aab21d07c3d495329b52d4e61edb5a"
                          "6b301791e90d35c9c9a46b4e14baf9af0fa022f7077def17abfd3797c0564bab"
                          "4fbc91666e9def9b97fce34f796789baa48082d122ee42c5a72e5a5110fff701"
                          "87347b66"));
}

TEST(TlsKeySchedule, CutsAnExpansionToItsLength) {
  // The length is part of what is hashed: a short one is no prefix of a long one.
  const Bytes secret(32, 7);
  const Bytes whole = expanded(secret, "key", {}, 32);
  EXPECT_NE(expanded(secret, "key", {}, 16), Bytes(whole.begin(), whole.begin() + 16));
  EXPECT_EQ(expanded(secret, "key", {}, 0), Bytes());
}

// The parameters of one derivation, and what they point to.
class Parameters {
 public:
  void number(const char* name, int value) {
    numbers_.push_back(value);
    list_.push_back(OSSL_PARAM_construct_int(name, &numbers_.back()));
  }
  void text(const char* name, const std::string& value) {
    texts_.push_back(value);
    list_.push_back(OSSL_PARAM_construct_utf8_string(name, texts_.back().data(), 0));
  }
  void octets(const char* name, const Bytes& value) {
    octets_.emplace_back().reserve(value.size() + 1);  // OpenSSL wants a pointer also to nothing
    octets_.back().assign(value.begin(), value.end());
    list_.push_back(
        OSSL_PARAM_construct_octet_string(name, octets_.back().data(), octets_.back().size()));
  }
  void octets(const char* name, std::string_view value) {
    octets(name, Bytes(value.begin(), value.end()));
  }

  // What this provider makes of them; nothing when it refuses.
  std::optional<Bytes> derive(const char* algorithm, const char* properties,
                              std::size_t size) const {
    const std::unique_ptr<EVP_KDF, decltype(&EVP_KDF_free)> kdf(
        EVP_KDF_fetch(nullptr, algorithm, properties), &EVP_KDF_free);
    if (!kdf) {
      ADD_FAILURE() << "no " << algorithm << " with " << properties;
      return std::nullopt;
    }
    const std::unique_ptr<EVP_KDF_CTX, decltype(&EVP_KDF_CTX_free)> context(
        EVP_KDF_CTX_new(kdf.get()), &EVP_KDF_CTX_free);
    std::vector<OSSL_PARAM> ended = list_;
    ended.push_back(OSSL_PARAM_construct_end());
    Bytes out(size);
    if (EVP_KDF_derive(context.get(), out.data(), size, ended.data()) != 1) return std::nullopt;
    return out;
  }

  void expect_same(const char* algorithm, std::size_t size) const {
    const std::optional<Bytes> theirs = derive(algorithm, "provider=default", size);
    ASSERT_TRUE(theirs.has_value()) << "the test asks for what nobody has";
    EXPECT_EQ(derive(algorithm, "provider=weir", size), theirs) << size << " bytes";
  }

 private:
  std::vector<OSSL_PARAM> list_;
  std::deque<int> numbers_;
  std::deque<std::string> texts_;
  std::deque<Bytes> octets_;
};

constexpr const char* tls13_kdf = "TLS13-KDF";
constexpr const char* tls1_prf = "TLS1-PRF";

constexpr std::array hash_names{"SHA2-256", "SHA256", "sha256", "SHA2-384", "SHA384", "sha384"};
std::size_t hash_size(std::string_view name) {
  return name.ends_with("256") ? 32 : 48;
}

class Chance {
 public:
  explicit Chance(unsigned seed) : random_(seed) {}
  std::size_t between(std::size_t least, std::size_t most) {
    return std::uniform_int_distribution<std::size_t>(least, most)(random_);
  }
  bool maybe() { return between(0, 1) == 1; }
  Bytes bytes(std::size_t size) {
    Bytes made(size);
    for (unsigned char& byte : made) byte = static_cast<unsigned char>(between(0, 255));
    return made;
  }
  template <class List>
  auto one_of(const List& list) {
    return list[between(0, std::size(list) - 1)];
  }

 private:
  std::mt19937 random_;
};

TEST(TlsProvider, ExtractsSecretsAsOpensslDoes) {
  tls_properties();
  for (unsigned seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Chance chance(seed);
    const char* const hash = chance.one_of(hash_names);
    Parameters parameters;
    parameters.number(OSSL_KDF_PARAM_MODE, EVP_KDF_HKDF_MODE_EXTRACT_ONLY);
    parameters.text(OSSL_KDF_PARAM_DIGEST, hash);
    // Shared secrets have 32 to 133 bytes, and 64 when half of it is ML-KEM's.
    if (chance.maybe()) parameters.octets(OSSL_KDF_PARAM_KEY, chance.bytes(chance.between(1, 200)));
    if (chance.maybe()) parameters.octets(OSSL_KDF_PARAM_SALT, chance.bytes(hash_size(hash)));
    parameters.octets(OSSL_KDF_PARAM_PREFIX, "tls13 ");
    parameters.octets(OSSL_KDF_PARAM_LABEL, "derived");
    parameters.expect_same(tls13_kdf, hash_size(hash));
  }
}

TEST(TlsProvider, ExpandsLabelsAsOpensslDoes) {
  tls_properties();
  constexpr std::array labels{
      "derived",      "c e traffic", "c hs traffic", "s hs traffic", "c ap traffic",
      "s ap traffic", "traffic upd", "exp master",   "res master",   "resumption",
      "res binder",   "ext binder",  "finished",     "key",          "iv"};
  for (unsigned seed = 0; seed < 600; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Chance chance(seed);
    const char* const hash = chance.one_of(hash_names);
    Parameters parameters;
    parameters.number(OSSL_KDF_PARAM_MODE, EVP_KDF_HKDF_MODE_EXPAND_ONLY);
    parameters.text(OSSL_KDF_PARAM_DIGEST, hash);
    parameters.octets(OSSL_KDF_PARAM_KEY, chance.bytes(hash_size(hash)));
    parameters.octets(OSSL_KDF_PARAM_PREFIX, "tls13 ");
    parameters.octets(OSSL_KDF_PARAM_LABEL, chance.one_of(labels));
    // A transcript's hash, the nonce of a ticket, or nothing.
    const std::array data_sizes{hash_size(hash), std::size_t{8}, std::size_t{0}};
    const std::size_t data_size = chance.one_of(data_sizes);
    if (data_size > 0 || chance.maybe()) {
      parameters.octets(OSSL_KDF_PARAM_DATA, chance.bytes(data_size));
    }
    parameters.expect_same(tls13_kdf, chance.between(1, hash_size(hash)));
    for (const std::size_t size : {std::size_t{12}, std::size_t{16}, hash_size(hash)}) {
      parameters.expect_same(tls13_kdf, size);
    }
  }
}

TEST(TlsProvider, HasThePrfThatOpensslHas) {
  tls_properties();
  constexpr std::array labels{"master secret", "extended master secret", "key expansion",
                              "client finished", "server finished"};
  for (unsigned seed = 0; seed < 300; ++seed) {
    SCOPED_TRACE(testing::Message() << "seed " << seed);
    Chance chance(seed);
    Parameters parameters;
    parameters.text(OSSL_KDF_PARAM_DIGEST, chance.one_of(hash_names));
    // Of a secret that is longer than a block of the hash, the hash is the key.
    constexpr std::array<std::size_t, 6> secret_sizes{1, 48, 64, 65, 129, 200};
    parameters.octets(
        OSSL_KDF_PARAM_SECRET,
        chance.bytes(chance.maybe() ? chance.one_of(secret_sizes) : chance.between(1, 200)));
    parameters.octets(OSSL_KDF_PARAM_SEED, chance.one_of(labels));
    for (std::size_t more = chance.between(0, 4); more > 0; --more) {
      const std::size_t size = chance.maybe() ? chance.between(1, 100) : 0;
      parameters.octets(OSSL_KDF_PARAM_SEED, chance.bytes(size));
    }
    parameters.expect_same(tls1_prf, chance.between(1, 200));
  }
}

TEST(TlsProvider, HasThePrfInEveryLength) {
  tls_properties();
  for (const char* const hash : {"SHA2-256", "SHA2-384"}) {
    Parameters parameters;
    parameters.text(OSSL_KDF_PARAM_DIGEST, hash);
    parameters.octets(OSSL_KDF_PARAM_SECRET, Chance(1).bytes(48));
    parameters.octets(OSSL_KDF_PARAM_SEED, "key expansion");
    for (std::size_t size = 1; size <= 200; ++size) parameters.expect_same(tls1_prf, size);
  }
}

// What it does not know it refuses: a wrong key would be worse.
TEST(TlsProvider, RefusesWhatItDoesNotKnow) {
  tls_properties();
  for (const char* const hash : {"MD5-SHA1", "SHA1", "SHA2-512"}) {
    Parameters parameters;
    parameters.text(OSSL_KDF_PARAM_DIGEST, hash);
    parameters.octets(OSSL_KDF_PARAM_SECRET, Bytes(48, 1));
    parameters.octets(OSSL_KDF_PARAM_SEED, "master secret");
    EXPECT_EQ(parameters.derive(tls1_prf, "provider=weir", 48), std::nullopt) << hash;
  }
  Parameters parameters;
  parameters.number(OSSL_KDF_PARAM_MODE, EVP_KDF_HKDF_MODE_EXPAND_ONLY);
  parameters.text(OSSL_KDF_PARAM_DIGEST, "SHA2-256");
  parameters.octets(OSSL_KDF_PARAM_PREFIX, "tls13 ");
  parameters.octets(OSSL_KDF_PARAM_LABEL, "exporter");
  EXPECT_EQ(parameters.derive(tls13_kdf, "provider=weir", 32), std::nullopt) << "without a key";
  parameters.octets(OSSL_KDF_PARAM_KEY, Bytes(32, 1));
  EXPECT_NE(parameters.derive(tls13_kdf, "provider=weir", 32), std::nullopt);
  EXPECT_EQ(parameters.derive(tls13_kdf, "provider=weir", 33), std::nullopt) << "a second block";
}

TEST(TlsProvider, LeavesAllElseToOpenssl) {
  const std::unique_ptr<EVP_KDF, decltype(&EVP_KDF_free)> ours(
      EVP_KDF_fetch(nullptr, tls13_kdf, tls_properties()), &EVP_KDF_free);
  ASSERT_NE(ours, nullptr);
  EXPECT_STREQ(OSSL_PROVIDER_get0_name(EVP_KDF_get0_provider(ours.get())), "weir");
  const std::unique_ptr<EVP_KDF, decltype(&EVP_KDF_free)> hkdf(
      EVP_KDF_fetch(nullptr, "HKDF", tls_properties()), &EVP_KDF_free);
  ASSERT_NE(hkdf, nullptr);
  EXPECT_STREQ(OSSL_PROVIDER_get0_name(EVP_KDF_get0_provider(hkdf.get())), "default");
}

// One derivation by the provider, as a handshake makes it.
Bytes derived(const char* label, const char* hash = "SHA2-256") {
  Parameters parameters;
  parameters.number(OSSL_KDF_PARAM_MODE, EVP_KDF_HKDF_MODE_EXPAND_ONLY);
  parameters.text(OSSL_KDF_PARAM_DIGEST, hash);
  parameters.octets(OSSL_KDF_PARAM_KEY, Bytes(hash_size(hash), 3));
  parameters.octets(OSSL_KDF_PARAM_PREFIX, "tls13 ");
  parameters.octets(OSSL_KDF_PARAM_LABEL, label);
  parameters.octets(OSSL_KDF_PARAM_DATA, Bytes(hash_size(hash), 4));
  return parameters.derive(tls13_kdf, "provider=weir", hash_size(hash)).value_or(Bytes());
}

Bytes copy(const TlsSecret& secret) {
  return {secret.bytes().begin(), secret.bytes().end()};
}

TEST(TellSecrets, TellsThoseOfTheApplicationDataAlone) {
  tls_properties();
  TrafficSecrets secrets;
  const TellSecrets telling(&secrets);
  for (const char* const other : {"c hs traffic", "s hs traffic", "exp master", "traffic upd"}) {
    ASSERT_FALSE(derived(other).empty());
    EXPECT_TRUE(secrets.client.empty() && secrets.server.empty()) << other;
  }
  const Bytes server = derived("s ap traffic", "SHA2-384");
  EXPECT_EQ(copy(secrets.server), server);
  EXPECT_EQ(server.size(), 48U);
  EXPECT_TRUE(secrets.client.empty());
  EXPECT_EQ(secrets.hash, TlsHash::sha384);
  const Bytes client = derived("c ap traffic", "SHA2-384");
  EXPECT_EQ(copy(secrets.client), client);
  EXPECT_EQ(copy(secrets.server), server);
}

TEST(TellSecrets, StopsTellingWhenItGoes) {
  tls_properties();
  TrafficSecrets first;
  TrafficSecrets second;
  {
    const TellSecrets telling(&first);
  }
  ASSERT_FALSE(derived("s ap traffic").empty());
  EXPECT_TRUE(first.server.empty());
  {
    const TellSecrets telling(&second);
    derived("c ap traffic");
  }
  derived("s ap traffic");
  EXPECT_FALSE(second.client.empty());
  EXPECT_TRUE(second.server.empty());
  EXPECT_TRUE(first.client.empty());
  const TellSecrets nobody(nullptr);
  EXPECT_FALSE(derived("s ap traffic").empty());
}

TEST(TellSecrets, TellsNothingOfAnotherThread) {
  tls_properties();
  TrafficSecrets secrets;
  const TellSecrets telling(&secrets);
  std::thread([] { EXPECT_FALSE(derived("s ap traffic").empty()); }).join();
  EXPECT_TRUE(secrets.server.empty());
}

}  // namespace
}  // namespace weir::proxy
