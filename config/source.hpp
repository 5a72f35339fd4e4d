#pragma once
// The text of one configuration file: finds its lines and turns a position of the YAML parser into
// the place an editor would show. Owns the text; it does not read files and knows no YAML. Plain
// data, no threading of its own. A byte order mark is dropped on construction.

#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"

namespace weir::config {

// A position in the text: line and byte of the line, both from 1. Line 0 means the whole file.
struct Mark {
  int line = 0;
  int column = 0;
  bool operator==(const Mark&) const = default;
};

class Source {
 public:
  Source(std::string text, std::string file_name);
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  const std::string& text() const { return text_; }
  const std::string& file_name() const { return file_name_; }
  // The line without its end; empty when there is no such line.
  std::string_view line(int number) const;
  // The byte offset of a mark, at most the size of the text.
  std::size_t offset(Mark mark) const;
  Mark mark_at(std::size_t offset) const;
  // Columns of a place count characters, not bytes (bytes again far to the right of a line, where
  // counting would cost more than it helps).
  Place place(Mark mark) const;

 private:
  std::string text_;
  std::string file_name_;
  std::vector<std::size_t> line_starts_;
};

}  // namespace weir::config
