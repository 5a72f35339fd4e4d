#pragma once
// Asks the admin address of a running weir: one request over a connection of its own, waited for.
// For commands; it blocks its thread, and nothing of it is left when it returns.

#include <chrono>
#include <expected>
#include <string>
#include <string_view>

#include "config/config.hpp"

namespace weir::proxy {

struct AdminAnswer {
  unsigned status = 0;  // of HTTP
  std::string body;
};

// Or why there is none, naming the address: "cannot reach weir at 127.0.0.1:9180: Connection
// refused". `patience`: for all of it.
std::expected<AdminAnswer, std::string> ask_admin(
    const config::Address& admin, std::string_view method, std::string_view target,
    std::chrono::milliseconds patience = std::chrono::seconds(30));

// The body of an answer that must be good.
std::expected<std::string, std::string> read_admin(const config::Address& admin,
                                                   std::string_view target);

}  // namespace weir::proxy
