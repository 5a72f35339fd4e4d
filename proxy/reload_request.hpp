#pragma once
// `weir reload`: asks the running weir to reload, by its signal, and waits for what becomes of it,
// which its admin address tells. Blocks.

#include <expected>
#include <string>

#include "config/config.hpp"

namespace weir::proxy {

struct ReloadResult {
  bool is_good = false;
  std::string reason;  // why it was refused
};

// Or, in words, why nothing is known.
std::expected<ReloadResult, std::string> request_reload(const config::Address& admin);

}  // namespace weir::proxy
