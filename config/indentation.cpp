#include "config/indentation.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <string_view>

namespace weir::config {
namespace {

bool is_significant(std::string_view line) {
  const std::size_t first = line.find_first_not_of(" \t");
  return first != std::string_view::npos && line[first] != '#';
}

int indentation_of(const Source& source, int line) {
  const std::string_view text = source.line(line);
  return static_cast<int>(std::min(text.find_first_not_of(' '), text.size()));
}

// By how much a line is mostly indented more than the one above it; of two the smaller one.
int usual_step(const Source& source, int last_line) {
  std::map<int, int> times;
  int above = 0;
  for (int line = 1; line <= last_line; ++line) {
    if (!is_significant(source.line(line))) continue;
    const int indentation = indentation_of(source, line);
    if (indentation > above) ++times[indentation - above];
    above = indentation;
  }
  const auto most = std::ranges::max_element(
      times, {}, [](const std::pair<const int, int>& each) { return each.second; });
  return most == times.end() ? 0 : most->first;
}

// The last line above that is indented at most by `most`; 0 when there is none.
int outside_of(const Source& source, int line, int most) {
  for (--line; line > 0; --line) {
    if (is_significant(source.line(line)) && indentation_of(source, line) <= most) break;
  }
  return line;
}

int next_significant(const Source& source, int line) {
  do {
    ++line;
  } while (!is_significant(source.line(line)));
  return line;
}

// The line to blame when that of `mark` is indented as the rest of the file is; else 0. It is the
// beginning of the block before, or the key of that block.
int odd_line_above(const Source& source, Mark mark) {
  if (!is_significant(source.line(mark.line))) return 0;
  const int indentation = indentation_of(source, mark.line);
  const int outside = outside_of(source, mark.line, indentation);
  const int begin = next_significant(source, outside);
  const int outer_indentation = outside == 0 ? 0 : indentation_of(source, outside);
  if (begin == mark.line || (outside != 0 && outer_indentation == indentation)) return 0;
  const int step = usual_step(source, mark.line);
  if (indentation == 0 || indentation - outer_indentation == step) return begin;
  const int further = outside_of(source, outside, outer_indentation - 1);
  return further != 0 && indentation - indentation_of(source, further) == step ? outside : 0;
}

}  // namespace

bool report_indentation(const Source& source, Mark mark, Report& report) {
  const int odd = odd_line_above(source, mark);
  if (odd == 0) return false;
  const int indentation = indentation_of(source, odd);
  report.error(source.mark(odd, indentation + 1),
               fmt::format("this line is indented by {}, and line {} below it by {}", indentation,
                           mark.line, indentation_of(source, mark.line)),
               "keys of one map start in the same column; is a line missing above?");
  return true;
}

}  // namespace weir::config
