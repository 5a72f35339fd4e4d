#include "proxy/tls_provider.hpp"

#include <openssl/core_dispatch.h>
#include <openssl/core_names.h>
#include <openssl/crypto.h>
#include <openssl/kdf.h>
#include <openssl/params.h>
#include <openssl/provider.h>
#include <strings.h>

#include <memory>
#include <optional>
#include <string_view>

namespace weir::proxy {
namespace {

thread_local constinit TrafficSecrets* told = nullptr;

// What libssl asks of TLS13-KDF, as it stands in the parameters of one derivation.
struct Request {
  int mode = -1;
  std::optional<TlsHash> hash;
  std::optional<Octets> key;
  std::optional<Octets> salt;
  std::string_view label;
  Octets context;
};

Octets octets(const OSSL_PARAM& parameter) {
  return {static_cast<const unsigned char*>(parameter.data), parameter.data_size};
}

std::optional<TlsHash> hash_named(const OSSL_PARAM& parameter) {
  const auto* name = static_cast<const char*>(parameter.data);
  for (const char* sha256 : {"SHA2-256", "SHA256"}) {
    if (::strcasecmp(name, sha256) == 0) return TlsHash::sha256;
  }
  for (const char* sha384 : {"SHA2-384", "SHA384"}) {
    if (::strcasecmp(name, sha384) == 0) return TlsHash::sha384;
  }
  return std::nullopt;
}

Request read(const OSSL_PARAM* parameters) {
  Request request;
  for (; parameters->key != nullptr; ++parameters) {
    const std::string_view name = parameters->key;
    if (name == OSSL_KDF_PARAM_MODE) {
      if (OSSL_PARAM_get_int(parameters, &request.mode) != 1) request.mode = -1;
    } else if (name == OSSL_KDF_PARAM_DIGEST) {
      request.hash = hash_named(*parameters);
    } else if (name == OSSL_KDF_PARAM_KEY) {
      request.key = octets(*parameters);
    } else if (name == OSSL_KDF_PARAM_SALT) {
      request.salt = octets(*parameters);
    } else if (name == OSSL_KDF_PARAM_LABEL) {
      const Octets label = octets(*parameters);
      request.label = {reinterpret_cast<const char*>(label.data()), label.size()};
    } else if (name == OSSL_KDF_PARAM_DATA) {
      request.context = octets(*parameters);
    }
  }
  return request;
}

// RFC 8446, 7.1, one step down the left side of the figure: the secret before (the salt, none at
// the top) becomes the salt of an HKDF-Extract of the new input, zeros where there is none.
bool next_secret(const Request& request, std::span<unsigned char> out) {
  static constexpr std::array<unsigned char, 48> zeros{};
  const TlsHash hash = *request.hash;
  const Octets input = request.key.value_or(Octets(zeros).first(size_of(hash)));
  if (!request.salt || request.salt->empty()) return extract(hash, {}, input, out);
  std::array<unsigned char, 48> derived;
  const auto salt = std::span(derived).first(size_of(hash));
  const bool good = expand_label(hash, *request.salt, request.label, empty_hash(hash), salt) &&
                    extract(hash, salt, input, out);
  OPENSSL_cleanse(derived.data(), derived.size());
  return good;
}

void tell(const Request& request, Octets secret) {
  if (told == nullptr) return;
  if (request.label == "c ap traffic") {
    told->client = TlsSecret(secret);
  } else if (request.label == "s ap traffic") {
    told->server = TlsSecret(secret);
  } else {
    return;
  }
  told->hash = *request.hash;
}

int derive(void*, unsigned char* key, std::size_t size, const OSSL_PARAM* parameters) {
  const Request request = read(parameters);
  if (!request.hash || size > size_of(*request.hash)) return 0;
  const std::span out(key, size);
  switch (request.mode) {
    case EVP_KDF_HKDF_MODE_EXTRACT_ONLY:
      return size == size_of(*request.hash) && next_secret(request, out) ? 1 : 0;
    case EVP_KDF_HKDF_MODE_EXPAND_ONLY:
      if (!request.key || request.key->size() > size_of(*request.hash)) return 0;
      if (request.label.size() > 249 || request.context.size() > 255) return 0;
      if (!expand_label(*request.hash, *request.key, request.label, request.context, out)) return 0;
      tell(request, out);
      return 1;
    default:
      return 0;
  }
}

// What libssl asks of TLS1-PRF: the label and the parts of the seed come as several seeds.
int derive_prf(void*, unsigned char* key, std::size_t size, const OSSL_PARAM* parameters) {
  std::optional<TlsHash> hash;
  std::optional<Octets> secret;
  std::array<Octets, 8> seeds;
  std::size_t seed_count = 0;
  for (; parameters->key != nullptr; ++parameters) {
    const std::string_view name = parameters->key;
    if (name == OSSL_KDF_PARAM_DIGEST) {
      hash = hash_named(*parameters);
    } else if (name == OSSL_KDF_PARAM_SECRET) {
      secret = octets(*parameters);
    } else if (name == OSSL_KDF_PARAM_SEED && parameters->data_size > 0) {
      if (seed_count == seeds.size()) return 0;
      seeds[seed_count++] = octets(*parameters);
    }
  }
  if (!hash || !secret) return 0;
  return prf(*hash, *secret, std::span(seeds).first(seed_count), {key, size}) ? 1 : 0;
}

// A derivation has all it needs in its parameters: there is no state between calls.
void* new_context(void* provider) {
  return provider;
}
void free_context(void*) {}

// OpenSSL's table of functions, each under its number. The casts are how providers are written:
// provider-base(7).
using Function = void (*)();
const OSSL_DISPATCH tls13_functions[] = {
    {OSSL_FUNC_KDF_NEWCTX, reinterpret_cast<Function>(&new_context)},
    {OSSL_FUNC_KDF_FREECTX, reinterpret_cast<Function>(&free_context)},
    {OSSL_FUNC_KDF_DERIVE, reinterpret_cast<Function>(&derive)},
    {0, nullptr}};
const OSSL_DISPATCH prf_functions[] = {
    {OSSL_FUNC_KDF_NEWCTX, reinterpret_cast<Function>(&new_context)},
    {OSSL_FUNC_KDF_FREECTX, reinterpret_cast<Function>(&free_context)},
    {OSSL_FUNC_KDF_DERIVE, reinterpret_cast<Function>(&derive_prf)},
    {0, nullptr}};

const OSSL_ALGORITHM kdfs[] = {
    {OSSL_KDF_NAME_TLS1_3_KDF, "provider=weir", tls13_functions, "the key schedule of TLS 1.3"},
    {OSSL_KDF_NAME_TLS1_PRF, "provider=weir", prf_functions, "the PRF of TLS 1.2"},
    {nullptr, nullptr, nullptr, nullptr}};

const OSSL_ALGORITHM* query(void*, int operation, int* no_cache) {
  *no_cache = 0;
  return operation == OSSL_OP_KDF ? kdfs : nullptr;
}

const OSSL_DISPATCH provider_functions[] = {
    {OSSL_FUNC_PROVIDER_QUERY_OPERATION, reinterpret_cast<Function>(&query)}, {0, nullptr}};

int start(const OSSL_CORE_HANDLE*, const OSSL_DISPATCH*, const OSSL_DISPATCH** functions,
          void** context) {
  static int something;  // a context that is null means failure
  *functions = provider_functions;
  *context = &something;
  return 1;
}

}  // namespace

const char* tls_properties() {
  // Beside the default provider, which stays what OpenSSL falls back to. Unloaded at exit, before
  // OpenSSL, which was started first, cleans up.
  using Provider = std::unique_ptr<OSSL_PROVIDER, decltype(&OSSL_PROVIDER_unload)>;
  [[maybe_unused]] static const Provider loaded(
      OSSL_PROVIDER_add_builtin(nullptr, "weir", &start) == 1
          ? OSSL_PROVIDER_try_load(nullptr, "weir", 1)
          : nullptr,
      &OSSL_PROVIDER_unload);
  return "?provider=weir";
}

TellSecrets::TellSecrets(TrafficSecrets* secrets) {
  told = secrets;
}

TellSecrets::~TellSecrets() {
  told = nullptr;
}

}  // namespace weir::proxy
