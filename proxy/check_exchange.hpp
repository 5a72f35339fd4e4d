#pragma once
// What health checks say and what they make of the answers. Pure: who carries the bytes is
// dial.hpp.

#include <cstdint>
#include <string>
#include <string_view>

#include "config/config.hpp"

namespace weir::proxy {

// What a server's answer so far means to a check.
enum class Verdict : std::uint8_t { good, bad, incomplete };
struct Judgement {
  Verdict verdict = Verdict::incomplete;
  std::string why;  // bad: in words
};
Judgement judge(const config::HealthCheck& check, std::string_view answer);
// What a check sends; empty = nothing. `host` is the endpoint's address, for HTTP.
std::string question(const config::HealthCheck& check, std::string_view host);

}  // namespace weir::proxy
