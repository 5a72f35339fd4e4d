#include "config/host_name.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>

#include "config/address.hpp"
#include "config/diagnostic.hpp"

namespace weir::config {
namespace {

constexpr std::size_t longest_name = 253;
constexpr std::size_t longest_label = 63;

bool is_label(std::string_view label) {
  return !label.empty() && label.size() <= longest_label && !label.starts_with('-') &&
         !label.ends_with('-') && std::ranges::all_of(label, [](unsigned char c) {
           return (c < 0x80U && std::isalnum(c) != 0) || c == '-' || c == '_';
         });
}

// What is wrong with the name, or nothing.
std::string fault(std::string_view name) {
  if (name.empty()) return "it is empty";
  if (std::ranges::any_of(name, [](char c) { return static_cast<signed char>(c) < 0; })) {
    return "write an international name in its ASCII form, `xn--...`";
  }
  if (name.ends_with('.')) return "leave the last dot out";
  if (name.contains('*')) return "a `*` can only stand for the whole first label, `*.example.com`";
  if (name.size() > longest_name) return fmt::format("it has more than {} bytes", longest_name);
  while (true) {
    const std::size_t dot = name.find('.');
    if (!is_label(name.substr(0, dot))) {
      return "its labels have 1 to 63 letters, digits, `-` and `_`";
    }
    if (dot == std::string_view::npos) return {};
    name.remove_prefix(dot + 1);
  }
}

std::expected<std::string, std::string> checked(std::string_view text, std::string_view name) {
  if (const std::string why = fault(name); !why.empty()) {
    return std::unexpected(fmt::format("{} is not a host name: {}", in_backticks(text), why));
  }
  std::string lowered(text);
  std::ranges::transform(lowered, lowered.begin(),
                         [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
  return lowered;
}

}  // namespace

std::expected<std::string, std::string> parse_host_name(std::string_view text) {
  if (!text.contains('/')) {
    if (const auto ip = parse_network(text)) return std::string(text);
  }
  return checked(text, text);
}

std::expected<std::string, std::string> parse_server_name_pattern(std::string_view text) {
  if (text == "*") {
    return std::unexpected(
        std::string("`*` alone is not needed: without `server_name` every name "
                    "matches"));
  }
  return checked(text, text.starts_with("*.") ? text.substr(2) : text);
}

}  // namespace weir::config
