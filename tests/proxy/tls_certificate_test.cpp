#include "proxy/tls_certificate.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdio>
#include <fstream>

#include "proxy/demo.hpp"

namespace weir::proxy {
namespace {

using namespace std::chrono_literals;

// A certificate that is good for 30 days, in files.
class Expiry : public testing::Test {
 protected:
  Expiry() {
    const DemoCertificate made = make_demo_certificate();
    const std::string test = testing::UnitTest::GetInstance()->current_test_info()->name();
    files_.cert = testing::TempDir() + "weir_expiry_" + test + ".pem";
    files_.key = testing::TempDir() + "weir_expiry_" + test + ".key";
    files_.cert_place = {"weir.yaml", 4, 5};
    std::ofstream(files_.cert) << made.cert_pem;
    std::ofstream(files_.key) << made.key_pem;
  }
  ~Expiry() override {
    std::remove(files_.cert.c_str());
    std::remove(files_.key.c_str());
  }

  std::vector<config::Problem> problems_after(std::chrono::hours time) const {
    std::vector<config::Problem> problems;
    const auto loaded = load_certificate(files_, problems);
    EXPECT_TRUE(loaded);
    if (loaded) {
      warn_of_expiry(*loaded, files_, std::chrono::system_clock::now() + time, problems);
    }
    return problems;
  }

  config::Certificate files_;
};

TEST_F(Expiry, IsAWarningThirtyDaysBefore) {
  EXPECT_TRUE(problems_after(-24h).empty());
  const auto problems = problems_after(24h + 1h);
  ASSERT_EQ(problems.size(), 1U);
  EXPECT_EQ(problems[0].severity, config::Problem::Severity::warning);
  EXPECT_EQ(problems[0].place.line, 4);
  EXPECT_THAT(problems[0].message, testing::HasSubstr("expires in 28 days, at 20"));
  EXPECT_THAT(problems_after(29 * 24h - 1h)[0].message, testing::HasSubstr("expires in 1 day, "));
}

TEST_F(Expiry, IsAWarningAfterwards) {
  EXPECT_THAT(problems_after(31 * 24h)[0].message, testing::HasSubstr("has expired at 20"));
}

TEST_F(Expiry, IsNoMatterOfTheDemo) {
  const DemoCertificate made = make_demo_certificate();
  files_.cert_pem = made.cert_pem;
  files_.key_pem = made.key_pem;
  EXPECT_TRUE(problems_after(31 * 24h).empty());
}

}  // namespace
}  // namespace weir::proxy
