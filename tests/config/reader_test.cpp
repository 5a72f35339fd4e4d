#include "config/reader.hpp"

#include <gtest/gtest.h>

#include "tests/config/load.hpp"

namespace weir::config {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

TEST(Reader, FillsDefaults) {
  const Config config = config_of(smallest);
  EXPECT_EQ(config.version, 1);
  EXPECT_EQ(config.workers, 0U);
  EXPECT_EQ(config.limits.connections, 0U);
  EXPECT_EQ(config.limits.handshakes, 512U);
  EXPECT_EQ(config.drain.delay, 0s);
  EXPECT_EQ(config.drain.timeout, 30s);
  EXPECT_EQ(config.log.level, LogLevel::info);
  EXPECT_EQ(config.log.format, LogFormat::text);
  EXPECT_EQ(config.access_log.path, "stdout");
  EXPECT_EQ(config.access_log.format, LogFormat::json);
  EXPECT_EQ(config.admin.bind->text(), "127.0.0.1:9180");
  EXPECT_THAT(config.tls, IsEmpty());

  ASSERT_EQ(config.listeners.size(), 1U);
  const Listener& listener = config.listeners[0];
  EXPECT_EQ(listener.name, "web");
  EXPECT_EQ(listener.bind[0].text(), "127.0.0.1:8443");
  EXPECT_EQ(listener.tls, "");
  EXPECT_EQ(listener.upstream, "api");
  EXPECT_EQ(listener.timeouts.idle, 5min);
  EXPECT_EQ(listener.timeouts.half_close, 30s);
  EXPECT_EQ(listener.limits.connections, 0U);

  ASSERT_EQ(config.upstreams.size(), 1U);
  const Upstream& upstream = config.upstreams[0];
  EXPECT_EQ(upstream.name, "api");
  ASSERT_EQ(upstream.endpoints.size(), 1U);
  EXPECT_EQ(upstream.endpoints[0].address.text(), "10.0.0.5:9000");
  EXPECT_EQ(upstream.endpoints[0].weight, 1U);
  EXPECT_FALSE(upstream.tls);
  EXPECT_FALSE(upstream.health_check);
  EXPECT_EQ(upstream.pool.max_idle, 64U);
}

TEST(Reader, RemembersWhereThingsWereWritten) {
  const Config config = config_of(smallest);
  const auto at = [](const Place& place) { return std::pair(place.line, place.column); };
  EXPECT_EQ(at(config.listeners[0].place), std::pair(3, 3));
  EXPECT_EQ(config.listeners[0].place.file, "weir.yaml");
  EXPECT_EQ(at(config.listeners[0].bind_places[0]), std::pair(4, 11));
  EXPECT_EQ(at(config.listeners[0].upstream_place), std::pair(5, 15));
  EXPECT_EQ(at(config.upstreams[0].place), std::pair(7, 3));
  EXPECT_EQ(at(config.upstreams[0].endpoints[0].place), std::pair(9, 20));
  EXPECT_EQ(config.admin.place.line, 0);
}

TEST(Reader, ReportsEveryMistakeInOneRun) {
  const auto problems = problems_of(R"(version: 1
drain: { delay: 10 }
listeners:
  web:
    bind: "0.0.0.0:70000"
    upstream: apj
upstreams:
  api:
    endpoint:
      - { address: "10.0.0.5:9000" }
    attempts: many
)");
  EXPECT_THAT(problems, ElementsAre(error_at(2, 17, "it needs a unit, write `10s`, not `10`"),
                                    error_at(5, 11, "port `70000` is out of range: 0 to 65535"),
                                    error_at(6, 15, "there is no upstream `apj`"),
                                    warning_at(8, 3, "no listener uses the upstream `api`"),
                                    error_at(9, 5, "unknown key `endpoint` in `upstreams.api`"),
                                    error_at(11, 15, "`attempts` must be a whole number")));
  EXPECT_EQ(problems[2].hint, "did you mean `api`?");
  EXPECT_EQ(problems[4].hint, "did you mean `endpoints`?");
}

TEST(Reader, GivesNoConfigurationWithAnError) {
  EXPECT_FALSE(load(replaced(smallest, "upstream: api", "upstream: apj")).config);
  EXPECT_FALSE(load("").config);
}

TEST(Reader, GivesAConfigurationWithWarnings) {
  const LoadResult result =
      load(smallest + "  spare: { endpoints: [ { address: \"[::1]:1\" } ] }\n");
  EXPECT_TRUE(result.config);
  EXPECT_THAT(result.problems, ElementsAre(warning_at(10, 3, "no listener uses")));
}

TEST(Reader, NamesWhatIsMissing) {
  EXPECT_THAT(problems_of("workers: 1\n"),
              ElementsAre(error_at(1, 1, "has no `version`"), error_at(1, 1, "has no `listeners`"),
                          error_at(1, 1, "has no `upstreams`")));
  EXPECT_THAT(
      problems_of("version: 1\nlisteners: {}\nupstreams:\n"),
      ElementsAre(error_at(2, 1, "`listeners` is empty"), error_at(3, 1, "`upstreams` is empty")));
  EXPECT_THAT(problems_of(replaced(smallest, "      - { address: \"10.0.0.5:9000\" }\n", "")),
              ElementsAre(error_at(8, 5, "`upstreams.api.endpoints` is empty")));
  EXPECT_THAT(problems_of(replaced(smallest, "\"127.0.0.1:8443\"", "[]")),
              ElementsAre(error_at(4, 5, "`listeners.web.bind` is empty")));
  EXPECT_THAT(problems_of(replaced(smallest, "    bind: \"127.0.0.1:8443\"\n", "")),
              ElementsAre(error_at(3, 3, "`listeners.web` has no `bind`")));
}

TEST(Reader, RefusesAnEmptyFileAndWhatIsNoMap) {
  EXPECT_THAT(problems_of(""), ElementsAre(error_at(0, 0, "the file is empty")));
  EXPECT_THAT(problems_of("# nothing\n"), ElementsAre(error_at(0, 0, "the file is empty")));
  EXPECT_THAT(problems_of("- a\n"), ElementsAre(error_at(1, 1, "not a list")));
  EXPECT_THAT(problems_of("key:value\n"), ElementsAre(error_at(1, 1, "must be a map of keys")));
}

TEST(Reader, RefusesWrongTypes) {
  const auto problem_of_pool = [](const std::string& line) {
    return problems_of(smallest + "    pool:\n      " + line + "\n");
  };
  EXPECT_THAT(problem_of_pool("max_idle: many"), ElementsAre(error_at(11, 17, "not `many`")));
  EXPECT_THAT(problem_of_pool("max_idle: \"5\""), ElementsAre(error_at(11, 17, "in quotes")));
  EXPECT_THAT(problem_of_pool("max_idle: 1.5"), ElementsAre(error_at(11, 17, "whole number")));
  EXPECT_THAT(problem_of_pool("max_idle: 0x10"), ElementsAre(error_at(11, 17, "whole number")));
  EXPECT_THAT(problem_of_pool("max_idle: 1e3"), ElementsAre(error_at(11, 17, "whole number")));
  EXPECT_THAT(problem_of_pool("max_idle: 017"), ElementsAre(error_at(11, 17, "octal")));
  EXPECT_THAT(problem_of_pool("max_idle: -1"), ElementsAre(error_at(11, 17, "out of range")));
  EXPECT_THAT(problem_of_pool("max_idle: 99999999999999999999"),
              ElementsAre(error_at(11, 17, "out of range")));
  EXPECT_THAT(problem_of_pool("max_idle: [5]"), ElementsAre(error_at(11, 17, "not a list")));
  EXPECT_THAT(problem_of_pool("max_idle: {a: 5}"), ElementsAre(error_at(11, 17, "not a map")));
  EXPECT_THAT(problem_of_pool("max_idle:"), ElementsAre(error_at(11, 7, "has no value")));
  EXPECT_THAT(problem_of_pool("mode: fesh"), ElementsAre(error_at(11, 13, "`fesh` is no value")));
  EXPECT_THAT(problems_of(smallest + "    pool: 5\n"),
              ElementsAre(error_at(10, 11, "`upstreams.api.pool` must be a map")));
  EXPECT_THAT(problems_of(smallest + "    tls:\n"),
              ElementsAre(error_at(10, 5, "`upstreams.api.tls` has no value")));
  EXPECT_THAT(problems_of(smallest + "    tls: { verify: maybe }\n"),
              ElementsAre(error_at(10, 20, "`true` or `false`")));
  EXPECT_THAT(problems_of(replaced(smallest, "{ address: \"10.0.0.5:9000\" }", "\"1.2.3.4:5\"")),
              ElementsAre(error_at(9, 9, "`upstreams.api.endpoints[0]` must be a map")));
}

TEST(Reader, ShowsAListIsNeeded) {
  const auto problems = problems_of(smallest + "    tls: { alpn: h2 }\n");
  EXPECT_THAT(problems, ElementsAre(error_at(10, 18, "must be a list")));
  EXPECT_EQ(problems[0].hint, "write `alpn: [h2]`");
}

TEST(Reader, ChecksRanges) {
  const auto endpoint = [](const std::string& more) {
    return problems_of(replaced(smallest, "9000\" }", "9000\", " + more + " }"));
  };
  EXPECT_THAT(endpoint("weight: 257"), ElementsAre(error_at(9, 45, "it must be 0 to 256")));
  EXPECT_THAT(endpoint("tier: 16"), ElementsAre(error_at(9, 43, "it must be 0 to 15")));
  const auto top = [](const std::string& line) { return problems_of(line + "\n" + smallest); };
  EXPECT_THAT(top("workers: 0"), ElementsAre(error_at(1, 10, "it must be 1 to 1024, or `auto`")));
  EXPECT_THAT(top("workers: 1025"), ElementsAre(error_at(1, 10, "out of range")));
  EXPECT_THAT(top("limits: { handshakes: 0 }"), ElementsAre(error_at(1, 23, "out of range")));
  EXPECT_THAT(top("drain: { timeout: 8761h }"), ElementsAre(error_at(1, 19, "out of range")));
  const auto upstream = [](const std::string& line) {
    return problems_of(smallest + "    " + line + "\n");
  };
  EXPECT_THAT(upstream("attempts: 0"), ElementsAre(error_at(10, 15, "it must be 1 to 16")));
  EXPECT_THAT(upstream("attempts: 17"), ElementsAre(error_at(10, 15, "it must be 1 to 16")));
  EXPECT_THAT(upstream("connect_timeout: 0"), ElementsAre(error_at(10, 22, "out of range")));
  EXPECT_THAT(upstream("tls_timeout: off"), ElementsAre(error_at(10, 18, "not a duration")));
  EXPECT_THAT(upstream("pool: { max_opening: 0 }"), ElementsAre(error_at(10, 26, "out of range")));
  EXPECT_THAT(problems_of(replaced(smallest, "version: 1", "version: 2")),
              ElementsAre(error_at(1, 10, "it must be 1")));
  EXPECT_THAT(problems_of(replaced(smallest, "9000", "0")), ElementsAre(error_at(9, 20, "port 0")));
}

TEST(Reader, AcceptsZeroAndOffWhereTheySwitchOff) {
  const Config config = config_of(
      "drain: { delay: 0, timeout: off }\nlimits: { connections: off }\n"
      "admin: off\naccess_log: off\n" +
      replaced(smallest, "    upstream: api",
               "    upstream: api\n    tls: off\n    timeouts: { idle: off, session: 0 }"));
  EXPECT_EQ(config.drain.timeout, 0s);
  EXPECT_FALSE(config.admin.bind);
  EXPECT_EQ(config.access_log.path, "off");
  EXPECT_EQ(config.listeners[0].timeouts.idle, 0s);
  EXPECT_FALSE(config_of("admin: { bind: off }\n" + smallest).admin.bind);
  EXPECT_EQ(config_of("access_log: { path: off }\n" + smallest).access_log.path, "off");
}

TEST(Reader, AcceptsBooleansAsPeopleWriteThem) {
  for (const char* text : {"false", "off", "no", "False", "OFF"}) {
    const auto config =
        load(smallest + "    tls: { server_name: a.example, verify: " + text + " }\n").config;
    EXPECT_FALSE(config.value().upstreams[0].tls->verify) << text;
  }
}

TEST(Reader, RefusesBadNames) {
  EXPECT_THAT(problems_of(replaced(smallest, "  web:", "  Web:")),
              ElementsAre(error_at(3, 3, "`Web` is not a valid name")));
  EXPECT_THAT(problems_of(replaced(smallest, "  web:", "  -web:")),
              ElementsAre(error_at(3, 3, "`-web` is not a valid name")));
  EXPECT_THAT(problems_of(replaced(smallest, "  web:", "  " + std::string(64, 'a') + ":")),
              ElementsAre(error_at(3, 3, "is not a valid name")));
  EXPECT_TRUE(load(replaced(smallest, "  web:", "  " + std::string(63, 'a') + ":")).config);
}

TEST(Reader, ReadsServerNamePatterns) {
  const auto with_names = [](const std::string& names) {
    return "tls: {a: {certificates: [{cert: /dev/null, key: /dev/null}]}}\n" +
           replaced(
               smallest, "    upstream: api",
               "    tls: a\n    routes: [{match: {server_name: " + names + "}, upstream: api}]");
  };
  const Config config = config_of(with_names("[\"*.Example.COM\", a_b.example]"));
  EXPECT_THAT(config.listeners[0].routes[0].match.server_name,
              ElementsAre("*.example.com", "a_b.example"));
  for (const char* bad : {"\"*\"", "\"*.\"", "\"a.*.b\"", "\"a..b\"", "\"-a.b\"", "a.b.", "\"\"",
                          "\"a b\"", "\xC3\xA9.example", "\"*a.example\""}) {
    EXPECT_THAT(problems_of(with_names(bad)),
                ElementsAre(IsProblem(Problem::Severity::error, 7, 36, "")))
        << bad;
  }
}

TEST(Reader, ResolvesPathsAgainstTheFile) {
  const TemporaryFile file("resolved.log");
  const std::string name = file.path().substr(file.path().rfind('/') + 1);
  const std::string directory = file.path().substr(0, file.path().rfind('/'));
  const LoadResult result =
      load_text("access_log: { path: " + name + " }\n" + smallest, directory + "/weir.yaml");
  ASSERT_TRUE(result.config);
  EXPECT_EQ(result.config->access_log.path, file.path());
  EXPECT_EQ(config_of("access_log: { path: /var/log/a }\n" + smallest).access_log.path,
            "/var/log/a");
  EXPECT_EQ(config_of("access_log: { path: a.log }\n" + smallest).access_log.path, "a.log");
}

TEST(Reader, ReadsAFile) {
  const TemporaryFile file("whole.yaml", smallest);
  EXPECT_TRUE(load_file(file.path()).config);
  const LoadResult absent = load_file("/nonexistent/weir.yaml");
  EXPECT_FALSE(absent.config);
  EXPECT_EQ(render(absent.problems, false),
            "/nonexistent/weir.yaml: error: cannot read the configuration: No such file or "
            "directory\n");
  EXPECT_THAT(load_file("/").problems, ElementsAre(error_at(0, 0, "Is a directory")));
}

}  // namespace
}  // namespace weir::config
