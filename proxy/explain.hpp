#pragma once
// What a connection would get, without making one: certificate, route, upstream and endpoints. The
// answers are those of the code that serves (TlsServer, RouteTable); this only puts them in words.
// Pure.

#include <expected>
#include <string>
#include <vector>

#include "config/config.hpp"

namespace weir::proxy {

class TlsStore;

// A connection as the operator describes it. Empty = not there.
struct ExplainQuestion {
  std::string listener{};
  std::string server_name{};
  std::vector<std::string> alpn{};  // the protocols that the client offers
  std::string client{};             // its address
};

struct Explanation {
  std::string text;  // some lines
  bool has_upstream = false;
};

// Or what is wrong with the question.
std::expected<Explanation, std::string> explain(const config::Config& config, const TlsStore& tls,
                                                const ExplainQuestion& question);

}  // namespace weir::proxy
