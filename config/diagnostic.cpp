#include "config/diagnostic.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <cctype>
#include <numeric>
#include <ranges>
#include <tuple>
#include <utility>

#include "config/text_check.hpp"

namespace weir::config {
namespace {

constexpr std::size_t longest_quote = 80;
constexpr std::size_t longest_source_line = 160;
constexpr std::size_t longest_name = 64;
constexpr std::size_t most_candidates = 2000;

struct Colours {
  const char* bold = "";
  const char* error = "";
  const char* warning = "";
  const char* caret = "";
  const char* help = "";
  const char* plain = "";
};

constexpr Colours ansi{"\033[1m", "\033[1;31m", "\033[1;35m", "\033[1;32m", "\033[36m", "\033[0m"};

bool starts_character(char byte) {
  return (static_cast<unsigned char>(byte) & 0xC0U) != 0x80U;
}

// The number of edits, or `limit` + 1 when there are more: a letter more, less or other, or two
// neighbours that have changed places.
std::size_t edit_distance(std::string_view a, std::string_view b, std::size_t limit) {
  if (a.size() > b.size()) std::swap(a, b);
  if (b.size() - a.size() > limit) return limit + 1;
  // The rows for the beginnings of b, one letter more each; of a row, an entry for those of a.
  std::vector<std::size_t> before(a.size() + 1);
  std::vector<std::size_t> above(a.size() + 1);
  std::vector<std::size_t> row(a.size() + 1);
  std::iota(row.begin(), row.end(), std::size_t{0});
  for (std::size_t i = 1; i <= b.size(); ++i) {
    before.swap(above);
    above.swap(row);
    row[0] = i;
    for (std::size_t j = 1; j <= a.size(); ++j) {
      const std::size_t substituted = above[j - 1] + (b[i - 1] == a[j - 1] ? 0 : 1);
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, substituted});
      if (i > 1 && j > 1 && b[i - 1] == a[j - 2] && b[i - 2] == a[j - 1]) {
        row[j] = std::min(row[j], before[j - 2] + 1);
      }
    }
    if (std::ranges::min(row) > limit && std::ranges::min(above) > limit) return limit + 1;
  }
  return row.back();
}

std::string caret_line(std::string_view source_line, int column) {
  std::string line;
  int characters = 1;
  for (const char byte : source_line) {
    if (!starts_character(byte)) continue;
    if (characters++ >= column) break;
    // A tab under a tab is as wide as the tab, whatever the terminal thinks of tabs.
    line += byte == '\t' ? '\t' : ' ';
  }
  line.append(static_cast<std::size_t>(std::max(0, column - characters)), ' ');
  return line + '^';
}

void render_one(const Problem& problem, const Colours& colours, std::string& out) {
  const bool is_error = problem.severity == Problem::Severity::error;
  std::string where = without_controls(problem.place.file);
  if (problem.place.line > 0) {
    where += fmt::format(":{}:{}", problem.place.line, problem.place.column);
  }
  if (!where.empty()) where += ": ";
  out += fmt::format("{}{}{}{}{}:{} {}\n", colours.bold, where, colours.plain,
                     is_error ? colours.error : colours.warning, is_error ? "error" : "warning",
                     colours.plain, without_controls(problem.message));
  if (!problem.source_line.empty() && problem.place.line > 0) {
    out += fmt::format(
        "  {}\n  {}{}{}\n", without_controls(problem.source_line), colours.caret,
        caret_line(problem.source_line, problem.place.column - problem.source_line_start + 1),
        colours.plain);
  }
  if (!problem.hint.empty()) {
    out += fmt::format("  {}help:{} {}\n", colours.help, colours.plain,
                       without_controls(problem.hint));
  }
}

// Keeps the part of a long line around the problem.
void cut_source_line(std::string_view line, Problem& problem) {
  const auto column = static_cast<std::size_t>(std::max(problem.place.column, 1));
  std::size_t begin = 0;
  if (line.size() > longest_source_line && column > longest_source_line / 2) {
    const std::size_t skipped_characters = column - longest_source_line / 2;
    // Only lines of plain ASCII are cut at their start: elsewhere a byte is not a column.
    const std::string_view skipped = line.substr(0, std::min(line.size(), skipped_characters));
    if (std::ranges::all_of(skipped, [](char c) { return static_cast<signed char>(c) >= 0; })) {
      begin = skipped.size();
    }
  }
  problem.source_line_start = static_cast<int>(begin) + 1;
  std::string_view kept = line.substr(begin, longest_source_line);
  while (begin + kept.size() < line.size() && !starts_character(line[begin + kept.size()])) {
    kept = line.substr(begin, kept.size() + 1);
  }
  problem.source_line = kept;
}

}  // namespace

