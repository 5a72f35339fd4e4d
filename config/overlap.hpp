#pragma once
// Finds addresses that two sockets of one process cannot both have. Pure.

#include "config/config.hpp"
#include "config/diagnostic.hpp"

namespace weir::config {

// Reports each bind that an earlier one of the file excludes. A wildcard excludes its whole port
// within its address family (IPv6 sockets are bound for IPv6 alone); port 0 excludes nothing.
void report_overlaps(const Config& config, Report& report);

}  // namespace weir::config
