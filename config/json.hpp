#pragma once
// A JSON value that is built and then written, its members in the order in which they were added.
// It reads nothing. Plain data.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace weir::config {

class Json {
 public:
  static Json text(std::string_view text);
  static Json number(std::int64_t number);
  static Json boolean(bool value);
  // Already in JSON's spelling: "1.0", "[]".
  static Json verbatim(std::string_view spelling);
  static Json array(std::vector<Json> items = {});
  static Json object();

  // To an object. The name must be new.
  Json& add(std::string_view name, Json value);
  // To an array.
  Json& add(Json item);
  bool empty() const { return items_.empty(); }

  // Two spaces a level; what holds only scalars and arrays of them stands on one line where it fits
  // into 100 columns. Ends without a new line.
  std::string written() const;

 private:
  enum class Kind { scalar, array, object };
  explicit Json(Kind kind, std::string spelling = {});

  bool holds_scalars() const;  // and nothing else
  bool is_flat() const;        // holds scalars and arrays of them
  std::string on_one_line() const;
  void write(std::string& out, std::size_t indentation) const;

  Kind kind_;
  std::string spelling_;            // of a scalar
  std::vector<std::string> names_;  // of an object's items, as they are written
  std::vector<Json> items_;
};

}  // namespace weir::config
