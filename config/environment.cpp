#include "config/environment.hpp"

#include <fmt/format.h>

#include <cstdlib>

namespace weir::config {
namespace {

constexpr std::size_t longest_value = 64U << 10U;

constexpr std::string_view name_characters =
    "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_";

bool is_name(std::string_view text) {
  return !text.empty() && text.find_first_not_of(name_characters) == std::string_view::npos &&
         !(text.front() >= '0' && text.front() <= '9');
}

// `inside` is what stands between the braces.
std::expected<std::string, std::string> look_up(std::string_view inside) {
  const std::size_t mark = inside.find(":-");
  const std::string name(inside.substr(0, mark));
  if (!is_name(name)) {
    return std::unexpected(fmt::format("{} is not the name of an environment variable",
                                       in_backticks(fmt::format("${{{}}}", inside))));
  }
  const char* value = std::getenv(name.c_str());  // NOLINT(concurrency-mt-unsafe)
  if (value != nullptr && (*value != '\0' || mark == std::string_view::npos)) return value;
  if (mark != std::string_view::npos) return std::string(inside.substr(mark + 2));
  return std::unexpected(
      fmt::format("the environment variable `{0}` is not set, and `${{{0}}}` "
                  "has no default",
                  name));
}

}  // namespace

std::expected<std::string, std::string> substitute(std::string_view text) {
  std::string result;
  for (std::size_t i = 0; i < text.size();) {
    const std::string_view rest = text.substr(i);
    if (rest.starts_with("$${")) {
      result += "${";
      i += 3;
    } else if (rest.starts_with("${")) {
      const std::size_t end = rest.find('}');
      if (end == std::string_view::npos) {
        return std::unexpected(std::string("`${` is not closed; for the text itself write `$${`"));
      }
      const auto value = look_up(rest.substr(2, end - 2));
      if (!value) return value;
      result += *value;
      i += end + 1;
    } else {
      result += text[i++];
    }
    if (result.size() > longest_value && result.size() > text.size()) {
      return std::unexpected(fmt::format("the value grows beyond {} KiB", longest_value >> 10U));
    }
  }
  return result;
}

void substitute_all(Node& node, Report& report) {
  if (node.text.find("${") != std::string::npos && !node.is_faulty) {
    auto replaced = substitute(node.text);
    if (replaced) {
      node.text = std::move(*replaced);
      node.is_text = false;
    } else {
      report.error(node.mark, replaced.error(), "`${NAME:-default}` sets a default");
      node.is_faulty = true;
    }
  }
  for (Node& item : node.items) substitute_all(item, report);
  for (Entry& entry : node.entries) substitute_all(entry.value, report);
}

}  // namespace weir::config
