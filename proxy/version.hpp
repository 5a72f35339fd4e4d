#pragma once
// What this program is: for `weir version`, /status and weir_build_info.

#include <string>

namespace weir::proxy {

std::string version();
std::string revision();
std::string compiler();
std::string openssl();
std::string boost();

}  // namespace weir::proxy
