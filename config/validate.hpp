#pragma once
// The rules between keys: references, overlaps, things without use, files that must be readable.
// What one value may be is the schema's to say. Contents of certificates are not looked at here.

#include "config/config.hpp"
#include "config/diagnostic.hpp"
#include "config/document.hpp"

namespace weir::config {

// `root` is the document the configuration was read from: it tells the place of each value.
void validate(const Config& config, const Node& root, Report& report);

}  // namespace weir::config
