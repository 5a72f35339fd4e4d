#pragma once
// Finds routes that no connection can ever take. Pure.

#include "config/config.hpp"
#include "config/diagnostic.hpp"
#include "config/document.hpp"

namespace weir::config {

// `written` is the listener in the document: routes and settings with faults are not judged.
void warn_unreachable(const Config& config, const Listener& listener, const Node& written,
                      Report& report);

}  // namespace weir::config
