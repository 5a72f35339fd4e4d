#include "proxy/demo.hpp"

#include <fmt/format.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/rand.h>
#include <openssl/x509v3.h>

#include <memory>
#include <stdexcept>

namespace weir::proxy {
namespace {

namespace http = boost::beast::http;

constexpr long lifetime_seconds = 30L * 24 * 3600;

using Key = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;

void must(bool good) {
  if (!good) throw std::runtime_error("OpenSSL cannot make the demo's certificate");
}

void add_extension(X509* certificate, int kind, const char* value) {
  const std::unique_ptr<X509_EXTENSION, decltype(&X509_EXTENSION_free)> extension(
      X509V3_EXT_conf_nid(nullptr, nullptr, kind, value), &X509_EXTENSION_free);
  must(extension && X509_add_ext(certificate, extension.get(), -1) == 1);
}

std::string contents(BIO* bio) {
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio, &data);
  return {data, static_cast<std::size_t>(size)};
}

HttpResponse hello(const std::string& name, const HttpRequest& request) {
  HttpResponse response{http::status::ok, 11};
  response.set(http::field::content_type, "text/plain; charset=utf-8");
  const auto target = request.target();
  response.body() =
      fmt::format("hello from {}\n{}\n", name, std::string_view(target.data(), target.size()));
  return response;
}

}  // namespace

DemoCertificate make_demo_certificate() {
  const Key key(EVP_EC_gen("P-256"), &EVP_PKEY_free);
  const Certificate certificate(X509_new(), &X509_free);
  must(key && certificate);
  std::uint64_t serial = 0;
  must(RAND_bytes(reinterpret_cast<unsigned char*>(&serial), sizeof serial) == 1);
  X509_set_version(certificate.get(), X509_VERSION_3);
  ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate.get()), serial >> 1);
  X509_gmtime_adj(X509_getm_notBefore(certificate.get()), -60);
  X509_gmtime_adj(X509_getm_notAfter(certificate.get()), lifetime_seconds);
  X509_set_pubkey(certificate.get(), key.get());
  X509_NAME* name = X509_get_subject_name(certificate.get());
  const auto* common_name = reinterpret_cast<const unsigned char*>("weir demo");
  X509_NAME_add_entry_by_txt(name, "CN", MBSTRING_UTF8, common_name, -1, -1, 0);
  X509_set_issuer_name(certificate.get(), name);
  add_extension(certificate.get(), NID_subject_alt_name,
                "DNS:localhost,DNS:*.localhost,IP:127.0.0.1,IP:::1");
  add_extension(certificate.get(), NID_basic_constraints, "critical,CA:TRUE");
  must(X509_sign(certificate.get(), key.get(), EVP_sha256()) != 0);
  const Bio cert_text(BIO_new(BIO_s_mem()), &BIO_free);
  const Bio key_text(BIO_new(BIO_s_mem()), &BIO_free);
  must(PEM_write_bio_X509(cert_text.get(), certificate.get()) == 1);
  must(PEM_write_bio_PrivateKey(key_text.get(), key.get(), nullptr, nullptr, 0, nullptr, nullptr) ==
       1);
  return {contents(cert_text.get()), contents(key_text.get())};
}

DemoEndpoint::DemoEndpoint(const std::string& name)
    : http_("demo endpoint", {config::Address::Kind::ipv4, "127.0.0.1", 0},
            [name](const HttpRequest& request) { return hello(name, request); }) {
  http_.start();
}

std::string demo_greeting(std::uint16_t tls_port, std::uint16_t plain_port,
                          std::uint16_t admin_port) {
  return fmt::format(
      "Weir is running: TLS on {0}, plain TCP on {1}, two endpoints behind both. Try\n\n"
      "  curl -k https://127.0.0.1:{0}/            one endpoint answers, then the other\n"
      "  curl http://127.0.0.1:{1}/\n"
      "  openssl s_client -connect 127.0.0.1:{0} -brief\n"
      "  curl -s 127.0.0.1:{2}/metrics             what a Prometheus would scrape\n"
      "  curl -s 127.0.0.1:{2}/connections         who is connected now\n"
      "  curl -s 127.0.0.1:{2}/status\n\n"
      "One line per connection follows here. Ctrl-C stops it.\n",
      tls_port, plain_port, admin_port);
}

}  // namespace weir::proxy
