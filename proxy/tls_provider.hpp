#pragma once
// An OpenSSL provider inside the program. It serves the key schedules of TLS (the algorithms
// "TLS13-KDF" and "TLS1-PRF") to OpenSSL's own handshakes, with the same results as OpenSSL's and
// fewer instructions (proxy/README.md), and tells us the traffic secrets of TLS 1.3 on the way:
// with them the record layer goes on without the SSL (tls_records.hpp). All else comes from
// OpenSSL's default provider.

#include "proxy/tls_key_schedule.hpp"

namespace weir::proxy {

// The property query for SSL_CTX_new_ex() under which contexts find the provider; the first call
// loads it. Where it cannot be loaded, or where the machine's policy (FIPS) asks for others,
// OpenSSL's own is used and no secrets are told. Any thread.
const char* tls_properties();

// The secrets under which the application data of a TLS 1.3 connection travels.
struct TrafficSecrets {
  TlsHash hash = TlsHash::sha256;
  TlsSecret client;
  TlsSecret server;
};

// While it lives, handshakes on this thread tell `secrets` what they derive.
class TellSecrets {
 public:
  explicit TellSecrets(TrafficSecrets* secrets);  // null: nobody is told
  TellSecrets(const TellSecrets&) = delete;
  TellSecrets& operator=(const TellSecrets&) = delete;
  ~TellSecrets();
};

}  // namespace weir::proxy
