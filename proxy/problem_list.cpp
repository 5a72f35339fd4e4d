#include "proxy/problem_list.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>
#include <utility>

#include "proxy/json_text.hpp"

namespace weir::proxy {
namespace json = boost::json;

std::string problems_as_json(bool good, const std::vector<config::Problem>& problems,
                             const std::vector<ProbeResult>* probes) {
  json::array list;
  for (const config::Problem& problem : problems) {
    const bool is_error = problem.severity == config::Problem::Severity::error;
    list.push_back(json::object{{"severity", is_error ? "error" : "warning"},
                                {"file", valid_json(problem.place.file)},
                                {"line", problem.place.line},
                                {"column", problem.place.column},
                                {"message", valid_json(problem.message)},
                                {"hint", valid_json(problem.hint)},
                                {"source_line", valid_json(problem.source_line)}});
  }
  json::object all{{"good", good}, {"problems", std::move(list)}};
  if (probes != nullptr) all["probes"] = probes_as_json(*probes);
  return json::serialize(all) + "\n";
}

}  // namespace weir::proxy
