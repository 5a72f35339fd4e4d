#pragma once
// The reference page of the language, made from the table of keys alone: config/reference.md. Pure.

#include <string>

namespace weir::config {

// Markdown; the same text for the same table. Ends with a new line.
std::string reference_page();

}  // namespace weir::config
