#include "config/effective.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <regex>

#include "config/schema.hpp"
#include "tests/config/load.hpp"

namespace weir::config {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::Not;

std::string shown(const std::string& text, bool with_defaults = false) {
  const ShowResult result = show_text(text, file_name, with_defaults);
  EXPECT_TRUE(result.text) << render(result.problems, false) << text;
  return result.text.value_or("");
}

std::string without_comments(const std::string& text) {
  return std::regex_replace(text, std::regex("(^|\n) *# [^\n]*|  # [^\n]*"), "");
}

const std::string rich = R"(version: 1
admin: off
tls:
  public: { certificates: [ { cert: /dev/null, key: "/dev/zero" } ], alpn: [ "mqtt", h2 ] }
listeners:
  web:
    bind: [ "0.0.0.0:8443", '[::]:8443' ]
    tls: public
    timeouts: { idle: 2s, session: 0 }
    allow: []
    limits:
    routes:
      - { name: one, match: { server_name: ["*.x"] }, upstream: api }
      - upstream: ${WEIR_TEST_UPSTREAM:-api}
    upstream: "017"
upstreams:
  api:
    endpoints: [ { address: "10.0.0.5:9000", tier: 1 }, { address: unix:/x } ]
    tls: { server_name: api.internal }
    pool: { mode: reset, reset: { send: 'RESET\r\n', expect: "+RESET\r\n" }, backoff: 1s..2s }
    health_check: { type: exchange, exchange: { send: "a$${b\u0085\e\t\"", expect: 'b\x00' } }
  "017":
    endpoints: [ { address: "${WEIR_TEST_ADDRESS:-10.0.0.5:1}" } ]
    health_check: {}
    ejection: {}
)";

TEST(Effective, IsWhatWasWrittenInTheOrderOfTheLanguage) {
  EXPECT_EQ(shown(rich), R"(version: 1
admin:
  bind: off
tls:
  public:
    certificates:
      - cert: "/dev/null"
        key: "/dev/zero"
    alpn: ["mqtt", h2]
listeners:
  web:
    bind: ["0.0.0.0:8443", "[::]:8443"]
    tls: public
    allow: []
    timeouts:
      idle: 2s
      session: 0
    routes:
      - name: one
        match:
          server_name: ["*.x"]
        upstream: api
      - upstream: api
    upstream: "017"
upstreams:
  api:
    endpoints:
      - address: "10.0.0.5:9000"
        tier: 1
      - address: "unix:/x"
    tls:
      server_name: api.internal
    pool:
      mode: reset
      backoff: 1s..2s
      reset:
        send: "RESET\\r\\n"
        expect: "+RESET\r\n"
    health_check:
      type: exchange
      exchange:
        send: "a$${b\x85\x1b\t\""
        expect: "b\\x00"
  "017":
    endpoints:
      - address: "10.0.0.5:1"
    ejection: {}
    health_check: {}
)");
}

TEST(Effective, LoadsAgainToTheSame) {
  const std::string once = shown(rich);
  EXPECT_EQ(shown(once), once);
  const Config before = config_of(rich);
  const Config after = config_of(once);
  const auto& send = before.upstreams[0].health_check->exchange->send;
  EXPECT_EQ(send, "a${b\xC2\x85\x1B\t\"");
  EXPECT_EQ(after.upstreams[0].health_check->exchange->send, send);
  EXPECT_EQ(after.upstreams[0].pool.reset->send, "RESET\r\n");
  EXPECT_EQ(after.upstreams[0].pool.backoff.most, 2s);
  EXPECT_EQ(after.listeners[0].upstream, "017");
  EXPECT_FALSE(after.admin.bind);
}

TEST(Effective, StaysWithTheConfigurationAndLoadsToAnEqualOne) {
  std::vector<std::string> texts = example_texts();
  texts.insert(texts.end(), {smallest, rich});
  for (const std::string& text : texts) {
    const std::optional<Config> config = load(text).config;
    ASSERT_TRUE(config) << text;
    EXPECT_EQ(config->wording.yaml, shown(text));
    const std::optional<Config> again = load(config->wording.yaml).config;
    ASSERT_TRUE(again) << config->wording.yaml;
    EXPECT_TRUE(*again == *config) << config->wording.yaml;
    EXPECT_EQ(again->wording.yaml, config->wording.yaml);
  }
}

TEST(Effective, KeepsItsMeaningWithEveryDefault) {
  std::vector<std::string> texts = example_texts();
  texts.insert(texts.end(), {smallest, rich});
  for (const std::string& text : texts) {
    EXPECT_EQ(shown(shown(text)), shown(text));
    const std::string all = shown(text, true);
    const std::string again = shown(all, true);
    EXPECT_EQ(without_comments(again), without_comments(all));
    EXPECT_THAT(again, Not(HasSubstr("# default")));
    EXPECT_EQ(render(problems_of(all), false), "");
  }
}

