#pragma once
// What `weir check --format json` prints: the problems of a configuration for programs that read
// them, such as editors and pipelines. Pure.

#include <string>
#include <vector>

#include "config/diagnostic.hpp"
#include "proxy/probe_report.hpp"

namespace weir::proxy {

// One JSON object in one line: {"good":...,"problems":[...]}. Lines and columns count from 1; line
// 0 means the whole file. Bytes that are no UTF-8 become U+FFFD. With `probes`, also
// "probes":[...].
std::string problems_as_json(bool good, const std::vector<config::Problem>& problems,
                             const std::vector<ProbeResult>* probes = nullptr);

}  // namespace weir::proxy
