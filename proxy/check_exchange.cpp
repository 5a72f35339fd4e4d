#include "proxy/check_exchange.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/asio/buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>

#include "config/diagnostic.hpp"

namespace weir::proxy {
namespace {

namespace http = boost::beast::http;

constexpr std::string_view ping = "PING\r\n";
constexpr std::string_view pong = "+PONG\r\n";
// A server that wants a password first is alive.
constexpr std::string_view no_authentication = "-NOAUTH";

// The start of an answer, so that a log line stays one.
std::string quoted(std::string_view answer) {
  std::string text;
  for (const char c : answer.substr(0, 60)) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte < 0x7f) {
      text += c;
    } else {
      text += fmt::format("\\x{:02x}", byte);
    }
  }
  return text;
}

Judgement begins_with(std::string_view answer, std::string_view expected) {
  if (answer.starts_with(expected)) return {Verdict::good, {}};
  if (expected.starts_with(answer)) return {Verdict::incomplete, {}};
  return {Verdict::bad, fmt::format("answered \"{}\"", quoted(answer))};
}

Judgement judge_http(const config::HttpCheck& check, std::string_view answer) {
  http::response_parser<http::empty_body> parser;
  parser.header_limit(16 * 1024);
  boost::system::error_code error;
  parser.put(boost::asio::buffer(answer.data(), answer.size()), error);
  // Interim responses (100 and the like) are none to judge, and nobody asked for them.
  if (!parser.is_header_done()) {
    if (!error || error == http::error::need_more) return {Verdict::incomplete, {}};
    return {Verdict::bad, "no HTTP response: " + error.message()};
  }
  const unsigned status = parser.get().result_int();
  if (std::ranges::find(check.expect, status) != check.expect.end()) return {Verdict::good, {}};
  return {Verdict::bad, fmt::format("answered HTTP status {}", status)};
}

}  // namespace

std::string question(const config::HealthCheck& check, std::string_view host) {
  switch (check.type) {
    case config::CheckType::http:
      return fmt::format(
          "{} {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: weir\r\nConnection: close\r\n\r\n",
          check.http.method, check.http.path, check.http.host.empty() ? host : check.http.host);
    case config::CheckType::exchange:
      return check.exchange->send;
    case config::CheckType::redis:
      return std::string(ping);
    case config::CheckType::tcp:
    case config::CheckType::tls:
      break;
  }
  return {};
}

Judgement judge(const config::HealthCheck& check, std::string_view answer) {
  switch (check.type) {
    case config::CheckType::http:
      return judge_http(check.http, answer);
    case config::CheckType::exchange:
      return begins_with(answer, check.exchange->expect);
    case config::CheckType::redis: {
      Judgement judgement = begins_with(answer, pong);
      if (judgement.verdict != Verdict::bad) return judgement;
      const Judgement wants_password = begins_with(answer, no_authentication);
      return wants_password.verdict == Verdict::bad ? judgement : wants_password;
    }
    case config::CheckType::tcp:
    case config::CheckType::tls:
      break;
  }
  return {Verdict::good, {}};
}

}  // namespace weir::proxy
