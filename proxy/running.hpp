#pragma once
// What a running weir says of itself over its admin address, as values: for the commands that look
// at it from outside. What it answers is checked like anybody's. Blocks.

#include <expected>
#include <string>
#include <string_view>

#include "config/config.hpp"
#include "proxy/plan.hpp"

namespace weir::proxy {

struct Running {
  config::Config config;
  Live live;
};

// Or why not, in words for the operator.
std::expected<Running, std::string> look_at_running(const config::Address& admin);

// Reads the answers to /status and /connections. Or what is wrong with them.
std::expected<Live, std::string> read_live(std::string_view status, std::string_view connections);

}  // namespace weir::proxy
