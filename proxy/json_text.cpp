#include "proxy/json_text.hpp"

#include "config/text_check.hpp"

namespace weir::proxy {

boost::json::string valid_json(std::string_view text) {
  boost::json::string result;
  while (!text.empty()) {
    const std::size_t length = config::utf8_length(text);
    if (length == 0) {
      result.append("\xEF\xBF\xBD");
    } else {
      result.append(boost::json::string_view(text.data(), length));
    }
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return result;
}

}  // namespace weir::proxy
