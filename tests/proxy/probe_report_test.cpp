#include "proxy/probe_report.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <boost/json/array.hpp>
#include <boost/json/serialize.hpp>

namespace weir::proxy {
namespace {

using namespace std::chrono_literals;
using Kind = ProbeResult::Kind;
using testing::HasSubstr;

ProbeResult result(Kind kind, std::string name, std::string address, std::string fault = "") {
  return {kind, std::move(name), std::move(address), "", {"weir.yaml", 3, 5}, std::move(fault)};
}

ProbeResult reached() {
  ProbeResult endpoint = result(Kind::endpoint, "api", "10.0.0.5:9000");
  endpoint.connected_milliseconds = 1.25;
  endpoint.tls = {"TLSv1.3", "TLS_AES_128_GCM_SHA256", "h2"};
  endpoint.certificate = {"CN=x", "CN=y", {"a.example"}, {}};
  endpoint.verified = true;
  endpoint.matched = "a.example";
  endpoint.check = {"http", true, 2.0};
  return endpoint;
}

TEST(ProbeReport, IsAnAlignedLineForEach) {
  EXPECT_EQ(probes_as_text({result(Kind::listener, "web", "0.0.0.0:443"),
                            result(Kind::admin, "", "127.0.0.1:9180", "taken"), reached()}),
            "listener web  0.0.0.0:443     can be bound\n"
            "admin         127.0.0.1:9180  FAILED: taken\n"
            "endpoint api  10.0.0.5:9000   connected in 1.2 ms, TLSv1.3 TLS_AES_128_GCM_SHA256, "
            "protocol h2, certificate of a.example until 1970-01-01 00:00 UTC, "
            "http check passed in 2.0 ms\n"
            "1 of 3 probes failed\n");
}

TEST(ProbeReport, SaysThatNothingFailed) {
  EXPECT_THAT(probes_as_text({reached()}), HasSubstr("\nall 1 probes are good\n"));
}

TEST(ProbeReport, TellsWhatWasNotVerified) {
  ProbeResult endpoint = reached();
  endpoint.verified = false;
  endpoint.warnings = {"old"};
  endpoint.notes = {"odd"};
  EXPECT_THAT(probes_as_text({endpoint}),
              HasSubstr("certificate of a.example (not verified) until 1970"));
  EXPECT_THAT(probes_as_text({endpoint}), HasSubstr("2.0 ms; old; odd\n"));
}

TEST(ProbeReport, KeepsWhatPeersSayFromTheTerminal) {
  ProbeResult endpoint = reached();
  endpoint.matched = "a\033[2J";
  EXPECT_THAT(probes_as_text({endpoint}), HasSubstr("certificate of a?[2J until"));
}

TEST(ProbeReport, HasProblemsAtTheirPlaces) {
  ProbeResult failed = result(Kind::endpoint, "api", "10.0.0.5:9000", "Connection refused");
  failed.written = "db.internal:9000";
  ProbeResult warned = reached();
  warned.warnings = {"old"};
  const auto problems =
      problems_of({failed, warned, result(Kind::listener, "web", "x", "cannot listen on x")});
  ASSERT_EQ(problems.size(), 3U);
  EXPECT_EQ(problems[0].severity, config::Problem::Severity::error);
  EXPECT_EQ(problems[0].place.line, 3);
  EXPECT_EQ(problems[0].message,
            "upstream api: endpoint db.internal:9000 (10.0.0.5:9000): Connection refused");
  EXPECT_EQ(problems[1].severity, config::Problem::Severity::warning);
  EXPECT_EQ(problems[1].message, "upstream api: endpoint 10.0.0.5:9000: old");
  EXPECT_EQ(problems[2].message, "listener web: cannot listen on x");
}

TEST(ProbeReport, IsJsonForPrograms) {
  EXPECT_EQ(boost::json::serialize(probes_as_json({reached()})),
            R"([{"kind":"endpoint","name":"api","address":"10.0.0.5:9000","good":true,)"
            R"("fault":"","warnings":[],"notes":[],"file":"weir.yaml","line":3,"column":5,)"
            R"("connected_ms":1.25E0,"tls":{"version":"TLSv1.3",)"
            R"("cipher":"TLS_AES_128_GCM_SHA256","alpn":"h2","verified":true,)"
            R"("matched":"a.example"},"certificate":{"subject":"CN=x","issuer":"CN=y",)"
            R"("names":["a.example"],"not_after":"1970-01-01T00:00:00Z"},)"
            R"("check":{"type":"http","passed":true,"ms":2E0}}])");
}

}  // namespace
}  // namespace weir::proxy
