#pragma once
// What the binary does for each command: run, check, demo, version. Each returns the exit status:
// 0 good, 1 it ran and failed, 2 the configuration or the command line is wrong.

#include "proxy/command_line.hpp"

namespace weir::proxy {

int run_program(const CommandLine& command);

}  // namespace weir::proxy
