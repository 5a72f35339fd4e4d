// What a health check says, and what it makes of the answers.

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "proxy/check_exchange.hpp"

namespace weir::proxy {
namespace {

using testing::HasSubstr;

config::HealthCheck check(config::CheckType type) {
  config::HealthCheck result;
  result.type = type;
  return result;
}

// Every prefix of a good answer says that more has to come.
void expect_good(const config::HealthCheck& config, std::string_view answer,
                 std::size_t decided_at) {
  for (std::size_t size = 0; size < decided_at; ++size) {
    EXPECT_EQ(judge(config, answer.substr(0, size)).verdict, Verdict::incomplete) << size;
  }
  EXPECT_EQ(judge(config, answer).verdict, Verdict::good);
}

TEST(HealthCheck, IsGoodWithoutAWordWhereAConnectionIsEnough) {
  EXPECT_EQ(question(check(config::CheckType::tcp), "10.0.0.1:80"), "");
  EXPECT_EQ(judge(check(config::CheckType::tls), "").verdict, Verdict::good);
}

TEST(HealthCheck, AsksOverHttp) {
  config::HealthCheck config = check(config::CheckType::http);
  EXPECT_EQ(question(config, "10.0.0.1:80"),
            "GET /healthz HTTP/1.1\r\nHost: 10.0.0.1:80\r\nUser-Agent: weir\r\n"
            "Connection: close\r\n\r\n");
  config.http = {.path = "/up", .host = "api", .method = "HEAD", .expect = {200, 204}};
  EXPECT_THAT(question(config, "10.0.0.1:80"),
              testing::StartsWith("HEAD /up HTTP/1.1\r\nHost: api"));
}

TEST(HealthCheck, JudgesAnHttpStatusOnceTheHeaderIsThere) {
  const auto config = check(config::CheckType::http);
  const std::string_view good = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n";
  expect_good(config, good, good.size());
  EXPECT_EQ(judge(config, "HTTP/1.0 200 OK\r\n\r\nthe body goes on").verdict, Verdict::good);
  const Judgement bad = judge(config, "HTTP/1.1 503 Service Unavailable\r\n\r\n");
  EXPECT_EQ(bad.verdict, Verdict::bad);
  EXPECT_THAT(bad.why, HasSubstr("503"));
}

TEST(HealthCheck, RefusesWhatIsNoHttp) {
  const auto config = check(config::CheckType::http);
  for (const char* answer :
       {"SSH-2.0-OpenSSH_9.2\r\n", "HTTP/1.1 abc\r\n\r\n", "HTTP/9.9 200 OK\r\n\r\n"}) {
    EXPECT_EQ(judge(config, answer).verdict, Verdict::bad) << answer;
  }
  EXPECT_EQ(judge(config, "HTTP/1.1 200 OK\r\nA: " + std::string(20'000, 'a')).verdict,
            Verdict::bad);
}

TEST(HealthCheck, TakesAnAnswerThatBeginsAsExpected) {
  config::HealthCheck config = check(config::CheckType::exchange);
  config.exchange = config::Exchange{.send = "STAT\r\n", .expect = "OK"};
  EXPECT_EQ(question(config, ""), "STAT\r\n");
  expect_good(config, "OK and more", 2);
  const Judgement bad = judge(config, "ERR\n");
  EXPECT_EQ(bad.verdict, Verdict::bad);
  EXPECT_EQ(bad.why, "answered \"ERR\\x0a\"");
}

TEST(HealthCheck, PingsRedis) {
  const auto config = check(config::CheckType::redis);
  EXPECT_EQ(question(config, ""), "PING\r\n");
  expect_good(config, "+PONG\r\n", 7);
  expect_good(config, "-NOAUTH Authentication required.\r\n", 7);
  EXPECT_EQ(judge(config, "-LOADING Redis is loading\r\n").verdict, Verdict::bad);
}

}  // namespace
}  // namespace weir::proxy
