#pragma once
// The standard process_* figures, read from /proc at the scrape. What cannot be read is left out.

#include "metrics/exporter.hpp"

namespace weir::metrics {

void add_process_figures(Scrape& scrape);

}  // namespace weir::metrics
