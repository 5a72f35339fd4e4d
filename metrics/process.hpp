#pragma once
// The standard process_* figures, read from /proc at the scrape. What cannot be read is left out.

#include <cstdint>
#include <optional>

#include "metrics/exporter.hpp"

namespace weir::metrics {

void add_process_figures(Scrape& scrape);

// How many this process has open; nothing when /proc does not say.
std::optional<std::uint64_t> open_descriptors();

}  // namespace weir::metrics
