#include "proxy/client_identity.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/x509v3.h>

#include <memory>

#include "config/identity.hpp"

namespace weir::proxy {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

// A certificate with any bytes in its names, as a careless authority might sign it.
class Names {
 public:
  Names& common_name(std::string_view text, int type = V_ASN1_UTF8STRING) {
    X509_NAME_add_entry_by_NID(X509_get_subject_name(certificate_.get()), NID_commonName, type,
                               reinterpret_cast<const unsigned char*>(text.data()),
                               static_cast<int>(text.size()), -1, 0);
    return *this;
  }
  Names& dns(std::string_view text) { return add(GEN_DNS, text); }
  Names& uri(std::string_view text) { return add(GEN_URI, text); }

  ClientIdentity identity() const {
    X509_add1_ext_i2d(certificate_.get(), NID_subject_alt_name, alternatives_.get(), 0,
                      X509V3_ADD_REPLACE);
    return identity_of(certificate_.get());
  }

 private:
  Names& add(int type, std::string_view text) {
    ASN1_IA5STRING* string = ASN1_IA5STRING_new();
    ASN1_STRING_set(string, text.data(), static_cast<int>(text.size()));
    GENERAL_NAME* name = GENERAL_NAME_new();
    GENERAL_NAME_set0_value(name, type, string);
    sk_GENERAL_NAME_push(alternatives_.get(), name);
    return *this;
  }

  std::unique_ptr<X509, decltype(&X509_free)> certificate_{X509_new(), &X509_free};
  std::unique_ptr<GENERAL_NAMES, decltype(&GENERAL_NAMES_free)> alternatives_{GENERAL_NAMES_new(),
                                                                              &GENERAL_NAMES_free};
};

bool lets_in(std::string_view pattern, const ClientIdentity& identity) {
  return matches(config::parse_identity_pattern(pattern).value(), identity);
}

TEST(ClientIdentity, HasTheNamesOfTheCertificate) {
  const ClientIdentity identity =
      Names().common_name("Jos\xc3\xa9").dns("A.example").dns("b.example").uri("urn:x").identity();
  EXPECT_EQ(identity.common_name, "Jos\xc3\xa9");
  EXPECT_THAT(identity.dns_names, ElementsAre("a.example", "b.example"));
  EXPECT_THAT(identity.uris, ElementsAre("urn:x"));
  EXPECT_EQ(identity.subject, "CN=Jos\\C3\\A9");
}

TEST(ClientIdentity, IsReadFromEveryEncoding) {
  EXPECT_EQ(Names().common_name("Jos\xe9", V_ASN1_T61STRING).identity().common_name, "Jos\xc3\xa9");
  EXPECT_EQ(Names().common_name({"\0a\0b", 4}, V_ASN1_BMPSTRING).identity().common_name, "ab");
}

TEST(ClientIdentity, GoesByItsFirstGoodName) {
  EXPECT_EQ(Names().common_name("a").uri("urn:x").dns("b").identity().text(), "cn:a");
  EXPECT_EQ(Names().common_name("a").common_name("b").identity().text(), "cn:a");
  EXPECT_EQ(Names().dns("b").uri("urn:x").identity().text(), "uri:urn:x");
  EXPECT_EQ(Names().dns("b").identity().text(), "dns:b");
  EXPECT_EQ(Names().identity().text(), "subject:");
  EXPECT_EQ(Names().common_name({"a\0b", 3}).identity().text(), "subject:CN=a\\00b");
}

TEST(ClientIdentity, MatchesByItsKindOnly) {
  const ClientIdentity identity = Names().common_name("a.b").dns("c.d").uri("e:f").identity();
  EXPECT_TRUE(lets_in("cn:a.b", identity));
  EXPECT_FALSE(lets_in("cn:c.d", identity));
  EXPECT_TRUE(lets_in("dns:c.d", identity));
  EXPECT_FALSE(lets_in("dns:a.b", identity));
  EXPECT_TRUE(lets_in("uri:e:f", identity));
  EXPECT_FALSE(lets_in("cn:*:*", identity));
}

TEST(ClientIdentity, MatchesByAnyOfItsAlternativeNames) {
  const ClientIdentity identity =
      Names().dns("a.x").dns("B.Y").uri("urn:1").uri("urn:2").identity();
  EXPECT_TRUE(lets_in("dns:*.y", identity));
  EXPECT_TRUE(lets_in("uri:urn:2", identity));
  EXPECT_FALSE(lets_in("uri:urn:3", identity));
}

TEST(ClientIdentity, NeedsALabelInFrontOfASuffix) {
  const auto is = [](const char* name) {
    return lets_in("dns:*.svc.x", Names().dns(name).identity());
  };
  EXPECT_TRUE(is("a.svc.x"));
  EXPECT_TRUE(is("a.b.svc.x"));
  EXPECT_FALSE(is("svc.x"));
  EXPECT_FALSE(is(".svc.x"));
  EXPECT_FALSE(is("a-svc.x"));
  EXPECT_FALSE(is("a.svc.x.evil"));
}

TEST(ClientIdentity, IsNotWhatAWildcardOrABrokenNameSays) {
  for (const std::string_view name :
       {std::string_view("*.svc.x"), std::string_view("*"), std::string_view("a.svc.x\0.evil", 13),
        std::string_view("evil\0.svc.x", 11), std::string_view("a..svc.x"),
        std::string_view("a b.svc.x"), std::string_view("\xe4.svc.x"), std::string_view("")}) {
    EXPECT_THAT(Names().dns(name).identity().dns_names, IsEmpty()) << name;
  }
  EXPECT_FALSE(lets_in("cn:a*", Names().common_name({"a\0b", 3}).identity()));
  EXPECT_FALSE(lets_in("cn:a*", Names().common_name("a\nb").identity()));
  EXPECT_FALSE(lets_in("cn:*", Names().common_name("").identity()));
  EXPECT_FALSE(lets_in("cn:*", Names().identity()));
  EXPECT_FALSE(lets_in("uri:urn:*", Names().uri({"urn:a\0b", 7}).identity()));
  EXPECT_FALSE(lets_in("uri:urn:*", Names().uri("urn:" + std::string(3000, 'a')).identity()));
}

TEST(ClientIdentity, ComparesTextAroundStars) {
  EXPECT_TRUE(matches_text("abc", "abc"));
  EXPECT_FALSE(matches_text("abc", "abcd"));
  EXPECT_FALSE(matches_text("abc", "Abc"));
  EXPECT_TRUE(matches_text("a*", "a"));
  EXPECT_TRUE(matches_text("*", ""));
  EXPECT_TRUE(matches_text("*c", "abc"));
  EXPECT_FALSE(matches_text("*c", "abcd"));
  EXPECT_TRUE(matches_text("a*c*e", "abcde"));
  EXPECT_TRUE(matches_text("a*b*c", "abbc"));
  EXPECT_TRUE(matches_text("a**c", "ac"));
  EXPECT_FALSE(matches_text("a*bc*c", "abc"));
  EXPECT_FALSE(matches_text("ab*ba", "aba"));
  EXPECT_FALSE(matches_text("a?c", "abc"));
  // A star of the text is a letter like others.
  EXPECT_FALSE(matches_text("abc", "*"));
}

}  // namespace
}  // namespace weir::proxy
