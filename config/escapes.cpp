#include "config/escapes.hpp"

#include <fmt/format.h>

#include <charconv>

#include "config/diagnostic.hpp"

namespace weir::config {

std::expected<std::string, std::string> parse_escapes(std::string_view text) {
  std::string bytes;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] != '\\') {
      bytes += text[i];
      continue;
    }
    const char kind = ++i < text.size() ? text[i] : '\0';
    switch (kind) {
      case 'r':
        bytes += '\r';
        break;
      case 'n':
        bytes += '\n';
        break;
      case 't':
        bytes += '\t';
        break;
      case '\\':
        bytes += '\\';
        break;
      case 'x': {
        const std::string_view digits = text.substr(i + 1, 2);
        unsigned value = 0;
        const auto [end, error] =
            std::from_chars(digits.data(), digits.data() + digits.size(), value, 16);
        if (error != std::errc{} || end != digits.data() + 2) {
          return std::unexpected(
              fmt::format("{}: `\\x` needs two hexadecimal digits after it", in_backticks(text)));
        }
        bytes += static_cast<char>(value);
        i += 2;
        break;
      }
      default:
        return std::unexpected(fmt::format(
            "{} has an unknown escape: there are \\r \\n \\t \\\\ and \\xNN", in_backticks(text)));
    }
  }
  return bytes;
}

}  // namespace weir::config
