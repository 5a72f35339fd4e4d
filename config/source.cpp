#include "config/source.hpp"

#include <algorithm>
#include <utility>

namespace weir::config {
namespace {

constexpr std::size_t counted_bytes = 4096;

bool starts_character(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U;
}

}  // namespace

Source::Source(std::string text, std::string file_name, int number)
    : text_(std::move(text)), file_name_(std::move(file_name)), number_(number) {
  if (text_.starts_with("\xEF\xBB\xBF")) text_.erase(0, 3);
  line_starts_.push_back(0);
  for (std::size_t i = 0; i < text_.size(); ++i) {
    if (text_[i] == '\n') line_starts_.push_back(i + 1);
  }
}

std::string_view Source::line(int number) const {
  if (number < 1 || static_cast<std::size_t>(number) > line_starts_.size()) return {};
  const auto next = static_cast<std::size_t>(number);
  const std::size_t begin = line_starts_[next - 1];
  const std::size_t end = next < line_starts_.size() ? line_starts_[next] - 1 : text_.size();
  std::string_view found = std::string_view(text_).substr(begin, end - begin);
  if (found.ends_with('\r')) found.remove_suffix(1);
  return found;
}

std::size_t Source::offset(Mark mark) const {
  if (mark.line < 1) return 0;
  if (static_cast<std::size_t>(mark.line) > line_starts_.size()) return text_.size();
  const std::size_t begin = line_starts_[static_cast<std::size_t>(mark.line) - 1];
  return std::min(text_.size(), begin + static_cast<std::size_t>(std::max(mark.column, 1)) - 1);
}

Mark Source::mark_at(std::size_t offset) const {
  const auto next = std::ranges::upper_bound(line_starts_, offset);
  const auto line = next - line_starts_.begin();
  return mark(static_cast<int>(line), static_cast<int>(offset - *std::prev(next)) + 1);
}

Place Source::place(Mark mark) const {
  if (mark.line < 1) return {file_name_, 0, 0};
  const std::size_t bytes = static_cast<std::size_t>(std::max(mark.column, 1)) - 1;
  const std::string_view before = line(mark.line).substr(0, std::min(bytes, counted_bytes));
  const auto characters = std::ranges::count_if(before, starts_character);
  const auto uncounted = bytes - before.size();
  return {file_name_, mark.line, static_cast<int>(characters) + static_cast<int>(uncounted) + 1};
}

const Source& Sources::add(std::string text, std::string file_name) {
  return all_.emplace_back(std::move(text), std::move(file_name), static_cast<int>(all_.size()));
}

std::size_t Sources::find(std::string_view file_name) const {
  const auto found = std::ranges::find(all_, file_name, &Source::file_name);
  return static_cast<std::size_t>(found - all_.begin());
}

}  // namespace weir::config
