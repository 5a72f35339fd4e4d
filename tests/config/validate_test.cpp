#include "config/validate.hpp"

#include <gtest/gtest.h>

#include "tests/config/load.hpp"

namespace weir::config {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::string with_listener(const std::string& text) {
  return replaced(smallest, "  web:", text);
}

std::string with_routes(const std::string& routes) {
  return "tls: {a: {alpn: [h2], certificates: [{cert: /dev/null, key: /dev/null}]}}\n" +
         replaced(smallest, "    upstream: api", "    tls: a\n    routes:\n" + routes);
}

std::string with_endpoints(const std::string& endpoints) {
  return replaced(smallest, "      - { address: \"10.0.0.5:9000\" }\n", endpoints);
}

TEST(Validate, ReportsDanglingReferencesWithASuggestion) {
  auto problems = problems_of(replaced(smallest, "upstream: api", "upstream: apii"));
  EXPECT_THAT(problems, ElementsAre(error_at(5, 15, "there is no upstream `apii`"),
                                    warning_at(7, 3, "no listener uses the upstream `api`")));
  EXPECT_EQ(problems[0].hint, "did you mean `api`?");
  problems = problems_of(with_routes("      - { upstream: ape }\n      - { upstream: api }\n"));
  EXPECT_EQ(problems[0].place.line, 8);
  EXPECT_EQ(problems[0].hint, "did you mean `api`?");
  problems = problems_of("tls: {public: {certificates: [{cert: /dev/null, key: /dev/null}]}}\n" +
                         replaced(smallest, "    upstream:", "    tls: pubic\n    upstream:"));
  EXPECT_THAT(problems, ElementsAre(warning_at(1, 7, "no listener uses the TLS setting `public`"),
                                    error_at(6, 10, "there is no TLS setting `pubic`")));
  EXPECT_EQ(problems[1].hint, "did you mean `public`?");
}

TEST(Validate, ReportsOverlappingBinds) {
  const auto other = [](const std::string& bind) {
    return problems_of(with_listener("  first: { bind: " + bind + ", upstream: api }\n  web:"));
  };
  EXPECT_THAT(other("\"127.0.0.1:8443\""),
              ElementsAre(error_at(5, 11,
                                   "`127.0.0.1:8443` overlaps `127.0.0.1:8443` of "
                                   "`listeners.first`, which stands at weir.yaml:3:18")));
  EXPECT_THAT(other("\"0.0.0.0:8443\""),
              ElementsAre(error_at(5, 11, "`127.0.0.1:8443` overlaps `0.0.0.0:8443`")));
  EXPECT_THAT(other("[\"127.0.0.2:1\", \"0.0.0.0:1\"]"),
              ElementsAre(error_at(3, 34, "`0.0.0.0:1` overlaps `127.0.0.2:1`")));
  EXPECT_THAT(other("\"127.0.0.1:9180\""),
              ElementsAre(error_at(3, 18, "of `admin`, which is the default")));
  EXPECT_THAT(other("[\"unix:/a\", \"unix:/a\"]"), ElementsAre(error_at(3, 30, "overlaps")));
  EXPECT_THAT(other("[\"[::1]:8443\", \"[::]:8443\"]"), ElementsAre(error_at(3, 33, "overlaps")));
  EXPECT_THAT(other("[\"127.0.0.2:8443\", \"[::]:8443\", \"unix:/b\"]"), IsEmpty());
  EXPECT_THAT(other("[\"0.0.0.0:0\", \"0.0.0.0:0\", \"127.0.0.1:0\"]"), IsEmpty());
}

TEST(Validate, WarnsOfWhatIsNotUsed) {
  EXPECT_THAT(problems_of(with_listener("  idle: { bind: \"127.0.0.1:1\" }\n  web:")),
              ElementsAre(warning_at(3, 3, "`idle` has neither `upstream` nor `routes`")));
  EXPECT_THAT(
      problems_of("tls: {a: {certificates: [{cert: /dev/null, key: /dev/null}]}}\n" + smallest),
      ElementsAre(warning_at(1, 7, "no listener uses the TLS setting `a`")));
}

TEST(Validate, WarnsOfUnreachableRoutes) {
  EXPECT_THAT(
      problems_of(with_routes("      - { upstream: api }\n"
                              "      - { match: { client: 10.0.0.0/8 }, upstream: api }\n")),
      ElementsAre(warning_at(9, 9, "the one at weir.yaml:8:9 matches everything")));
  EXPECT_THAT(
      problems_of(with_routes(
          "      - { match: { server_name: [a.x, b.x], client: 10.0.0.0/8 }, upstream: api }\n"
          "      - { match: { server_name: [b.x, A.x], client: 10.0.0.0/8 }, upstream: api }\n"
          "      - { match: { server_name: [b.x] }, upstream: api }\n")),
      ElementsAre(warning_at(9, 9, "the one at weir.yaml:8:9 matches the same")));
  EXPECT_THAT(problems_of(with_routes("      - { match: { alpn: mqtt }, upstream: api }\n")),
              ElementsAre(warning_at(8, 9, "the TLS setting `a` does not offer `mqtt`")));
  EXPECT_THAT(problems_of(replaced(smallest, "    upstream: api",
                                   "    routes: [{match: {server_name: a.x}, upstream: api}]")),
              ElementsAre(warning_at(5, 14, "has no `tls`, so it never knows a server name")));
  EXPECT_THAT(problems_of(replaced(smallest, "    upstream: api",
                                   "    tls: passthrough\n    routes: [{match: {server_name: a.x, "
                                   "alpn: mqtt}, upstream: api}]")),
              IsEmpty());
}

TEST(Validate, DoesNotJudgeRoutesWithFaults) {
  EXPECT_THAT(
      problems_of(with_routes("      - { match: { server_name: \"*\" }, upstream: api }\n"
                              "      - { match: { client: 10.0.0.0/8 }, upstream: api }\n")),
      ElementsAre(error_at(8, 33, "`*` alone")));
}

TEST(Validate, RequiresAnUpstreamForEachRoute) {
  EXPECT_THAT(
      problems_of(with_routes("      - { match: { alpn: h2 } }\n      - { upstream: api }\n")),
      ElementsAre(error_at(8, 9, "`listeners.web.routes[0]` has no `upstream`")));
}

TEST(Validate, ReportsFilesThatCannotBeRead) {
  const auto problems = problems_of(
      "tls:\n  a:\n    certificates:\n      - { cert: missing.pem, key: /tmp }\n" +
      replaced(smallest, "    upstream:", "    tls: a\n    upstream:") +
      "    tls: { ca: /nonexistent/ca.pem, certificate: { cert: /dev/null, key: none.key } }\n");
  EXPECT_THAT(problems, ElementsAre(error_at(4, 17, "cannot read `missing.pem`: No such file"),
                                    error_at(4, 35, "cannot read `/tmp`: Is a directory"),
                                    error_at(15, 16, "cannot read `/nonexistent/ca.pem`: No such"),
                                    error_at(15, 74, "cannot read `none.key`: No such file")));
}

TEST(Validate, ReportsEndpointsThatMakeNoSense) {
  EXPECT_THAT(problems_of(with_endpoints("      - { address: \"1.2.3.4:5\", weight: 0 }\n")),
              ElementsAre(error_at(8, 5, "every endpoint has weight 0")));
  EXPECT_THAT(problems_of(with_endpoints("      - { address: \"[::1]:5\" }\n"
                                         "      - { address: \"[0::1]:5\" }\n")),
              ElementsAre(error_at(10, 20, "`[::1]:5` is already written at weir.yaml:9:20")));
}

TEST(Validate, ReportsMoreIdleConnectionsThanAllowed) {
  EXPECT_THAT(problems_of(smallest + "    pool: { min_idle: 65 }\n"),
              ElementsAre(error_at(10, 23, "`min_idle` is 65, more than `max_idle`, which is 64")));
  EXPECT_THAT(problems_of(smallest + "    pool: { min_idle: 9, max_connections: 8 }\n"),
              ElementsAre(error_at(10, 23, "more than `max_connections`, which is 8")));
  EXPECT_THAT(problems_of(smallest + "    pool: { min_idle: 9, max_connections: 0 }\n"), IsEmpty());
}

TEST(Validate, NeedsANameToVerifyOnUnixSockets) {
  const std::string text = with_endpoints("      - { address: \"unix:/run/x\" }\n");
  EXPECT_THAT(problems_of(text + "    tls: {}\n"), ElementsAre(error_at(10, 5, "unix socket")));
  EXPECT_THAT(problems_of(text + "    tls: { server_name: a.x }\n"), IsEmpty());
  EXPECT_THAT(problems_of(text + "    tls: { verify: false }\n"),
              ElementsAre(warning_at(10, 20, "not verified")));
  EXPECT_THAT(problems_of(smallest + "    tls: {}\n"), IsEmpty());
}

TEST(Validate, ReportsTheTimesOfNamesWhereTheyAreWritten) {
  const std::string text = with_endpoints("      - { address: \"db.internal:1\" }\n");
  EXPECT_THAT(problems_of(text + "    dns: { min: 10m }\n"),
              ElementsAre(error_at(10, 5, "`max` is shorter than `min`")));
  EXPECT_THAT(problems_of(text + "    dns: { min: 10s, max: 1s }\n"),
              ElementsAre(error_at(10, 27, "`max` is shorter than `min`")));
  EXPECT_THAT(problems_of(smallest + "    dns:\n"),
              ElementsAre(error_at(10, 5, "has no value"), warning_at(10, 5, "nothing to do")));
}

TEST(Validate, KeepsTheWordsOfListenersFree) {
  EXPECT_THAT(
      problems_of("tls: {\"off\": {certificates: [{cert: /dev/null, key: /dev/null}]}}\n" +
                  smallest),
      ElementsAre(error_at(1, 7, "cannot be called `off`"), warning_at(1, 7, "no listener uses")));
}

}  // namespace
}  // namespace weir::config
