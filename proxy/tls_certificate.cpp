#include "proxy/tls_certificate.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <ctime>
#include <utility>

#include "config/file.hpp"
#include "proxy/certificate_facts.hpp"
#include "proxy/file_content.hpp"

namespace weir::proxy {

std::optional<std::string> read_file(const std::string& path, const config::Place& place,
                                     std::vector<config::Problem>& problems) {
  auto text = config::read_regular_file(path, largest_tls_file);
  if (text && text->size() <= largest_tls_file) return std::move(*text);
  problems.push_back(tls_problem(
      place, "cannot read `" + path + "`: " + (text ? "it is larger than 64 MiB" : text.error())));
  return std::nullopt;
}

BioPointer memory(const std::string& text) {
  return {BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), &BIO_free};
}

namespace {

// A key with a passphrase is refused rather than asked for: a server has no terminal.
int no_passphrase(char*, int, int, void*) {
  return -1;
}

std::string lower(std::string text) {
  std::ranges::transform(text, text.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return text;
}

std::string text_of(const ASN1_STRING* string) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
          static_cast<std::size_t>(ASN1_STRING_length(string))};
}

std::string common_name(X509* certificate) {
  X509_NAME* subject = X509_get_subject_name(certificate);
  const int index = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
  if (index < 0) return {};
  return text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, index)));
}

std::vector<std::string> server_names(X509* certificate) {
  std::vector<std::string> names;
  const std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> alternatives(
      static_cast<GENERAL_NAMES*>(
          X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)),
      &GENERAL_NAMES_free);
  for (int i = 0; alternatives && i < sk_GENERAL_NAME_num(alternatives.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(alternatives.get(), i);
    if (name->type == GEN_DNS) names.push_back(lower(text_of(name->d.dNSName)));
  }
  if (names.empty()) names.push_back(lower(common_name(certificate)));
  return names;
}

std::vector<CertificatePointer> read_chain(const std::string& text) {
  std::vector<CertificatePointer> chain;
  const BioPointer bio = memory(text);
  while (X509* next = PEM_read_bio_X509(bio.get(), nullptr, &no_passphrase, nullptr)) {
    chain.emplace_back(next, &X509_free);
  }
  return chain;
}

}  // namespace

std::chrono::system_clock::time_point time_of(const ASN1_TIME* time) {
  std::tm when{};
  ASN1_TIME_to_tm(time, &when);
  // Certificates without an end say 9999, and a clock that counts nanoseconds ends in 2262. A
  // peer's may have ended in the year 0: with 1970 the distance to now is still one that can be
  // counted.
  using Clock = std::chrono::system_clock;
  constexpr auto last = std::chrono::floor<std::chrono::seconds>(Clock::duration::max()).count();
  return Clock::from_time_t(std::clamp<std::time_t>(::timegm(&when), 0, last));
}

std::string utc(std::chrono::system_clock::time_point time) {
  return fmt::format("{:%Y-%m-%d %H:%M} UTC",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(time)));
}

config::Problem tls_problem(const config::Place& place, std::string message, std::string hint) {
  config::Problem problem;
  problem.severity = config::Problem::Severity::error;
  problem.place = place;
  problem.message = std::move(message);
  problem.hint = std::move(hint);
  return problem;
}

std::string last_openssl_error() {
  const unsigned long error = ERR_peek_last_error();
  ERR_clear_error();
  const char* reason = error == 0 ? nullptr : ERR_reason_error_string(error);
  return reason == nullptr ? "unknown error" : reason;
}

void prepare(X509* certificate) {
  X509_check_purpose(certificate, -1, 0);
}

std::optional<KeyedCertificate> load_certificate(const config::Certificate& files,
                                                 std::vector<config::Problem>& problems) {
  const auto cert =
      files.cert_pem ? files.cert_pem : read_file(files.cert, files.cert_place, problems);
  const auto key = files.key_pem ? files.key_pem : read_file(files.key, files.key_place, problems);
  if (!cert || !key) return std::nullopt;
  KeyedCertificate loaded;
  loaded.chain = read_chain(*cert);
  ERR_clear_error();
  if (loaded.chain.empty()) {
    problems.push_back(
        tls_problem(files.cert_place, "`" + files.cert + "` holds no certificate",
                    "it must be a PEM file: -----BEGIN CERTIFICATE-----, leaf first"));
  }
  loaded.key.reset(PEM_read_bio_PrivateKey(memory(*key).get(), nullptr, &no_passphrase, nullptr));
  if (!loaded.key) {
    problems.push_back(tls_problem(
        files.key_place, "`" + files.key + "` holds no usable private key: " + last_openssl_error(),
        "it must be an unencrypted PEM private key"));
  }
  if (loaded.chain.empty() || !loaded.key) return std::nullopt;
  for (const CertificatePointer& certificate : loaded.chain) prepare(certificate.get());
  X509* leaf = loaded.chain.front().get();
  if (X509_check_private_key(leaf, loaded.key.get()) != 1) {
    ERR_clear_error();
    problems.push_back(tls_problem(
        files.key_place,
        "the key `" + files.key + "` does not match the certificate `" + files.cert + "`",
        "give the key that the certificate was made with; in a chain the leaf comes first"));
    return std::nullopt;
  }
  loaded.is_ecdsa = EVP_PKEY_is_a(loaded.key.get(), "EC") == 1;
  loaded.server_names = server_names(leaf);
  loaded.display_name = loaded.server_names.front();
  loaded.not_after = time_of(X509_get0_notAfter(leaf));
  return loaded;
}

void warn_of_expiry(const KeyedCertificate& certificate, const config::Certificate& files,
                    std::chrono::system_clock::time_point now,
                    std::vector<config::Problem>& problems) {
  // The demo's is made for the hour.
  if (files.cert_pem || !ends_soon(certificate.not_after, now)) return;
  const std::string what = expiry_in_words(certificate.not_after, now);
  problems.push_back(tls_problem(files.cert_place, "the certificate `" + files.cert + "` " + what));
  problems.back().severity = config::Problem::Severity::warning;
}

bool use_certificate(SSL_CTX* context, const KeyedCertificate& certificate,
                     const config::Certificate& files, std::vector<config::Problem>& problems) {
  bool good = SSL_CTX_use_certificate(context, certificate.chain.front().get()) == 1;
  for (std::size_t i = 1; good && i < certificate.chain.size(); ++i) {
    good = SSL_CTX_add1_chain_cert(context, certificate.chain[i].get()) == 1;
  }
  good = good && SSL_CTX_use_PrivateKey(context, certificate.key.get()) == 1;
  if (!good) {
    problems.push_back(tls_problem(
        files.cert_place, "OpenSSL refuses `" + files.cert + "`: " + last_openssl_error()));
  }
  return good;
}

}  // namespace weir::proxy
