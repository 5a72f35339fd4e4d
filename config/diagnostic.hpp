#pragma once
// What is wrong with a configuration, and how it is shown: `file:line:column: error: what`, the
// source line, a caret, a suggestion. A Report collects the problems of one run; it never decides
// what a problem is. Not shared between threads. Texts of a problem may hold whatever the file
// held: render() is what makes them safe for a terminal.

#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "config/source.hpp"

namespace weir::config {

struct Problem {
  enum class Severity { error, warning };
  Severity severity = Severity::error;
  Place place;
  std::string message;
  std::string hint;
  std::string source_line;    // empty when the problem has no line
  int source_line_start = 1;  // the column of source_line's first character: long lines are cut
};

// One paragraph per problem, in the order given. With `colour`, ANSI escapes.
std::string render(const std::vector<Problem>& problems, bool colour);

// `text` with a `?` for what could drive a terminal.
std::string without_controls(std::string_view text);

// `text` in backticks, cut to a length that fits a message.
std::string in_backticks(std::string_view text);

// The candidate that is most likely meant by `written`, or "" when none is close.
std::string nearest(std::string_view written, const std::vector<std::string_view>& candidates);

// "did you mean `x`?", or "" when no candidate is close.
std::string did_you_mean(std::string_view written, const std::vector<std::string_view>& candidates);

// Keeps at most `most_kept` problems, and counts the rest, so that a hostile file costs no more
// than it is long.
class Report {
 public:
  static constexpr std::size_t most_kept = 500;

  // Sources may be added while problems are reported.
  explicit Report(const Sources& sources) : sources_(sources) {}

  void error(const Place& place, std::string message, std::string hint = {});
  void error(Mark mark, std::string message, std::string hint = {});
  void warning(const Place& place, std::string message, std::string hint = {});
  void warning(Mark mark, std::string message, std::string hint = {});

  bool has_error() const { return has_error_; }
  // True when another problem would only be counted: no need to search a suggestion for it.
  bool full() const { return problems_.size() >= most_kept; }
  // Sorted by file, in the order of the sources, and place; what was reported twice is there once.
  std::vector<Problem> take();

 private:
  void add(Problem::Severity severity, const Place& place, std::string message, std::string hint);

  const Sources& sources_;
  std::vector<Problem> problems_;
  std::size_t left_out_ = 0;
  bool has_error_ = false;
};

}  // namespace weir::config
