#pragma once
// Bytes as an operator writes them: text with the escapes \r \n \t \\ and \xNN. Pure; errors are
// sentences for the operator.

#include <expected>
#include <string>
#include <string_view>

namespace weir::config {

std::expected<std::string, std::string> parse_escapes(std::string_view text);

}  // namespace weir::config
