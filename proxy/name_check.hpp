#pragma once
// Looks the names of a configuration up once, as discovery will when it runs, with the same
// servers: for `weir check`, whose reader wants to know of a misspelt name. Nothing of it stops a
// configuration: names come and go.

#include <chrono>
#include <vector>

#include "config/config.hpp"
#include "config/diagnostic.hpp"

namespace weir::proxy {

// A warning for each endpoint whose name is not found within `most`, which is for all of them
// together. Waits no longer.
std::vector<config::Problem> names_not_found(const config::Config& config,
                                             std::chrono::milliseconds most);

}  // namespace weir::proxy
