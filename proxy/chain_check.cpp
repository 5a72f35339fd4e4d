#include "proxy/chain_check.hpp"

#include <fmt/format.h>
#include <openssl/err.h>
#include <openssl/x509_vfy.h>
#include <openssl/x509v3.h>

#include <vector>

#include "proxy/tls_certificate.hpp"

namespace weir::proxy {
namespace {

bool is_self_issued(X509* certificate) {
  return X509_check_issued(certificate, certificate) == X509_V_OK;
}

bool has_issuer(X509_STORE* authorities, X509* certificate) {
  const std::unique_ptr<X509_STORE_CTX, decltype(&X509_STORE_CTX_free)> context(
      X509_STORE_CTX_new(), &X509_STORE_CTX_free);
  if (!context || X509_STORE_CTX_init(context.get(), authorities, certificate, nullptr) != 1) {
    return false;
  }
  X509* issuer = nullptr;
  const bool found = X509_STORE_CTX_get1_issuer(&issuer, context.get(), certificate) == 1;
  X509_free(issuer);
  return found;
}

}  // namespace

ChainCheck::ChainCheck() : authorities_(X509_STORE_new(), &X509_STORE_free) {
  X509_STORE_set_default_paths(authorities_.get());
  ERR_clear_error();
}

ChainCheck::~ChainCheck() = default;

std::optional<ChainCheck::Look> ChainCheck::look_at(const config::Certificate& files) const {
  std::vector<config::Problem> problems;
  const auto loaded = load_certificate(files, problems);
  if (!loaded) return std::nullopt;
  Look look{certificate_facts(loaded->chain.front().get()), {}};
  X509* const last = loaded->chain.back().get();
  if (!is_self_issued(last) && !has_issuer(authorities_.get(), last)) {
    look.note = fmt::format("the chain ends at what {} has issued, which this system does not know",
                            certificate_facts(last).issuer);
  }
  ERR_clear_error();
  return look;
}

}  // namespace weir::proxy
