#include "config/json.hpp"

#include <fmt/format.h>

#include <algorithm>

namespace weir::config {
namespace {

constexpr std::size_t columns = 100;

std::string in_quotes(std::string_view text) {
  std::string quoted = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') {
      quoted += '\\';
      quoted += c;
    } else if (static_cast<unsigned char>(c) < 0x20U) {
      quoted += fmt::format("\\u{:04x}", static_cast<unsigned>(c));
    } else {
      quoted += c;
    }
  }
  return quoted + '"';
}

}  // namespace

Json::Json(Kind kind, std::string spelling) : kind_(kind), spelling_(std::move(spelling)) {}

Json Json::text(std::string_view text) {
  return Json(Kind::scalar, in_quotes(text));
}

Json Json::number(std::int64_t number) {
  return Json(Kind::scalar, std::to_string(number));
}

Json Json::boolean(bool value) {
  return Json(Kind::scalar, value ? "true" : "false");
}

Json Json::verbatim(std::string_view spelling) {
  return Json(Kind::scalar, std::string(spelling));
}

Json Json::array(std::vector<Json> items) {
  Json array(Kind::array);
  array.items_ = std::move(items);
  return array;
}

Json Json::object() {
  return Json(Kind::object);
}

Json& Json::add(std::string_view name, Json value) {
  names_.push_back(in_quotes(name));
  items_.push_back(std::move(value));
  return *this;
}

Json& Json::add(Json item) {
  items_.push_back(std::move(item));
  return *this;
}

std::string Json::written() const {
  std::string out;
  write(out, 0);
  return out;
}

std::string Json::on_one_line() const {
  if (kind_ == Kind::scalar) return spelling_;
  std::string line;
  for (std::size_t i = 0; i < items_.size(); ++i) {
    if (i > 0) line += ", ";
    if (kind_ == Kind::object) line += names_[i] + ": ";
    line += items_[i].on_one_line();
  }
  if (kind_ == Kind::array) return '[' + line + ']';
  return line.empty() ? "{}" : "{ " + line + " }";
}

bool Json::is_flat() const {
  return std::ranges::all_of(items_, [](const Json& item) {
    return item.kind_ == Kind::scalar || item.items_.empty() ||
           (item.kind_ == Kind::array && item.holds_scalars());
  });
}

bool Json::holds_scalars() const {
  return std::ranges::all_of(items_, [](const Json& item) { return item.kind_ == Kind::scalar; });
}

void Json::write(std::string& out, std::size_t indentation) const {
  if (is_flat()) {
    const std::string line = on_one_line();
    const std::size_t begin = out.size() - std::min(out.rfind('\n') + 1, out.size());
    if (kind_ == Kind::scalar || items_.empty() || begin + line.size() < columns) {
      out += line;
      return;
    }
  }
  out += kind_ == Kind::object ? '{' : '[';
  for (std::size_t i = 0; i < items_.size(); ++i) {
    out += i == 0 ? "\n" : ",\n";
    out.append(indentation + 2, ' ');
    if (kind_ == Kind::object) out += names_[i] + ": ";
    items_[i].write(out, indentation + 2);
  }
  out += '\n';
  out.append(indentation, ' ');
  out += kind_ == Kind::object ? '}' : ']';
}

}  // namespace weir::config
