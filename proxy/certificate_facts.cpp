#include "proxy/certificate_facts.hpp"

#include <arpa/inet.h>
#include <fmt/chrono.h>
#include <fmt/format.h>
#include <openssl/bio.h>
#include <openssl/x509v3.h>

#include <algorithm>
#include <array>
#include <ctime>
#include <memory>
#include <span>

#include "proxy/tls_certificate.hpp"

namespace weir::proxy {
namespace {

using TimePoint = std::chrono::system_clock::time_point;

constexpr std::size_t most_names_shown = 5;

std::string text_of(const ASN1_STRING* string) {
  return {reinterpret_cast<const char*>(ASN1_STRING_get0_data(string)),
          static_cast<std::size_t>(ASN1_STRING_length(string))};
}

// As RFC 2253 writes it, with escapes for what is no printable ASCII.
std::string text_of(const X509_NAME* name) {
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(BIO_new(BIO_s_mem()), &BIO_free);
  if (!bio || X509_NAME_print_ex(bio.get(), name, 0, XN_FLAG_RFC2253) < 0) return {};
  char* data = nullptr;
  const long size = BIO_get_mem_data(bio.get(), &data);
  return size <= 0 ? std::string() : std::string(data, static_cast<std::size_t>(size));
}

std::string ip_text(const ASN1_OCTET_STRING* ip) {
  const int size = ASN1_STRING_length(ip);
  if (size != 4 && size != 16) return {};
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(size == 4 ? AF_INET : AF_INET6, ASN1_STRING_get0_data(ip), text.data(), text.size());
  return text.data();
}

std::vector<std::string> names_of(X509* certificate) {
  std::vector<std::string> names;
  const std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> alternatives(
      static_cast<GENERAL_NAMES*>(
          X509_get_ext_d2i(certificate, NID_subject_alt_name, nullptr, nullptr)),
      &GENERAL_NAMES_free);
  for (int i = 0; alternatives && i < sk_GENERAL_NAME_num(alternatives.get()); ++i) {
    const GENERAL_NAME* name = sk_GENERAL_NAME_value(alternatives.get(), i);
    std::string text;
    if (name->type == GEN_DNS) text = text_of(name->d.dNSName);
    if (name->type == GEN_IPADD) text = ip_text(name->d.iPAddress);
    if (!text.empty()) names.push_back(std::move(text));
  }
  return names;
}

}  // namespace

CertificateFacts certificate_facts(x509_st* certificate) {
  return {text_of(X509_get_subject_name(certificate)), text_of(X509_get_issuer_name(certificate)),
          names_of(certificate), time_of(X509_get0_notAfter(certificate))};
}

std::string in_iso8601(TimePoint time) {
  return fmt::format("{:%Y-%m-%dT%H:%M:%SZ}",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(time)));
}

bool ends_soon(TimePoint not_after, TimePoint now) {
  constexpr auto early = std::chrono::days(30);
  return not_after - now < early;
}

std::string expiry_in_words(TimePoint not_after, TimePoint now) {
  const auto left = not_after - now;
  if (left < std::chrono::seconds(0)) return "has expired at " + utc(not_after);
  const auto days = std::chrono::floor<std::chrono::days>(left).count();
  return fmt::format("expires in {} day{}, at {}", days, days == 1 ? "" : "s", utc(not_after));
}

std::string names_in_words(const CertificateFacts& facts) {
  if (facts.names.empty()) return facts.subject.empty() ? "nobody" : facts.subject;
  const std::size_t count = std::min(facts.names.size(), most_names_shown);
  std::string text = fmt::format("{}", fmt::join(std::span(facts.names).first(count), ", "));
  if (facts.names.size() > count) {
    text += fmt::format(" and {} more", facts.names.size() - count);
  }
  return text;
}

}  // namespace weir::proxy
