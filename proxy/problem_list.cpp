#include "proxy/problem_list.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <string_view>

#include "config/text_check.hpp"

namespace weir::proxy {
namespace {

namespace json = boost::json;

json::string valid(std::string_view text) {
  json::string result;
  while (!text.empty()) {
    const std::size_t length = config::utf8_length(text);
    if (length == 0) {
      result.append("\xEF\xBF\xBD");
    } else {
      result.append(json::string_view(text.data(), length));
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return result;
}

}  // namespace

std::string problems_as_json(bool good, const std::vector<config::Problem>& problems) {
  json::array list;
  for (const config::Problem& problem : problems) {
    const bool is_error = problem.severity == config::Problem::Severity::error;
    list.push_back(json::object{{"severity", is_error ? "error" : "warning"},
                                {"file", valid(problem.place.file)},
                                {"line", problem.place.line},
                                {"column", problem.place.column},
                                {"message", valid(problem.message)},
                                {"hint", valid(problem.hint)},
                                {"source_line", valid(problem.source_line)}});
  }
  return json::serialize(json::object{{"good", good}, {"problems", std::move(list)}}) + "\n";
}

}  // namespace weir::proxy
