#include "proxy/access_log_format.hpp"

#include <fmt/chrono.h>
#include <fmt/format.h>

#include <iterator>

namespace weir::proxy {
namespace {

// Length of the UTF-8 sequence at the front, 0 when it is broken: RFC 3629, section 4.
std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  std::size_t length = 0;
  if (first >= 0xC2 && first <= 0xDF) length = 2;
  if (first >= 0xE0 && first <= 0xEF) length = 3;
  if (first >= 0xF0 && first <= 0xF4) length = 4;
  if (length == 0 || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((byte(i) & 0xC0) != 0x80) return 0;
  }
  const bool overlong = (first == 0xE0 && byte(1) < 0xA0) || (first == 0xF0 && byte(1) < 0x90);
  const bool no_character = (first == 0xED && byte(1) > 0x9F) || (first == 0xF4 && byte(1) > 0x8F);
  return overlong || no_character ? 0 : length;
}

class JsonLine {
 public:
  explicit JsonLine(std::string& to) : to_(to) { to_ += '{'; }
  void finish() { to_ += "}\n"; }

  void text(std::string_view key, std::string_view value) {
    begin(key);
    append_json_text(to_, value);
  }
  void number(std::string_view key, std::uint64_t value) {
    begin(key);
    fmt::format_to(std::back_inserter(to_), "{}", value);
  }
  void boolean(std::string_view key, bool value) {
    begin(key);
    to_ += value ? "true" : "false";
  }
  void seconds(std::string_view key, std::chrono::nanoseconds value) {
    begin(key);
    if (value.count() < 0) {
      to_ += "null";
    } else {
      fmt::format_to(std::back_inserter(to_), "{:.6f}",
                     std::chrono::duration<double>(value).count());
    }
  }

 private:
  void begin(std::string_view key) {
    if (!first_) to_ += ',';
    first_ = false;
    to_ += '"';
    to_ += key;
    to_ += "\":";
  }

  std::string& to_;
  bool first_ = true;
};

void append_json(std::string& to, const ConnectionFacts& facts) {
  JsonLine line(to);
  line.text("time", timestamp(facts.accepted_at));
  line.number("id", facts.id);
  line.text("listener", facts.listener);
  line.text("route", facts.route);
  line.text("client", facts.client.text());
  line.text("server_name", facts.server_name);
  line.text("alpn", facts.alpn);
  line.text("upstream", facts.upstream);
  line.text("endpoint", facts.endpoint_name());
  line.text("source", word(facts.source));
  line.text("side", word(facts.outcome.side));
  line.text("reason", word(facts.outcome.reason));
  line.text("detail", facts.detail);
  line.seconds("duration_seconds", facts.age);
  line.seconds("handshake_seconds", facts.handshake);
  line.seconds("acquire_seconds", facts.acquire);
  line.seconds("first_byte_seconds", facts.first_byte);
  line.number("received_bytes", facts.client_received);
  line.number("sent_bytes", facts.client_sent);
  line.number("server_received_bytes", facts.server_received);
  line.number("server_sent_bytes", facts.server_sent);
  line.number("attempts", facts.attempts);
  line.text("tls_version", facts.tls_version);
  line.text("tls_cipher", facts.tls_cipher);
  line.boolean("tls_resumed", facts.tls_resumed);
  line.text("client_identity", facts.client_identity);
  line.finish();
}

std::string plain(std::string_view text) {
  if (text.empty()) return "-";
  std::string result;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte <= 0x20 || byte >= 0x7F) {
      fmt::format_to(std::back_inserter(result), "\\x{:02x}", byte);
    } else {
      result += c;
    }
  }
  return result;
}

void append_text(std::string& to, const ConnectionFacts& facts) {
  fmt::format_to(
      std::back_inserter(to),
      "{} {} {} -> {}/{} {} {:.3f}s in={} out={} id={} sni={} tls={}{}{}{}{}\n",
      timestamp(facts.accepted_at), facts.listener, facts.client.text(), plain(facts.upstream),
      plain(facts.endpoint_name()), word(facts.outcome.reason),
      std::chrono::duration<double>(facts.age).count(), facts.client_received, facts.client_sent,
      facts.id, plain(facts.server_name), plain(facts.tls_version),
      facts.client_identity.empty() ? "" : " identity=",
      facts.client_identity.empty() ? "" : plain(facts.client_identity),
      facts.detail.empty() ? "" : " detail=", facts.detail.empty() ? "" : plain(facts.detail));
}

}  // namespace

void append_line(std::string& to, const ConnectionFacts& facts, config::LogFormat format) {
  if (format == config::LogFormat::json) {
    append_json(to, facts);
  } else {
    append_text(to, facts);
  }
}

void append_json_text(std::string& to, std::string_view text) {
  to += '"';
  while (!text.empty()) {
    const std::size_t length = utf8_length(text);
    const char c = text[0];
    if (length == 0) {
      to += "\\ufffd";
    } else if (c == '"' || c == '\\') {
      to += '\\';
      to += c;
    } else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F) {
      fmt::format_to(std::back_inserter(to), "\\u{:04x}", static_cast<unsigned>(c));
    } else {
      to += text.substr(0, length);
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  to += '"';
}

std::string timestamp(std::chrono::system_clock::time_point time) {
  const auto since = std::chrono::floor<std::chrono::milliseconds>(time.time_since_epoch()).count();
  return fmt::format("{:%Y-%m-%dT%H:%M:%S}.{:03}Z",
                     fmt::gmtime(std::chrono::system_clock::to_time_t(time)), since % 1000);
}

}  // namespace weir::proxy
