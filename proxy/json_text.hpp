#pragma once
// Texts from outside (files, peers) as JSON strings. Pure.

#include <boost/json/string.hpp>
#include <string_view>

namespace weir::proxy {

// Bytes that are no UTF-8 become U+FFFD.
boost::json::string valid_json(std::string_view text);

}  // namespace weir::proxy
