#include "config/json_schema.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <regex>

#include "config/meaning.hpp"
#include "config/pattern.hpp"
#include "config/value.hpp"

namespace weir::config {
namespace {

using testing::HasSubstr;

std::size_t count(const std::string& text, const std::string& what) {
  std::size_t found = 0;
  for (std::size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1)) {
    ++found;
  }
  return found;
}

const Key& key_at(std::string_view path) {
  return *std::ranges::find(all_keys(), path, &Key::path);
}

TEST(JsonSchema, DescribesEveryKey) {
  EXPECT_EQ(count(json_schema(), "\"description\": \""), all_keys().size());
}

TEST(JsonSchema, HasEveryDefault) {
  const auto written =
      std::ranges::count_if(all_keys(), [](const Key& key) { return !key.standard.empty(); });
  EXPECT_EQ(count(json_schema(), "\"default\": "), static_cast<std::size_t>(written));
}

TEST(JsonSchema, LetsAVariableStandForEveryValue) {
  // Once more for the lists of one or more, and not for values that can only be left out.
  std::size_t expected = 0;
  for (const Key& key : all_keys()) {
    const bool is_value =
        key.type != Type::section && key.type != Type::named && key.type != Type::list;
    if (is_value && (key.supported || (!key.harmless.empty() && key.harmless != "[]"))) ++expected;
    if (is_value && key.many == Many::one_or_list) ++expected;
    if (!key.off_is.empty()) ++expected;
  }
  EXPECT_EQ(count(json_schema(), "{ \"$ref\": \"#/definitions/variable\" }"), expected);
}

TEST(JsonSchema, SaysWhatAKeyMeans) {
  EXPECT_EQ(meaning(key_at("limits.connections")),
            "Open client connections. `0` or `off`: what RLIMIT_NOFILE allows.");
  EXPECT_THAT(meaning(key_at("listeners.*.mode")), HasSubstr("Not supported yet: `http`."));
  EXPECT_THAT(meaning(key_at("listeners.*.allow")),
              HasSubstr("Not supported yet: leave it out, or write `[]`."));
  EXPECT_EQ(type_text(key_at("workers")), "a whole number, 1 to 1024, or `auto`");
  EXPECT_EQ(type_text(key_at("upstreams.*.dns.min")), "a duration such as `10s`, at least 10ms");
  EXPECT_EQ(type_text(key_at("listeners.*.mode")), "`tcp`");
  EXPECT_EQ(type_text(key_at("version")), "a whole number, always 1");
}

// What the reader takes, an editor must not mark as wrong; and most of the rest it should.
TEST(JsonSchema, HasPatternsThatAgreeWithTheReader) {
  struct Case {
    Type type;
    std::vector<const char*> good;
    std::vector<const char*> bad;
  };
  const Case cases[] = {
      {Type::duration,
       {"250ms", "10s", "5m", "12h", "010s"},
       {"10", "5pc", "1.5s", "", "-1s", "s"}},
      {Type::rate, {"100/s", "30/m", "10/h", "0"}, {"100", "5/d", "/s"}},
      {Type::durations, {"100ms..15s", "1s .. 2s"}, {"1s", "1s..", "0s..1s", "1..2"}},
      {Type::keepalive, {"30s,10s,3", "1s, 1s, 127"}, {"30s,10s", "30s,10s,0", "30s,10s,128"}},
      {Type::bytes, {"", "PING\\r\\n", "\\x0a\\\\", "a\r\n"}, {"\\", "\\q", "\\x0"}},
      {Type::name, {"a", "0-_", "web"}, {"", "Web", "-a", "a b", "a.b"}},
      {Type::address,
       {"0.0.0.0:0", "127.0.0.1:65535", "[::]:443", "[::ffff:1.2.3.4]:1", "unix:/a"},
       {"", ":80", "*:80", "1.2.3.4", "1.2.3.4:65536", "1.2.3.256:1", "::1:80", "[1.2.3.4]:1",
        "unix:a", "unix:/", "localhost:80", "1.2.3.4:080"}},
      {Type::endpoint,
       {"10.0.0.5:9000", "[::1]:1", "db.internal:5432", "db.internal.:5432", "unix:/run/a.sock",
        "srv:_redis._tcp.cache.internal", "srv:a.", "a_b:1", "1.a:80"},
       {"10.0.0.5:0", "db:0", "db", "db:99999", "10.0.0.300:80", "srv:", "-a:1", "a b:1"}},
      {Type::network,
       {"10.0.0.0/8", "0.0.0.0/0", "1.2.3.4", "1.2.3.4/32", "2001:db8::/32", "::1", "::/0"},
       {"", "10.0.0.0/33", "::/129", "10.0.0/8", "a/8", "10.0.0.0/-1"}},
      {Type::host_name,
       {"a", "api.example.com", "A_b.example", "10.0.0.1", "::1"},
       {"", "a b", "-a", "a.", "a..b", "*.a", "\xC3\xA9"}},
      {Type::server_name, {"*.example.com", "a.b"}, {"*", "*.", "a.*", "*a.b", "a."}},
  };
  for (const Case& each : cases) {
    const std::regex pattern(pattern_of(each.type));
    Key key = key_at("listeners");
    key.type = each.type;
    for (const char* text : each.good) {
      EXPECT_TRUE(std::regex_match(text, pattern)) << text;
      EXPECT_TRUE(parse_value(key, {text, false, ""})) << text;
    }
    for (const char* text : each.bad) {
      EXPECT_FALSE(std::regex_match(text, pattern)) << text;
      EXPECT_FALSE(parse_value(key, {text, false, ""})) << text;
    }
  }
}

TEST(JsonSchema, KnowsWhichDurationsAreZero) {
  const std::regex pattern(pattern_of_positive_duration());
  for (const char* text : {"1ms", "010s", "100h"}) EXPECT_TRUE(std::regex_match(text, pattern));
  for (const char* text : {"0s", "000ms", "0", "1"}) EXPECT_FALSE(std::regex_match(text, pattern));
}

}  // namespace
}  // namespace weir::config
