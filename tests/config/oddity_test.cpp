#include "config/oddity.hpp"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <algorithm>

#include "tests/config/load.hpp"

namespace weir::config {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<Problem> with_times(const std::string& drain, const std::string& timeouts) {
  const std::string text = replaced(smallest, "version: 1\n", "version: 1\n" + drain);
  return problems_of(replaced(text, "    upstream: api\n", "    upstream: api\n" + timeouts));
}

TEST(Oddity, IsADrainThatIsShorterThanASilence) {
  const std::string idle = "    timeouts: { idle: 10m }\n";
  EXPECT_THAT(with_times("drain: { timeout: 20s }\n", idle),
              ElementsAre(warning_at(2, 19,
                                     "a drain waits 20s for sessions that the listener "
                                     "`web` lets be silent for 10m")));
  EXPECT_THAT(with_times("drain: { timeout: 0 }\n", idle), IsEmpty());
  EXPECT_THAT(with_times("drain: { timeout: 10m }\n", idle), IsEmpty());
  EXPECT_THAT(with_times("drain: { timeout: 20s }\n", "    timeouts: { idle: off }\n"), IsEmpty());
  // A default is nobody's oddity.
  EXPECT_THAT(with_times("", idle), IsEmpty());
  EXPECT_THAT(with_times("drain: { timeout: 30s }\n", idle), IsEmpty());
  EXPECT_THAT(with_times("drain: { timeout: 20s }\n", ""), IsEmpty());
}

TEST(Oddity, IsToldOnceForAllListeners) {
  EXPECT_THAT(
      problems_of(
          "drain: { timeout: 1s }\n" +
          replaced(smallest, "  web:\n",
                   "  one: { bind: \"127.0.0.1:1\", upstream: api, timeouts: { idle: 2s } }\n"
                   "  two: { bind: \"127.0.0.1:2\", upstream: api, timeouts: { idle: 3s } }\n"
                   "  web:\n")),
      ElementsAre(warning_at(1, 19, "`one` lets be silent for 2s")));
}

TEST(Oddity, IsMoreConnectionsThanDescriptors) {
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_NOFILE, &limit), 0);
  if (limit.rlim_max < 4096) GTEST_SKIP() << "few descriptors";
  limit = {std::min<rlim_t>(limit.rlim_cur, 4096), 4096};
  ASSERT_EQ(::setrlimit(RLIMIT_NOFILE, &limit), 0);
  EXPECT_THAT(problems_of("limits: { connections: 2049 }\n" + smallest),
              ElementsAre(warning_at(1, 24,
                                     "2049 connections need 4098 descriptors, one at each "
                                     "end, and RLIMIT_NOFILE allows 4096")));
  EXPECT_THAT(problems_of("limits: { connections: 2048 }\n" + smallest), IsEmpty());
  EXPECT_THAT(problems_of("limits: { connections: 0 }\n" + smallest), IsEmpty());
}

TEST(Oddity, IsTlsThatTrustsAnybody) {
  const LoadResult result =
      load(smallest + "    tls: { server_name: api.internal, verify: false }\n");
  EXPECT_TRUE(result.config);
  EXPECT_THAT(result.problems, ElementsAre(warning_at(10, 47, "certificates are not verified")));
}

TEST(Oddity, IsTlsInTls) {
  const auto problems_with = [](const std::string& listener) {
    const std::string text = smallest + "    tls: { server_name: api.internal }\n  b:\n" +
                             "    endpoints: [{ address: \"127.0.0.1:1\" }]\n";
    return problems_of(replaced(text, "    upstream: api\n", listener));
  };
  const auto odd = ElementsAre(warning_at(5, 10, "upstream `api` wraps it in TLS of its own"));
  EXPECT_THAT(problems_with("    tls: passthrough\n    upstream: api\n"
                            "    routes: [{ match: { alpn: h2 }, upstream: b }]\n"),
              odd);
  EXPECT_THAT(problems_with("    tls: passthrough\n    upstream: b\n"
                            "    routes: [{ match: { alpn: h2 }, upstream: api }]\n"),
              odd);
  EXPECT_THAT(problems_with("    upstream: b\n    routes: [{ upstream: api }]\n"), IsEmpty());
}

}  // namespace
}  // namespace weir::config