std::string without_controls(std::string_view text) {
  std::string shown;
  for (std::size_t i = 0; i < text.size();) {
    const auto byte = static_cast<unsigned char>(text[i]);
    const auto next = i + 1 < text.size() ? static_cast<unsigned char>(text[i + 1]) : 0U;
    const std::size_t length = utf8_length(text.substr(i));
    const bool is_control = (byte < 0x20U && byte != '\t') || byte == 0x7FU ||
                            (byte == 0xC2U && next < 0xA0U);  // C0, DEL, C1
    if (length == 0 || is_control) {
      shown += '?';
    } else {
      shown += text.substr(i, length);
    }
    i += std::max<std::size_t>(length, 1);
  }
  return shown;
}

std::string render(const std::vector<Problem>& problems, bool colour) {
  const Colours colours = colour ? ansi : Colours{};
  std::string out;
  for (const Problem& problem : problems) render_one(problem, colours, out);
  return out;
}

std::string in_backticks(std::string_view text) {
  if (text.size() <= longest_quote) return fmt::format("`{}`", text);
  std::size_t end = longest_quote;
  while (end > 0 && !starts_character(text[end])) --end;
  return fmt::format("`{}...`", text.substr(0, end));
}

std::string nearest(std::string_view written, const std::vector<std::string_view>& candidates) {
  if (written.empty() || written.size() > longest_name) return {};
  std::string lowered(written);
  std::ranges::transform(lowered, lowered.begin(), [](unsigned char c) {
    return c == '-' ? '_' : static_cast<char>(std::tolower(c));
  });
  // A third of the letters may be wrong: `por` is `port`, but `tls` is not `log`.
  const std::size_t limit = std::clamp<std::size_t>(written.size() / 3, 1, 4);
  std::size_t best = limit + 1;
  std::string_view found;
  for (const std::string_view candidate : candidates | std::views::take(most_candidates)) {
    if (candidate.size() > longest_name || candidate.size() <= 1) continue;
    const std::size_t distance = std::min(edit_distance(written, candidate, limit),
                                          edit_distance(lowered, candidate, limit));
    if (distance < best) {
      best = distance;
      found = candidate;
    }
  }
  return std::string(found);
}

std::string did_you_mean(std::string_view written,
                         const std::vector<std::string_view>& candidates) {
  const std::string found = nearest(written, candidates);
  return found.empty() ? std::string{} : fmt::format("did you mean {}?", in_backticks(found));
}

void Report::error(const Place& place, std::string message, std::string hint) {
  add(Problem::Severity::error, place, std::move(message), std::move(hint));
}

void Report::error(Mark mark, std::string message, std::string hint) {
  // A problem that is only counted needs no place.
  add(Problem::Severity::error, full() ? Place{} : sources_.place(mark), std::move(message),
      std::move(hint));
}

void Report::warning(const Place& place, std::string message, std::string hint) {
  add(Problem::Severity::warning, place, std::move(message), std::move(hint));
}

void Report::warning(Mark mark, std::string message, std::string hint) {
  add(Problem::Severity::warning, full() ? Place{} : sources_.place(mark), std::move(message),
      std::move(hint));
}

void Report::add(Problem::Severity severity, const Place& place, std::string message,
                 std::string hint) {
  if (severity == Problem::Severity::error) has_error_ = true;
  if (full()) {
    ++left_out_;
    return;
  }
  Problem problem{severity, place, std::move(message), std::move(hint), {}, 1};
  if (const std::size_t file = sources_.find(place.file); file < sources_.count()) {
    cut_source_line(sources_.at(file).line(place.line), problem);
  }
  problems_.push_back(std::move(problem));
}

std::vector<Problem> Report::take() {
  std::vector<std::size_t> order(problems_.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::vector<std::size_t> files;
  for (const Problem& problem : problems_) files.push_back(sources_.find(problem.place.file));
  std::ranges::sort(order, {}, [&](std::size_t i) {
    return std::tuple(files[i], problems_[i].place.line, problems_[i].place.column, i);
  });
  std::vector<Problem> sorted;
  for (const std::size_t i : order) sorted.push_back(std::move(problems_[i]));
  problems_ = std::move(sorted);
  const auto same = std::ranges::unique(problems_, [](const Problem& a, const Problem& b) {
    return a.message == b.message && a.place.line == b.place.line &&
           a.place.column == b.place.column && a.place.file == b.place.file;
  });
  problems_.erase(same.begin(), same.end());
  if (left_out_ > 0) {
    const auto severity = has_error_ ? Problem::Severity::error : Problem::Severity::warning;
    problems_.push_back({severity,
                         {sources_.count() == 0 ? "" : sources_.at(0).file_name(), 0, 0},
                         fmt::format("{} more problems are not shown", left_out_),
                         {},
                         {},
                         1});
    left_out_ = 0;
  }
  return std::exchange(problems_, {});
}

}  // namespace weir::config
