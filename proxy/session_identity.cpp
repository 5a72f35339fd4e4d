// What a client's certificate decides: the end of a session's handshake.

#include "proxy/session.hpp"

namespace weir::proxy {

// False: the session has ended. The handshake was a good one all the same, and counts as such.
bool Session::admit(const ssl_st* ssl) {
  tls_ = std::make_unique<TlsFacts>();
  std::string refusal = rules_->tls->judge(ssl, *tls_);
  client_.leave_ssl();
  listener_.count_handshake("ok", tls_->version, tls_->resumed);
  if (refusal.empty()) return true;
  detail_ = std::move(refusal);
  end(Reason::client_denied, false);
  return false;
}

}  // namespace weir::proxy
