#pragma once
// Warns of what is legal and rarely meant. Pure.

#include <cstdint>

#include "config/config.hpp"
#include "config/diagnostic.hpp"
#include "config/document.hpp"

namespace weir::config {

// `root` is the document, for the places. `descriptors` is how many files the process may
// have open at most.
void warn_odd(const Config& config, const Node& root, std::uint64_t descriptors, Report& report);

}  // namespace weir::config
