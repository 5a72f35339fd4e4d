#pragma once
// What `weir demo` needs beside a server: a certificate made in memory and endpoints that answer.

#include <cstdint>
#include <string>

#include "proxy/http_listener.hpp"

namespace weir::proxy {

struct DemoCertificate {
  std::string cert_pem;
  std::string key_pem;
};

// Self-signed, P-256, for localhost, *.localhost, 127.0.0.1 and ::1, 30 days. Throws
// std::runtime_error when OpenSSL cannot.
DemoCertificate make_demo_certificate();

// An HTTP server on a free port of 127.0.0.1 that answers "hello from NAME" and the path.
class DemoEndpoint {
 public:
  explicit DemoEndpoint(const std::string& name);
  std::uint16_t port() const { return http_.local_address().port; }

 private:
  HttpListener http_;
};

// What to try, for the terminal.
std::string demo_greeting(std::uint16_t tls_port, std::uint16_t plain_port,
                          std::uint16_t admin_port);

}  // namespace weir::proxy
