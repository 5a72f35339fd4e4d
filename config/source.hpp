#pragma once
// The texts of the files of one configuration: finds their lines and turns a position of the YAML
// parser into the place an editor would show. Owns the texts; it does not read files and knows no
// YAML. Plain data, no threading of its own. A byte order mark is dropped on construction.

#include <cstddef>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"

namespace weir::config {

// A position in a text: line and byte of the line, both from 1. Line 0 means the whole file.
struct Mark {
  int line = 0;
  int column = 0;
  int file = 0;  // the number of the source
  bool operator==(const Mark&) const = default;
};

class Source {
 public:
  Source(std::string text, std::string file_name, int number = 0);
  Source(const Source&) = delete;
  Source& operator=(const Source&) = delete;

  const std::string& text() const { return text_; }
  const std::string& file_name() const { return file_name_; }
  // What relative paths in the file are relative to: "" or all of its name up to a `/`.
  std::string_view directory() const {
    return std::string_view(file_name_).substr(0, file_name_.rfind('/') + 1);
  }
  // A position in this text.
  Mark mark(int line, int column) const { return {line, column, number_}; }
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
  int number_ = 0;
  std::vector<std::size_t> line_starts_;
};

// Numbers the sources in the order in which they are added. They stay where they are.
class Sources {
 public:
  const Source& add(std::string text, std::string file_name);

  // The source that a mark is in. There must be one.
  const Source& of(Mark mark) const { return all_[static_cast<std::size_t>(mark.file)]; }
  Place place(Mark mark) const { return of(mark).place(mark); }
  // The number of the source with this name; that of the next when there is none.
  std::size_t find(std::string_view file_name) const;
  std::size_t count() const { return all_.size(); }
  const Source& at(std::size_t number) const { return all_[number]; }

 private:
  std::deque<Source> all_;
};

}  // namespace weir::config
