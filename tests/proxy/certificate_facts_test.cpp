#include "proxy/certificate_facts.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/pem.h>
#include <openssl/x509v3.h>

#include <memory>

#include "proxy/demo.hpp"
#include "proxy/tls_certificate.hpp"
#include "proxy/tls_peer.hpp"

namespace weir::proxy {
namespace {

using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::HasSubstr;

CertificatePointer demo_certificate() {
  const std::string pem = make_demo_certificate().cert_pem;
  const std::unique_ptr<BIO, decltype(&BIO_free)> bio(
      BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())), &BIO_free);
  return {PEM_read_bio_X509(bio.get(), nullptr, nullptr, nullptr), &X509_free};
}

TEST(CertificateFacts, TellWhoseItIs) {
  const CertificatePointer certificate = demo_certificate();
  const CertificateFacts facts = certificate_facts(certificate.get());
  EXPECT_EQ(facts.subject, "CN=weir demo");
  EXPECT_EQ(facts.issuer, "CN=weir demo");
  EXPECT_THAT(facts.names, ElementsAre("localhost", "*.localhost", "127.0.0.1", "::1"));
  EXPECT_EQ(names_in_words(facts), "localhost, *.localhost, 127.0.0.1, ::1");
}

TEST(CertificateFacts, EscapeWhatCouldDriveATerminal) {
  const CertificatePointer certificate = demo_certificate();
  const auto* name = reinterpret_cast<const unsigned char*>("a\033[2J");
  X509_NAME_add_entry_by_txt(X509_get_subject_name(certificate.get()), "O", MBSTRING_UTF8, name, -1,
                             -1, 0);
  const CertificateFacts facts = certificate_facts(certificate.get());
  EXPECT_THAT(facts.subject, HasSubstr("O=a\\1B[2J"));
}

// More than a time point in nanoseconds can say.
TEST(CertificateFacts, KnowCertificatesWithoutAnEnd) {
  const CertificatePointer certificate = demo_certificate();
  ASSERT_EQ(ASN1_TIME_set_string(X509_getm_notAfter(certificate.get()), "99991231235959Z"), 1);
  const auto end = certificate_facts(certificate.get()).not_after;
  EXPECT_GT(end, std::chrono::system_clock::now() + 24h * 365 * 100);
  EXPECT_FALSE(ends_soon(end, std::chrono::system_clock::now()));
  ASSERT_EQ(ASN1_TIME_set_string(X509_getm_notAfter(certificate.get()), "00000101000000Z"), 1);
  EXPECT_TRUE(
      ends_soon(certificate_facts(certificate.get()).not_after, std::chrono::system_clock::now()));
}

TEST(CertificateFacts, TellTheEndInWords) {
  const std::chrono::system_clock::time_point end{1'800'000'000s};
  EXPECT_EQ(utc(end), "2027-01-15 08:00 UTC");
  EXPECT_EQ(in_iso8601(end), "2027-01-15T08:00:00Z");
  EXPECT_FALSE(ends_soon(end, end - 24h * 30));
  EXPECT_TRUE(ends_soon(end, end - 24h * 30 + 1s));
  EXPECT_EQ(expiry_in_words(end, end - 25h), "expires in 1 day, at 2027-01-15 08:00 UTC");
  EXPECT_EQ(expiry_in_words(end, end + 1s), "has expired at 2027-01-15 08:00 UTC");
}

TEST(CertificateFacts, ShowAFewOfManyNames) {
  CertificateFacts facts;
  facts.names = {"a", "b", "c", "d", "e", "f", "g"};
  EXPECT_EQ(names_in_words(facts), "a, b, c, d, e and 2 more");
  EXPECT_EQ(names_in_words({"CN=x", "", {}, {}}), "CN=x");
  EXPECT_EQ(names_in_words({}), "nobody");
}

TEST(CertificateFacts, AreToldWhereACertificateIsRefused) {
  const CertificateFacts facts{"CN=x", "CN=issuer", {"a.example", "b.example"}, {}};
  EXPECT_EQ(fault_in_words(X509_V_ERR_HOSTNAME_MISMATCH, facts, "c.example"),
            "hostname mismatch: the certificate is for a.example, b.example, not for c.example");
  EXPECT_THAT(fault_in_words(X509_V_ERR_CERT_HAS_EXPIRED, facts, ""),
              HasSubstr("expired; the server's says 1970-01-01 00:00 UTC"));
  EXPECT_THAT(fault_in_words(X509_V_ERR_UNABLE_TO_GET_ISSUER_CERT_LOCALLY, facts, ""),
              HasSubstr("was issued by CN=issuer"));
  EXPECT_THAT(fault_in_words(X509_V_ERR_DEPTH_ZERO_SELF_SIGNED_CERT, facts, ""),
              HasSubstr("self-signed certificate (the certificate of a.example, b.example)"));
}

}  // namespace
}  // namespace weir::proxy
