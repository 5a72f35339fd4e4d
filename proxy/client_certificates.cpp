#include "proxy/client_certificates.hpp"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/pem.h>
#include <openssl/sha.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <charconv>

#include "proxy/client_identity.hpp"
#include "proxy/tls_certificate.hpp"

namespace weir::proxy {
namespace {

using ListPointer = std::unique_ptr<X509_CRL, decltype(&X509_CRL_free)>;

// The names of the authorities help a client to choose among its certificates. Too many are worse
// than none: OpenSSL sends no message of more than 64 KiB, and clients read no long ones.
constexpr std::size_t most_bytes_of_names = std::size_t{16} * 1024;

// Of what a client shows.
constexpr int most_intermediates = 5;
constexpr long most_bytes_of_chain = 32L * 1024;

std::string name_of(const X509* certificate) {
  return identity_of(certificate).subject;
}

std::string name_of(const X509_NAME* name) {
  const std::unique_ptr<char, void (*)(char*)> text(X509_NAME_oneline(name, nullptr, 0),
                                                    [](char* each) { OPENSSL_free(each); });
  return text ? text.get() : "";
}

void warn(const config::Place& place, std::string message, std::string hint,
          std::vector<config::Problem>& problems) {
  problems.push_back(tls_problem(place, std::move(message), std::move(hint)));
  problems.back().severity = config::Problem::Severity::warning;
}

// Calls `take` with each object of a PEM file: the number of them, or nothing when one is broken.
template <class Object, class Take>
std::optional<int> read_each(const std::string& text,
                             Object* (*read)(BIO*, Object**, pem_password_cb*, void*), Take take) {
  const BioPointer bio = memory(text);
  int count = 0;
  ERR_clear_error();
  while (Object* next = read(bio.get(), nullptr, nullptr, nullptr)) {
    take(next);
    ++count;
  }
  const bool is_end = ERR_GET_REASON(ERR_peek_last_error()) == PEM_R_NO_START_LINE;
  return is_end ? std::optional(count) : std::nullopt;
}

template <class Object>
void append_der(std::string& to, const Object* object,
                int (*encode)(const Object*, unsigned char**)) {
  unsigned char* der = nullptr;
  const int size = encode(object, &der);
  if (size > 0) to.append(reinterpret_cast<const char*>(der), static_cast<std::size_t>(size));
  OPENSSL_free(der);
}

}  // namespace

std::unique_ptr<ClientCertificates> ClientCertificates::make(
    const config::ClientCertificate& settings, std::vector<config::Problem>& problems) {
  std::unique_ptr<ClientCertificates> made(new ClientCertificates(settings));
  bool good = made->read_authorities(problems);
  if (!settings.crl.empty()) good = made->read_revocations(problems) && good;
  if (!good) return nullptr;
  made->warn_of_revocations(problems);
  // Whom the operator trusts is trusted, be it a root or not.
  unsigned long flags = X509_V_FLAG_PARTIAL_CHAIN;
  if (!settings.crl.empty()) flags |= X509_V_FLAG_CRL_CHECK | X509_V_FLAG_CRL_CHECK_ALL;
  X509_STORE_set_flags(made->store_.get(), flags);
  return made;
}

bool ClientCertificates::read_authorities(std::vector<config::Problem>& problems) {
  const std::string& path = settings_.ca;
  const auto text = read_file(path, settings_.ca_place, problems);
  if (!text) return false;
  const auto take = [&](X509* each) { authorities_.emplace_back(each, &X509_free); };
  const auto count = read_each<X509>(*text, &PEM_read_bio_X509, take);
  if (!count || *count == 0) {
    problems.push_back(
        tls_problem(settings_.ca_place,
                    !count ? fmt::format("certificate {} of `{}` is broken: {}",
                                         authorities_.size() + 1, path, last_openssl_error())
                           : fmt::format("`{}` holds no certificate of an authority", path),
                    "it must be a PEM file: -----BEGIN CERTIFICATE-----"));
    return false;
  }
  ERR_clear_error();
  const auto now = std::chrono::system_clock::now();
  for (const auto& each : authorities_) {
    prepare(each.get());
    X509_STORE_add_cert(store_.get(), each.get());
    append_der<X509>(content_, each.get(), &i2d_X509);
    const TimePoint end = time_of(X509_get0_notAfter(each.get()));
    if (X509_check_ca(each.get()) == 0) {
      warn(settings_.ca_place,
           fmt::format("{} in `{}` is no authority: it stands for itself alone",
                       name_of(each.get()), path),
           "", problems);
    } else if (end < now) {
      warn(settings_.ca_place,
           fmt::format("the authority {} has expired at {}: whom it signed is refused",
                       name_of(each.get()), utc(end)),
           "", problems);
    }
  }
  return true;
}

bool ClientCertificates::read_revocations(std::vector<config::Problem>& problems) {
  const std::string& path = settings_.crl;
  const auto text = read_file(path, settings_.crl_place, problems);
  if (!text) return false;
  std::vector<ListPointer> lists;
  const auto take = [&](X509_CRL* each) { lists.emplace_back(each, &X509_CRL_free); };
  const auto count = read_each<X509_CRL>(*text, &PEM_read_bio_X509_CRL, take);
  if (!count || *count == 0) {
    problems.push_back(tls_problem(
        settings_.crl_place,
        !count ? fmt::format("list {} of `{}` is broken: {}", lists.size() + 1, path,
                             last_openssl_error())
               : fmt::format("`{}` holds no list of revoked certificates", path),
        "it must be a PEM file: -----BEGIN X509 CRL-----; `openssl crl -inform DER` makes one"));
    return false;
  }
  ERR_clear_error();
  bool good = true;
  for (const ListPointer& each : lists) good = add(each.get(), problems) && good;
  return good;
}

bool ClientCertificates::add(X509_CRL* list, std::vector<config::Problem>& problems) {
  const X509_NAME* issuer = X509_CRL_get_issuer(list);
  bool has_issuer = false;
  bool is_signed = false;
  for (const auto& each : authorities_) {
    if (X509_NAME_cmp(X509_get_subject_name(each.get()), issuer) != 0) continue;
    has_issuer = true;
    is_signed = is_signed || X509_CRL_verify(list, X509_get0_pubkey(each.get())) == 1;
  }
  ERR_clear_error();
  if (has_issuer && !is_signed) {
    problems.push_back(tls_problem(
        settings_.crl_place, fmt::format("the list of {} in `{}` is not signed by the key of that "
                                         "authority in `{}`",
                                         name_of(issuer), settings_.crl, settings_.ca)));
    return false;
  }
  X509_STORE_add_crl(store_.get(), list);
  append_der<X509_CRL>(content_, list, &i2d_X509_CRL);
  // OpenSSL sorts a list at its first use, behind a lock: now, before threads share it.
  X509_REVOKED* revoked = nullptr;
  X509_CRL_get0_by_cert(list, &revoked, authorities_.front().get());
  const ASN1_TIME* end = X509_CRL_get0_nextUpdate(list);
  const TimePoint until = end == nullptr ? TimePoint::max() : time_of(end);
  const auto known = std::ranges::find_if(revocations_, [&](const Revocations& each) {
    return X509_NAME_cmp(each.issuer, issuer) == 0;
  });
  if (known == revocations_.end()) {
    revocations_.push_back({issuer, until});
  } else {
    known->until = std::max(known->until, until);
  }
  return true;
}

void ClientCertificates::warn_of_revocations(std::vector<config::Problem>& problems) const {
  if (settings_.crl.empty()) return;
  const auto now = std::chrono::system_clock::now();
  for (const Revocations& each : revocations_) {
    if (each.until >= now) continue;
    warn(settings_.crl_place,
         fmt::format("the list of revoked certificates of {} has expired at {}: whom that "
                     "authority signed is refused",
                     name_of(each.issuer), utc(each.until)),
         "fetch the authority's next list", problems);
  }
  for (const auto& each : authorities_) {
    const bool has_list = std::ranges::any_of(revocations_, [&](const Revocations& list) {
      return X509_NAME_cmp(list.issuer, X509_get_subject_name(each.get())) == 0;
    });
    if (has_list || X509_check_ca(each.get()) == 0) continue;
    warn(settings_.crl_place,
         fmt::format("`{}` has no list of {}: whom that authority signed is refused", settings_.crl,
                     name_of(each.get())),
         "an authority without revoked certificates signs an empty list", problems);
  }
}

bool ClientCertificates::serve(SSL_CTX* context, const std::string& name) const {
  const bool required = settings_.verify == config::ClientVerify::required;
  SSL_CTX_set_verify(context, SSL_VERIFY_PEER | (required ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0),
                     &ClientCertificates::verified);
  // Before the first signature of a chain is verified, a list is for each certificate in it.
  SSL_CTX_set_verify_depth(context, most_intermediates);
  SSL_CTX_set_max_cert_list(context, most_bytes_of_chain);
  // Not the context's own store: from that one OpenSSL would complete the chain that we show.
  if (SSL_CTX_set1_verify_cert_store(context, store_.get()) != 1) return false;
  std::size_t bytes = 0;
  for (const auto& each : authorities_) {
    bytes += static_cast<std::size_t>(i2d_X509_NAME(X509_get_subject_name(each.get()), nullptr));
  }
  for (const auto& each : authorities_) {
    if (bytes <= most_bytes_of_names) SSL_CTX_add_client_CA(context, each.get());
  }
  const std::string bound = name + '\0' + (required ? 'r' : 'o') + content_;
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest{};
  SHA256(reinterpret_cast<const unsigned char*>(bound.data()), bound.size(), digest.data());
  static_assert(SHA256_DIGEST_LENGTH <= SSL_MAX_SID_CTX_LENGTH);
  return SSL_CTX_set_session_id_context(context, digest.data(), digest.size()) == 1 &&
         SSL_CTX_set_session_ticket_cb(context, &ClientCertificates::write_ticket,
                                       &ClientCertificates::read_ticket,
                                       const_cast<ClientCertificates*>(this)) == 1;
}

// The trust in an authority of the file is the operator's: nobody's list takes it away. (OpenSSL
// asks for a list of everybody in the chain, and has none to ask for the end of it.)
int ClientCertificates::verified(int good, X509_STORE_CTX* verification) {
  if (good == 1) return 1;
  switch (X509_STORE_CTX_get_error(verification)) {
    case X509_V_ERR_UNABLE_TO_GET_CRL:
    case X509_V_ERR_UNABLE_TO_GET_CRL_ISSUER:
    case X509_V_ERR_KEYUSAGE_NO_CRL_SIGN:
    case X509_V_ERR_CRL_SIGNATURE_FAILURE:
    case X509_V_ERR_CRL_NOT_YET_VALID:
    case X509_V_ERR_CRL_HAS_EXPIRED:
    case X509_V_ERR_DIFFERENT_CRL_SCOPE:
      break;
    default:
      return 0;
  }
  const int depth = X509_STORE_CTX_get_error_depth(verification);
  const int last = sk_X509_num(X509_STORE_CTX_get0_chain(verification)) - 1;
  if (depth != last || depth == 0) return 0;
  X509_STORE_CTX_set_error(verification, X509_V_OK);
  return 1;
}

ClientCertificates::TimePoint ClientCertificates::good_until(const SSL* ssl) const {
  TimePoint until = TimePoint::max();
  const STACK_OF(X509)* chain = SSL_get0_verified_chain(ssl);
  for (int i = 0; i < sk_X509_num(chain); ++i) {
    const X509* each = sk_X509_value(chain, i);
    until = std::min(until, time_of(X509_get0_notAfter(each)));
    if (i + 1 == sk_X509_num(chain)) break;
    for (const Revocations& list : revocations_) {
      if (X509_NAME_cmp(list.issuer, X509_get_issuer_name(each)) == 0) {
        until = std::min(until, list.until);
      }
    }
  }
  return until;
}

// The time goes with the ticket, as text. What is resumed keeps that of its full handshake.
int ClientCertificates::write_ticket(SSL* ssl, void* self) {
  if (SSL_session_reused(ssl) == 1) return 1;
  const auto until = static_cast<ClientCertificates*>(self)->good_until(ssl).time_since_epoch();
  const std::string text =
      std::to_string(std::chrono::duration_cast<std::chrono::seconds>(until).count());
  return SSL_SESSION_set1_ticket_appdata(SSL_get_session(ssl), text.data(), text.size());
}

SSL_TICKET_RETURN ClientCertificates::read_ticket(SSL*, SSL_SESSION* session, const unsigned char*,
                                                  std::size_t, SSL_TICKET_STATUS status, void*) {
  if (status != SSL_TICKET_SUCCESS && status != SSL_TICKET_SUCCESS_RENEW) {
    return SSL_TICKET_RETURN_IGNORE_RENEW;
  }
  void* text = nullptr;
  std::size_t size = 0;
  std::int64_t until = 0;
  SSL_SESSION_get0_ticket_appdata(session, &text, &size);
  if (size > 0) std::from_chars(static_cast<char*>(text), static_cast<char*>(text) + size, until);
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  if (std::chrono::seconds(until) <= now) return SSL_TICKET_RETURN_IGNORE_RENEW;
  return status == SSL_TICKET_SUCCESS ? SSL_TICKET_RETURN_USE : SSL_TICKET_RETURN_USE_RENEW;
}

std::string ClientCertificates::judge(const SSL* ssl, TlsFacts& facts) const {
  const std::unique_ptr<X509, decltype(&X509_free)> shown(SSL_get1_peer_certificate(ssl),
                                                          &X509_free);
  if (!shown) {
    return settings_.verify == config::ClientVerify::required ? "the client has no certificate"
                                                              : "";
  }
  if (const long result = SSL_get_verify_result(ssl); result != X509_V_OK) {
    return X509_verify_cert_error_string(result);
  }
  const ClientIdentity identity = identity_of(shown.get());
  facts.client_identity = identity.text();
  facts.client_common_name = identity.common_name;
  const bool is_allowed =
      settings_.allow.empty() ||
      std::ranges::any_of(settings_.allow, [&](const config::IdentityPattern& pattern) {
        return matches(pattern, identity);
      });
  return is_allowed
             ? ""
             : fmt::format("the certificate of {} is good, but no pattern of `allow` names it",
                           facts.client_identity);
}

}  // namespace weir::proxy
