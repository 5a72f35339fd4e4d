#include "config/text_check.hpp"

#include <fmt/format.h>

namespace weir::config {

// RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF.
std::size_t utf8_length(std::string_view text) {
  const auto at = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned lead = at(0);
  if (lead < 0x80U) return 1;
  const std::size_t length = lead >= 0xF0U ? 4 : lead >= 0xE0U ? 3 : 2;
  if (lead < 0xC2U || lead > 0xF4U || text.size() < length) return 0;
  for (std::size_t i = 1; i < length; ++i) {
    if ((at(i) & 0xC0U) != 0x80U) return 0;
  }
  const unsigned second = at(1);
  const bool valid = !(lead == 0xE0U && second < 0xA0U) && !(lead == 0xEDU && second > 0x9FU) &&
                     !(lead == 0xF0U && second < 0x90U) && !(lead == 0xF4U && second > 0x8FU);
  return valid ? length : 0;
}

bool check_text(const Source& source, std::size_t largest, Report& report) {
  const std::string_view text = source.text();
  if (text.size() > largest) {
    report.error(source.mark(0, 0),
                 fmt::format("the file has {} bytes; the most that is read is {} MiB", text.size(),
                             largest >> 20U));
    return false;
  }
  for (std::size_t i = 0; i < text.size();) {
    if (text[i] == '\0') {
      report.error(source.mark_at(i), "the file contains a NUL byte",
                   "is it a text file, saved as UTF-8?");
      return false;
    }
    const std::size_t length = utf8_length(text.substr(i));
    if (length == 0) {
      report.error(source.mark_at(i),
                   fmt::format("byte 0x{:02X} is not valid UTF-8",
                               static_cast<unsigned>(static_cast<unsigned char>(text[i]))),
                   "save the file as UTF-8");
      return false;
    }
    i += length;
  }
  return true;
}

std::optional<Mark> tab_before(const Source& source, Mark mark) {
  const std::string_view line = source.line(mark.line);
  for (std::size_t i = 0; i < line.size() && static_cast<int>(i) < mark.column; ++i) {
    if (line[i] == '\t') return source.mark(mark.line, static_cast<int>(i) + 1);
    if (line[i] != ' ') return std::nullopt;
  }
  return std::nullopt;
}

}  // namespace weir::config
