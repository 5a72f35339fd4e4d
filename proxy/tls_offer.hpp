#pragma once
// What a TLS client's first message offers, read in OpenSSL's client_hello callback. The server
// name is kept with the SSL, since OpenSSL itself forgets it when a TLS 1.2 session is resumed.

#include <string>
#include <string_view>

struct ssl_st;

namespace weir::proxy {

// The server name, lower case; empty when there is none. RFC 6066, section 3.
std::string offered_server_name(ssl_st* ssl);
// Can this client verify an ECDSA signature? TLS 1.3 clients say so in signature_algorithms.
bool offers_ecdsa(ssl_st* ssl);

void keep_server_name(ssl_st* ssl, std::string name);
// Valid as long as the SSL; empty when none was kept.
std::string_view kept_server_name(const ssl_st* ssl);

}  // namespace weir::proxy
