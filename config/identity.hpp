#pragma once
// Reads patterns of client identities, "cn:build-*", "dns:*.svc.example" or "uri:spiffe://x/*", as
// `allow` of client certificates lists them. Whom they match is decided in proxy/client_identity.
// No look-ups; errors are sentences for the operator.

#include <expected>
#include <string>
#include <string_view>

#include "config/config.hpp"

namespace weir::config {

struct IdentityMistake {
  std::string message;
  std::string hint;
};

std::expected<IdentityPattern, IdentityMistake> parse_identity_pattern(std::string_view text);

}  // namespace weir::config
