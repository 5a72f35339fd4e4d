#pragma once
// The language as a JSON Schema (draft 7), made from the table of keys alone: for editors that
// check and complete a configuration while it is written. Pure.
//
// It never refuses what the reader accepts, whether a tool reads YAML 1.1 (where `off` is false) or
// YAML 1.2 (where it is text); a text like 2024-01-01, a date in YAML 1.1, apart. What it cannot
// see is left to the reader: rules between keys, units counted together, quotes, and every value
// with a `${NAME}` in it.

#include <string>

namespace weir::config {

// Pretty-printed; the same text for the same table. Ends with a new line.
std::string json_schema();

}  // namespace weir::config
