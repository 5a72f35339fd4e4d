#include "config/value.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <charconv>
#include <cmath>

#include "config/address.hpp"
#include "config/diagnostic.hpp"
#include "config/escapes.hpp"
#include "config/host_name.hpp"
#include "config/identity.hpp"
#include "config/units.hpp"

namespace weir::config {
namespace {

using Result = std::expected<Value, Mistake>;

std::unexpected<Mistake> mistake(std::string message, std::string hint = {}) {
  return std::unexpected(Mistake{std::move(message), std::move(hint)});
}

std::string lower(std::string_view text) {
  std::string lowered(text);
  std::ranges::transform(lowered, lowered.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lowered;
}

// YAML 1.1 has eleven ways to write each; these are the ones people use.
bool is_on(std::string_view text) {
  const std::string lowered = lower(text);
  return lowered == "true" || lowered == "on" || lowered == "yes";
}

bool is_off(std::string_view text) {
  const std::string lowered = lower(text);
  return lowered == "false" || lowered == "off" || lowered == "no";
}

std::string key_and_value(const Key& key, std::string_view text) {
  return in_backticks(fmt::format("{}: {}", key.last_name(), text));
}

int find_word(const std::vector<std::string_view>& words, const Scalar& scalar) {
  for (std::size_t i = 0; i < words.size(); ++i) {
    const bool means_it = !scalar.is_text && ((words[i] == "off" && is_off(scalar.text)) ||
                                              (words[i] == "on" && is_on(scalar.text)));
    if (words[i] == scalar.text || means_it) return static_cast<int>(i);
  }
  return -1;
}

// Words that are not supported yet are no mistake of spelling.
Result parse_word(const Key& key, const Scalar& scalar) {
  const auto words = split_words(key.words);
  Value value;
  value.word = find_word(words, scalar);
  value.text = scalar.text;
  if (value.word >= 0) {
    const std::string_view word = words[static_cast<std::size_t>(value.word)];
    const auto later = split_words(key.later);
    if (std::ranges::find(later, word) != later.end()) {
      return mistake(fmt::format("{} is not supported yet", key_and_value(key, word)));
    }
    value.text = word;
  } else if (key.type == Type::choice) {
    const std::string meant = did_you_mean(scalar.text, words);
    return mistake(fmt::format("{} is no value of `{}`: it must be {}", in_backticks(scalar.text),
                               key.last_name(), word_list(words)),
                   meant);
  }
  return value;
}

Result parse_boolean(const Key& key, const Scalar& scalar) {
  Value value;
  value.flag = is_on(scalar.text);
  if (scalar.is_text || (!value.flag && !is_off(scalar.text))) {
    return mistake(fmt::format("`{}` must be `true` or `false`, not {}", key.last_name(),
                               scalar.is_text ? "text in quotes" : in_backticks(scalar.text)));
  }
  return value;
}

// A limit that 0 switches off may also be written `off`.
bool is_zero_word(const Key& key, const Scalar& scalar) {
  return !key.zero.empty() && !scalar.is_text && is_off(scalar.text);
}

std::string range_text(const Key& key, const std::string& least, const std::string& most) {
  std::string text = least == most ? fmt::format("it must be {}", least)
                                   : fmt::format("it must be {} to {}", least, most);
  if (!key.words.empty()) text += fmt::format(", or {}", word_list(split_words(key.words)));
  if (!key.zero.empty() && least != "0") text += fmt::format(", or 0 ({})", key.zero);
  return text;
}

Result parse_count(const Key& key, const Scalar& scalar) {
  Value value;
  if (is_zero_word(key, scalar)) return value;
  const std::int64_t most = key.most > 0 ? key.most : largest_count;
  const std::string_view text = scalar.text;
  const auto parsed = std::from_chars(text.data(), text.data() + text.size(), value.integer);
  const std::string_view digits = text.starts_with('-') ? text.substr(1) : text;
  if (scalar.is_text || parsed.ec == std::errc::invalid_argument ||
      parsed.ptr != text.data() + text.size() || (digits.size() > 1 && digits.starts_with('0'))) {
    return mistake(fmt::format("`{}` must be {}, not {}", key.last_name(), describe(key),
                               scalar.is_text ? "text in quotes" : in_backticks(text)));
  }
  const bool fits = parsed.ec == std::errc{} && value.integer >= key.least && value.integer <= most;
  if (!fits && !(value.integer == 0 && !key.zero.empty())) {
    return mistake(fmt::format("{} is out of range: {}", key_and_value(key, text),
                               range_text(key, std::to_string(key.least), std::to_string(most))));
  }
  return value;
}

Result parse_number(const Key& key, const Scalar& scalar) {
  Value value;
  const std::string_view text = scalar.text;
  const auto parsed =
      std::from_chars(text.data(), text.data() + text.size(), value.real, std::chars_format::fixed);
  if (scalar.is_text || parsed.ec != std::errc{} || parsed.ptr != text.data() + text.size() ||
      !std::isfinite(value.real) || value.real < 0) {
    return mistake(
        fmt::format("`{}` must be {}, not {}", key.last_name(), describe(key), in_backticks(text)));
  }
  if (key.most > 0 && value.real > static_cast<double>(key.most)) {
    return mistake(
        fmt::format("{} is out of range: {}", key_and_value(key, text),
                    range_text(key, std::to_string(key.least), std::to_string(key.most))));
  }
  return value;
}

Result parse_duration_value(const Key& key, const Scalar& scalar) {
  Value value;
  if (is_zero_word(key, scalar)) return value;
  const auto duration = parse_duration(scalar.text);
  if (!duration) return mistake(duration.error());
  value.integer = duration->count();
  if (value.integer == 0 && !key.zero.empty()) return value;
  const std::int64_t least = std::max<std::int64_t>(key.least, 1);
  const std::int64_t most = key.most > 0 ? key.most : longest_duration;
  if (value.integer < least || value.integer > most) {
    return mistake(fmt::format("{} is out of range: {}", key_and_value(key, scalar.text),
                               range_text(key, duration_text(least), duration_text(most))));
  }
  return value;
}

Result parse_rate_value(const Key& key, const Scalar& scalar) {
  Value value;
  if (is_zero_word(key, scalar)) return value;
  const auto rate = parse_rate(scalar.text);
  if (!rate) return mistake(rate.error());
  value.real = *rate;
  return value;
}

std::string_view trimmed(std::string_view text) {
  const std::size_t first = text.find_first_not_of(' ');
  if (first == std::string_view::npos) return {};
  return text.substr(first, text.find_last_not_of(' ') - first + 1);
}

std::expected<Duration, Mistake> parse_part(std::string_view part) {
  auto duration = parse_duration(trimmed(part));
  if (!duration) return mistake(duration.error());
  if (duration->count() < 1 || duration->count() > longest_duration) {
    return mistake(fmt::format("{} is out of range: it must be 1ms to {}", in_backticks(part),
                               duration_text(longest_duration)));
  }
  return *duration;
}

Result parse_durations(const Key& key, const Scalar& scalar) {
  const std::size_t dots = scalar.text.find("..");
  if (dots == std::string_view::npos) {
    return mistake(fmt::format("`{}` must be {}, not {}", key.last_name(), describe(key),
                               in_backticks(scalar.text)));
  }
  const auto first = parse_part(scalar.text.substr(0, dots));
  if (!first) return std::unexpected(first.error());
  const auto most = parse_part(scalar.text.substr(dots + 2));
  if (!most) return std::unexpected(most.error());
  if (*most < *first) {
    return mistake(fmt::format("{}: the second duration is shorter than the first",
                               in_backticks(scalar.text)));
  }
  Value value;
  value.range = {*first, *most};
  return value;
}

Result parse_keepalive(const Key& key, const Scalar& scalar) {
  const std::size_t first = scalar.text.find(',');
  const std::size_t second =
      first == std::string_view::npos ? first : scalar.text.find(',', first + 1);
  if (second == std::string_view::npos) {
    return mistake(fmt::format("`{}` must be {}, not {}", key.last_name(), describe(key),
                               in_backticks(scalar.text)));
  }
  Value value;
  const std::string_view parts[] = {scalar.text.substr(0, first),
                                    scalar.text.substr(first + 1, second - first - 1)};
  Duration* const targets[] = {&value.keepalive.idle, &value.keepalive.interval};
  for (std::size_t i = 0; i < 2; ++i) {
    const auto duration = parse_part(parts[i]);
    if (!duration) return std::unexpected(duration.error());
    // The kernel counts in seconds, up to 32767.
    if (*duration < std::chrono::seconds(1) || *duration > std::chrono::seconds(32767)) {
      return mistake(
          fmt::format("{} is out of range: the kernel takes 1s to 32767s", in_backticks(parts[i])));
    }
    *targets[i] = *duration;
  }
  const std::string_view digits = trimmed(scalar.text.substr(second + 1));
  const auto [end, error] =
      std::from_chars(digits.data(), digits.data() + digits.size(), value.keepalive.count);
  if (error != std::errc{} || end != digits.data() + digits.size() || value.keepalive.count < 1 ||
      value.keepalive.count > 127) {
    return mistake(
        fmt::format("{} is no number of probes: it must be 1 to 127", in_backticks(digits)));
  }
  return value;
}

// "name:port" or "srv:name": what DNS is asked for.
Result parse_name_to_find(std::string_view text) {
  Value value;
  std::string_view host = text;
  value.kind = Endpoint::Kind::service;
  if (text.starts_with("srv:")) {
    host = text.substr(4);
  } else {
    value.kind = Endpoint::Kind::name;
    const std::size_t colon = text.rfind(':');
    host = text.substr(0, colon);
    const std::string_view port = text.substr(colon + 1);
    std::from_chars(port.data(), port.data() + port.size(), value.address.port);
    if (value.address.port == 0) {
      return mistake(fmt::format("port 0 in {} cannot be connected to", in_backticks(text)));
    }
  }
  if (host.ends_with('.')) host.remove_suffix(1);
  auto name = parse_host_name(host);
  if (!name) return mistake(name.error());
  value.address.host = std::move(*name);
  value.text = text;
  return value;
}

Result parse_address_value(const Key& key, const Scalar& scalar) {
  Value value;
  if (key.type == Type::endpoint &&
      (scalar.text.starts_with("srv:") || is_name_and_port(scalar.text))) {
    return parse_name_to_find(scalar.text);
  }
  auto address = parse_address(scalar.text);
  if (!address) return mistake(address.error());
  if (key.type == Type::endpoint && address->port == 0 &&
      address->kind != Address::Kind::unix_socket) {
    return mistake(fmt::format("port 0 in {} cannot be connected to", in_backticks(scalar.text)));
  }
  value.text = address->text();
  value.address = std::move(*address);
  return value;
}

Result parse_path(const Key& key, const Scalar& scalar) {
  if (scalar.text.empty()) return mistake(fmt::format("`{}` is an empty path", key.last_name()));
  Value value;
  value.text = scalar.text;
  if (!scalar.text.starts_with('/') && !scalar.directory.empty()) {
    value.text = fmt::format("{}{}{}", scalar.directory, scalar.directory.ends_with('/') ? "" : "/",
                             scalar.text);
  }
  return value;
}

Result parse_text(const Key& key, const Scalar& scalar) {
  Value value;
  value.text = scalar.text;
  switch (key.type) {
    case Type::name:
      if (is_valid_name(scalar.text)) return value;
      return mistake(fmt::format("{} is not a valid name", in_backticks(scalar.text)),
                     "a name has up to 63 of a-z, 0-9, `_` and `-`, the first a letter or a digit");
    case Type::protocol:
      if (!scalar.text.empty() && scalar.text.size() <= 255) return value;
      return mistake("the name of a protocol has 1 to 255 bytes");
    case Type::host_name:
    case Type::server_name: {
      auto name = key.type == Type::host_name ? parse_host_name(scalar.text)
                                              : parse_server_name_pattern(scalar.text);
      if (!name) return mistake(name.error());
      value.text = std::move(*name);
      return value;
    }
    case Type::reference:
      if (!scalar.text.empty()) return value;
      return mistake(fmt::format("`{}` is empty", key.last_name()));
    default:
      return value;
  }
}

}  // namespace

std::expected<Value, Mistake> parse_value(const Key& key, const Scalar& scalar) {
  if (!key.words.empty()) {
    auto word = parse_word(key, scalar);
    if (!word || word->word >= 0) return word;
  }
  switch (key.type) {
    case Type::boolean:
      return parse_boolean(key, scalar);
    case Type::count:
      return parse_count(key, scalar);
    case Type::number:
      return parse_number(key, scalar);
    case Type::duration:
      return parse_duration_value(key, scalar);
    case Type::rate:
      return parse_rate_value(key, scalar);
    case Type::durations:
      return parse_durations(key, scalar);
    case Type::keepalive:
      return parse_keepalive(key, scalar);
    case Type::bytes: {
      auto bytes = parse_escapes(scalar.text);
      if (!bytes) return mistake(bytes.error());
      Value value;
      value.text = std::move(*bytes);
      return value;
    }
    case Type::address:
    case Type::endpoint:
      return parse_address_value(key, scalar);
    case Type::path:
      return parse_path(key, scalar);
    case Type::identity: {
      auto identity = parse_identity_pattern(scalar.text);
      if (!identity) return mistake(identity.error().message, identity.error().hint);
      Value value;
      value.text = scalar.text;
      value.identity = std::move(*identity);
      return value;
    }
    case Type::network: {
      auto network = parse_network(scalar.text);
      if (!network) return mistake(network.error());
      Value value;
      value.text = scalar.text;
      value.network = std::move(*network);
      return value;
    }
    default:
      return parse_text(key, scalar);
  }
}

bool same_meaning(const Value& a, const Value& b) {
  return a.integer == b.integer && a.real == b.real && a.flag == b.flag && a.word == b.word;
}

std::string describe(const Key& key) {
  const std::string also =
      key.words.empty() ? "" : fmt::format(", or {}", word_list(split_words(key.words)));
  switch (key.type) {
    case Type::section:
    case Type::named:
      return "a map of keys";
    case Type::list:
      return "a list of maps";
    case Type::boolean:
      return "`true` or `false`";
    case Type::choice:
      return word_list(split_words(key.words));
    case Type::count:
      return "a whole number" + also;
    case Type::number:
      return "a number";
    case Type::duration:
      return "a duration such as `10s`" + also;
    case Type::rate:
      return "a rate such as `100/s`";
    case Type::durations:
      return "two durations such as `100ms..15s`";
    case Type::keepalive:
      return "two durations and a number such as `30s,10s,3`";
    case Type::bytes:
      return "text, with escapes such as `\\r\\n`";
    case Type::path:
      return "the path of a file" + also;
    case Type::address:
    case Type::endpoint:
      return "an address such as `127.0.0.1:8443`" + also;
    case Type::network:
      return "a network such as `10.0.0.0/8`";
    case Type::text:
      return "text";
    case Type::name:
    case Type::reference:
      return "a name" + also;
    case Type::host_name:
    case Type::server_name:
      return "a host name";
    case Type::protocol:
      return "the name of a protocol";
    case Type::identity:
      return "an identity such as `cn:build-*`, `dns:*.svc.example` or `uri:spiffe://example/*`";
  }
  return "a value";
}

std::string word_list(const std::vector<std::string_view>& words) {
  std::string list;
  for (std::size_t i = 0; i < words.size(); ++i) {
    list += fmt::format("{}`{}`", i == 0 ? "" : i + 1 == words.size() ? " or " : ", ", words[i]);
  }
  return list;
}

std::string duration_text(std::int64_t milliseconds) {
  if (milliseconds % 3'600'000 == 0) return fmt::format("{}h", milliseconds / 3'600'000);
  if (milliseconds % 60'000 == 0) return fmt::format("{}m", milliseconds / 60'000);
  if (milliseconds % 1000 == 0) return fmt::format("{}s", milliseconds / 1000);
  return fmt::format("{}ms", milliseconds);
}

bool is_valid_name(std::string_view text) {
  constexpr std::string_view letters = "abcdefghijklmnopqrstuvwxyz0123456789";
  constexpr std::string_view all = "abcdefghijklmnopqrstuvwxyz0123456789_-";
  return !text.empty() && text.size() <= 63 && letters.contains(text.front()) &&
         text.find_first_not_of(all) == std::string_view::npos;
}

}  // namespace weir::config
