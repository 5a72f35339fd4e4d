// Random damage to configurations: whatever comes in, the reader comes back, and its answer holds
// together.

#include <gtest/gtest.h>

#include <cstdlib>
#include <random>

#include "tests/config/load.hpp"

namespace weir::config {
namespace {

const std::string large = R"(version: 1
workers: auto
limits: { connections: 10, handshakes: 20 }
drain: { delay: 1s, timeout: 2s }
admin: off
tls:
  public: &setting
    certificates: [ { cert: /dev/null, key: "/dev/zero" } ]
    alpn: [mqtt, h2]
    client_certificate: { verify: off, allow: [] }
  private: *setting
listeners:
  web:
    bind: [ "0.0.0.0:8443", '[::]:8443' ]   # both
    tls: public
    timeouts: { idle: 2s, session: 0 }
    routes:
      - { name: one, match: { server_name: ["*.x"], client: [10.1.0.0/16] }, upstream: api }
      - upstream: ${WEIR_TEST_UPSTREAM:-api}
    upstream: api
upstreams:
  api:
    endpoints:
      - { address: "10.0.0.5:9000", weight: 0, tier: 1 }
      - address: unix:/x
    tls: { server_name: api.internal, verify: true }
    pool:
      mode: off
      min_idle: 2
    health_check: { interval: 1s, port: 6 }
)";

const std::string fragments[] = {"\t",    "\n",
                                 "  ",    "- ",
                                 ": ",    "{",
                                 "}",     "[",
                                 "]",     "&a ",
                                 "*a",    "\"",
                                 "'",     "|\n",
                                 ">\n",   "#",
                                 "---\n", "...\n",
                                 "? ",    "!!x ",
                                 "<<: ",  "017",
                                 "70000", "-1",
                                 "${A",   "${A:-}",
                                 "$${",   "off",
                                 "null",  "~",
                                 "%",     "@",
                                 "\xFF",  "\r\n",
                                 "\\x00", "0",
                                 "10",    "99999999999999999999"};

std::string mutate(std::string text, std::mt19937_64& random) {
  const auto below = [&](std::size_t limit) { return random() % std::max<std::size_t>(limit, 1); };
  const std::size_t changes = 1 + below(4);
  for (std::size_t i = 0; i < changes; ++i) {
    const std::size_t at = below(text.size());
    switch (below(6)) {
      case 0:
        text[at] = static_cast<char>(random());
        break;
      case 1:
        text.erase(at, below(20));
        break;
      case 2:
        text.insert(at, fragments[below(std::size(fragments))]);
        break;
      case 3:
        text.insert(below(text.size()), text.substr(at, below(60)));
        break;
      case 4:
        text.resize(at + 1);
        break;
      default:
        text.replace(at, below(4), fragments[below(std::size(fragments))]);
    }
    if (text.empty()) text = "a";
  }
  return text;
}

TEST(Mutation, NeverBreaksTheReader) {
  const std::uint64_t seed = 20240607;
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  for (int round = 0; round < 5000; ++round) {
    const std::string text = mutate(round % 2 == 0 ? large : smallest, random);
    const LoadResult result = load(text);
    const bool has_error = std::ranges::any_of(result.problems, [](const Problem& problem) {
      return problem.severity == Problem::Severity::error;
    });
    ASSERT_NE(result.config.has_value(), has_error) << text;
    for (const Problem& problem : result.problems) {
      ASSERT_FALSE(problem.message.empty()) << text;
      ASSERT_GE(problem.place.line, 0) << text;
      ASSERT_LE(problem.place.line, std::ranges::count(text, '\n') + 1) << text;
    }
    ASSERT_EQ(render(result.problems, true).empty(), result.problems.empty());
  }
}

TEST(Mutation, StartsFromAValidText) {
  config_of(replaced(large, "  private: *setting\n", ""));
}

}  // namespace
}  // namespace weir::config
