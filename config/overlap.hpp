#pragma once
// Finds addresses that two sockets of one process cannot both have. Pure.

#include "config/config.hpp"
#include "config/diagnostic.hpp"

namespace weir::config {

// Can two sockets not have both, unless they share? A wildcard excludes its whole port within its
// address family (IPv6 sockets are bound for IPv6 alone); port 0 excludes nothing.
bool overlap(const Address& one, const Address& other);

// Reports each bind that an earlier one of the file excludes.
void report_overlaps(const Config& config, Report& report);

}  // namespace weir::config