TEST(Effective, ShowsEveryKeyAndWhereItComesFrom) {
  const std::string all = shown(smallest, true);
  EXPECT_THAT(all, HasSubstr("version: 1  # weir.yaml:1\n"));
  EXPECT_THAT(all, HasSubstr("    bind: \"127.0.0.1:8443\"  # weir.yaml:4\n"));
  EXPECT_THAT(all, HasSubstr("  handshakes: 512  # default\n"));
  EXPECT_THAT(all, HasSubstr("  bind: \"127.0.0.1:9180\"  # default\n"));
  EXPECT_THAT(all, HasSubstr("tls: {}  # default\n"));
  EXPECT_THAT(all, HasSubstr("      max_idle: 64  # default\n"));
  EXPECT_THAT(all, HasSubstr("      - address: \"10.0.0.5:9000\"  # weir.yaml:9\n"
                             "        weight: 1  # default\n"));
  EXPECT_THAT(all, HasSubstr("    # health_check: not set\n"));
  EXPECT_THAT(all, HasSubstr("watch: false  # default\n"));
  EXPECT_THAT(all, Not(HasSubstr("connection_metrics")));
  for (const Key& key : all_keys()) {
    const bool is_inside = key.path.starts_with("tls.") || key.path.contains("health_check") ||
                           key.path.contains("routes[]") || key.path.contains(".tls.") ||
                           key.path.contains(".dns.") || key.path.contains(".reset.");
    if (!key.supported || is_inside || key.path.ends_with('*') || key.path.ends_with(']')) continue;
    if (key.path == "include") continue;
    EXPECT_THAT(all, HasSubstr(std::string(key.last_name()) + ":")) << key.path;
  }
}

TEST(Effective, ShowsPathsFromTheRoot) {
  const std::string all =
      show_text("access_log: { path: a.log }\n" + smallest, "etc/weir.yaml", false).text.value();
  EXPECT_THAT(all,
              HasSubstr("path: \"" + std::filesystem::current_path().string() + "/etc/a.log\"\n"));
}

TEST(Effective, ReplacesTheEnvironmentOnce) {
  ::setenv("WEIR_TEST_TEXT", "${HOME} # x\n", 1);
  const std::string text =
      smallest + "    health_check: { type: http, http: { host: \"${WEIR_TEST_TEXT}\" } }\n";
  // That host is refused later, but it stays what it was.
  EXPECT_FALSE(show_text(text, file_name, false).text);
  ::setenv("WEIR_TEST_TEXT", "$${HOME}", 1);
  const std::string once = shown(text);
  EXPECT_THAT(once, HasSubstr("host: \"$$${HOME}\"\n"));
  EXPECT_EQ(config_of(once).upstreams[0].health_check->http.host, "$${HOME}");
}

TEST(Effective, BreaksLongListsAndLetsNoFileNameIn) {
  std::string networks;
  for (int i = 0; i < 10; ++i) networks += "\"10." + std::to_string(i) + ".0.0/16\", ";
  const std::string text =
      replaced(smallest, "    upstream: api", "    trusted: [" + networks + "]\n    upstream: api");
  const ShowResult result = show_text(text, "a\nb: c", true);
  EXPECT_THAT(result.text.value(),
              HasSubstr("    trusted:\n      - \"10.0.0.0/16\"  # a?b: c:5\n"));
  EXPECT_EQ(config_of(*result.text).listeners[0].trusted.size(), 10U);
}

TEST(Effective, LoadsAgainWhenItsFilesAreGone) {
  std::string text;
  {
    const TemporaryFile file("gone.pem");
    text = config_of(replaced(smallest, "    upstream", "    tls: public\n    upstream") +
                     "tls:\n  public:\n    certificates: [ { cert: " + file.path() +
                     ", key: /dev/zero } ]\n")
               .wording.yaml;
  }
  EXPECT_FALSE(load(text).config);
  const LoadResult again = load_checked(text, "");
  EXPECT_THAT(again.problems, testing::IsEmpty());
  EXPECT_EQ(again.config.value().tls.size(), 1U);
  EXPECT_FALSE(load_checked("version: 1\nlisten: {}\n", "").config);
}

TEST(Effective, IsNothingWhereThereIsAnError) {
  const ShowResult result = show_text("version: 1\n", file_name, true);
  EXPECT_FALSE(result.text);
  EXPECT_FALSE(result.problems.empty());
  EXPECT_THAT(show_file("/nonexistent", false).problems,
              ElementsAre(error_at(0, 0, "cannot read the configuration")));
}

}  // namespace
}  // namespace weir::config
