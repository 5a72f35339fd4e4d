#include "config/identity.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "config/diagnostic.hpp"
#include "config/host_name.hpp"

namespace weir::config {
namespace {

constexpr std::size_t longest_pattern = 2048;

std::unexpected<IdentityMistake> mistake(std::string message, std::string hint = {}) {
  return std::unexpected(IdentityMistake{std::move(message), std::move(hint)});
}

std::unexpected<IdentityMistake> without_kind(std::string_view text) {
  const std::string hint =
      text.contains("://") ? fmt::format("write {}", in_backticks(fmt::format("uri:{}", text)))
                           : fmt::format("write {} or {}", in_backticks(fmt::format("cn:{}", text)),
                                         in_backticks(fmt::format("dns:{}", text)));
  return mistake(fmt::format("{} does not say which name of a certificate it is about: it must "
                             "start with `cn:`, `dns:` or `uri:`",
                             in_backticks(text)),
                 hint);
}

bool has_controls(std::string_view text) {
  return std::ranges::any_of(
      text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; });
}

// RFC 3986, 3.1. The scheme of a pattern has no `*`: what stands before it is what is meant.
bool starts_with_scheme(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon == std::string_view::npos || colon == 0) return false;
  const std::string_view scheme = text.substr(0, colon);
  return std::isalpha(static_cast<unsigned char>(scheme.front())) != 0 &&
         std::ranges::all_of(scheme, [](unsigned char c) {
           return c < 0x80U && (std::isalnum(c) != 0 || c == '+' || c == '-' || c == '.');
         });
}

}  // namespace

std::string IdentityPattern::text() const {
  constexpr std::string_view kinds[] = {"cn", "dns", "uri"};
  return fmt::format("{}:{}", kinds[static_cast<std::size_t>(kind)], value);
}

std::expected<IdentityPattern, IdentityMistake> parse_identity_pattern(std::string_view text) {
  const std::size_t colon = text.find(':');
  const std::string_view kind = text.substr(0, colon);
  if (colon == std::string_view::npos || (kind != "cn" && kind != "dns" && kind != "uri")) {
    return without_kind(text);
  }
  const std::string_view value = text.substr(colon + 1);
  if (value.empty()) return mistake(fmt::format("{} names nobody", in_backticks(text)));
  if (value.size() > longest_pattern || has_controls(value)) {
    return mistake(
        fmt::format("{} is no name of a certificate: it has up to {} bytes, and no "
                    "control characters",
                    in_backticks(text), longest_pattern));
  }
  if (kind == "cn") return IdentityPattern{IdentityPattern::Kind::common_name, std::string(value)};
  if (kind == "uri") {
    const bool is_visible = std::ranges::all_of(value, [](char c) { return c > ' ' && c < 0x7f; });
    if (is_visible && starts_with_scheme(value)) {
      return IdentityPattern{IdentityPattern::Kind::uri, std::string(value)};
    }
    return mistake(fmt::format("{} is no URI: it starts with its scheme, and has neither spaces "
                               "nor letters beyond ASCII",
                               in_backticks(value)),
                   "such as `uri:spiffe://example/ns/*`");
  }
  if (value == "*") {
    return mistake("`dns:*` would stand for every name",
                   "name a domain, such as `dns:*.svc.example`");
  }
  auto name = parse_server_name_pattern(value);
  if (!name) return mistake(name.error());
  return IdentityPattern{IdentityPattern::Kind::dns, std::move(*name)};
}

}  // namespace weir::config
