#pragma once
// Replaces ${NAME} and ${NAME:-default} inside the scalar values of a document by what the process
// environment holds; `$${` stands for a literal `${`. Keys are left alone, and what was inserted is
// not searched again. Reads the environment of the process: not to be run beside setenv.

#include <expected>
#include <string>
#include <string_view>

#include "config/document.hpp"

namespace weir::config {

// The text with every reference replaced. As in a shell, `:-` also covers a variable that is empty.
std::expected<std::string, std::string> substitute(std::string_view text);

// A quoted scalar that held a reference counts as unquoted afterwards, so that "${PORT}" can be a
// number where YAML would not allow it unquoted.
void substitute_all(Node& node, Report& report);

}  // namespace weir::config
