#include "proxy/connection_list.hpp"

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/parse.hpp>
#include <charconv>

#include "config/diagnostic.hpp"
#include "proxy/access_log_format.hpp"

namespace weir::proxy {
namespace {

namespace json = boost::json;

constexpr std::size_t largest_limit = 100'000;

double seconds(std::chrono::nanoseconds duration) {
  return std::chrono::duration<double>(duration).count();
}

json::value seconds_or_null(std::chrono::nanoseconds duration) {
  return duration.count() < 0 ? json::value(nullptr) : json::value(seconds(duration));
}

// A peer's bytes as valid UTF-8.
json::value untrusted(std::string_view text) {
  std::string escaped;
  append_json_text(escaped, text);
  return json::parse(escaped);
}

std::uint64_t bytes(const ConnectionFacts& facts) {
  return facts.client_received + facts.client_sent;
}

double rate(const ConnectionFacts& facts) {
  return static_cast<double>(bytes(facts)) / std::max(1e-3, seconds(facts.age));
}

// %XX and + of a query string; broken escapes stay as they are.
std::string decoded(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size(); ++i) {
    unsigned value = 0;
    const char* const digits = text.data() + i + 1;
    if (text[i] == '%' && i + 2 < text.size() &&
        std::from_chars(digits, digits + 2, value, 16).ptr == digits + 2) {
      result += static_cast<char>(value);
      i += 2;
    } else {
      result += text[i] == '+' ? ' ' : text[i];
    }
  }
  return result;
}

bool set_sort(ConnectionQuery& query, std::string_view value) {
  if (value == "bytes") {
    query.sort = ConnectionQuery::Sort::bytes;
  } else if (value == "age") {
    query.sort = ConnectionQuery::Sort::age;
  } else if (value == "rate") {
    query.sort = ConnectionQuery::Sort::rate;
  } else {
    return false;
  }
  return true;
}

bool set_limit(ConnectionQuery& query, std::string_view value) {
  const auto [end, error] = std::from_chars(value.data(), value.data() + value.size(), query.limit);
  return error == std::errc() && end == value.data() + value.size() && query.limit <= largest_limit;
}

}  // namespace

std::expected<ConnectionQuery, std::string> parse_connection_query(std::string_view query) {
  ConnectionQuery result;
  while (!query.empty()) {
    const std::string_view pair = query.substr(0, query.find('&'));
    query.remove_prefix(std::min(query.size(), pair.size() + 1));
    if (pair.empty()) continue;
    const std::size_t equals = pair.find('=');
    const std::string_view key = pair.substr(0, equals);
    const std::string value =
        equals == std::string_view::npos ? "" : decoded(pair.substr(equals + 1));
    if (value.empty()) continue;  // "limit=" is "no limit given"
    if (key == "sort") {
      if (!set_sort(result, value)) return std::unexpected("sort: one of bytes, age, rate");
    } else if (key == "limit") {
      if (!set_limit(result, value)) return std::unexpected("limit: a whole number up to 100000");
    } else if (key == "listener") {
      result.listener = value;
    } else if (key == "upstream") {
      result.upstream = value;
    } else {
      return std::unexpected("unknown parameter " + config::in_backticks(key) +
                             "; known are sort, limit, listener, upstream");
    }
  }
  return result;
}

json::object connection_json(const ConnectionFacts& facts) {
  return {{"id", facts.id},
          {"worker", facts.worker},
          {"listener", facts.listener},
          {"route", facts.route},
          {"client", facts.client.text()},
          {"server_name", untrusted(facts.server_name)},
          {"upstream", facts.upstream},
          {"endpoint", facts.endpoint_name()},
          {"state", word(facts.stage)},
          {"source", word(facts.source)},
          {"accepted_at", timestamp(facts.accepted_at)},
          {"age_seconds", seconds(facts.age)},
          {"idle_seconds", seconds(facts.idle)},
          {"handshake_seconds", seconds_or_null(facts.handshake)},
          {"acquire_seconds", seconds_or_null(facts.acquire)},
          {"first_byte_seconds", seconds_or_null(facts.first_byte)},
          {"received_bytes", facts.client_received},
          {"sent_bytes", facts.client_sent},
          {"rate_bytes_per_second", rate(facts)},
          {"tls_version", facts.tls_version},
          {"tls_cipher", facts.tls_cipher},
          {"tls_resumed", facts.tls_resumed},
          {"alpn", untrusted(facts.alpn)},
          {"client_identity", untrusted(facts.client_identity)},
          {"attempts", facts.attempts}};
}

json::value connection_list(std::vector<ConnectionFacts> all, const ConnectionQuery& query) {
  std::erase_if(all, [&](const ConnectionFacts& facts) {
    return (!query.listener.empty() && facts.listener != query.listener) ||
           (!query.upstream.empty() && facts.upstream != query.upstream);
  });
  const std::size_t total = all.size();
  std::ranges::sort(all, [&](const ConnectionFacts& a, const ConnectionFacts& b) {
    switch (query.sort) {
      case ConnectionQuery::Sort::bytes:
        return bytes(a) > bytes(b);
      case ConnectionQuery::Sort::rate:
        return rate(a) > rate(b);
      case ConnectionQuery::Sort::age:
        break;
    }
    return a.age > b.age;
  });
  if (all.size() > query.limit) all.resize(query.limit);
  json::array list;
  for (const ConnectionFacts& facts : all) list.emplace_back(connection_json(facts));
  return json::object{{"connections", std::move(list)}, {"total", total}};
}

}  // namespace weir::proxy
