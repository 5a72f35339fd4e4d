#pragma once
// /connections: the query, the filter and sort, and a connection as JSON. Pure.

#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <cstddef>
#include <expected>
#include <string>
#include <string_view>
#include <vector>

#include "proxy/connection_facts.hpp"

namespace weir::proxy {

struct ConnectionQuery {
  enum class Sort { age, bytes, rate };
  Sort sort = Sort::age;  // the oldest, the largest, the fastest (over its whole life) first
  std::size_t limit = 1000;
  std::string listener;  // empty = all
  std::string upstream;
};

// The error names the parameter.
std::expected<ConnectionQuery, std::string> parse_connection_query(std::string_view query);

boost::json::object connection_json(const ConnectionFacts& facts);

// { "connections": [...], "total": how many there are after the filter, before the limit }
boost::json::value connection_list(std::vector<ConnectionFacts> all, const ConnectionQuery& query);

}  // namespace weir::proxy
