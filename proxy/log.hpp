#pragma once
// The operational log: spdlog's default logger on stderr, as `log` says. (The access log is
// access_log.hpp.)

#include "config/config.hpp"

namespace weir::proxy {

// Before other threads log.
void start_log(const config::Log& log);
// Another level and format from now on; any thread.
void follow_log(const config::Log& log);

}  // namespace weir::proxy
