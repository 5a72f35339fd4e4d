#pragma once
// TLS settings made ready: SSL_CTX objects from certificates and keys, the choice of one by server
// name, session tickets, and OpenSSL's errors in words. A TlsServer or TlsClient is built once, at
// start or reload, and shared by all workers: after construction it is only read, but for the
// ticket keys and the session cache, which have locks of their own. It must outlive the SSLs it has
// made.

#include <chrono>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "config/diagnostic.hpp"

struct ssl_st;
struct ssl_ctx_st;

namespace weir::proxy {

class Stream;

// When a certificate ends, for the metrics.
struct CertificateExpiry {
  std::string name;  // the first server name of the certificate, or its subject
  std::chrono::system_clock::time_point not_after;
};

// What a handshake agreed on. The views are static text of OpenSSL's.
struct TlsFacts {
  std::string_view version;
  std::string_view cipher;
  std::string server_name;
  std::string alpn;
  bool resumed = false;
  // Of the client's certificate, which has been verified. Empty where it has shown none.
  std::string client_identity;  // "cn:build-7"
  std::string client_common_name;
};
TlsFacts tls_facts(const ssl_st* ssl);

// Why a handshake failed: `reason` is a word of a closed set (a metric label), `words` are for
// people. To be called right after the failure, before OpenSSL is used again on this thread.
struct TlsFailure {
  std::string_view reason;
  std::string words;
};
TlsFailure tls_failure(const Stream& stream);
// Every reason that tls_failure() may give.
const std::vector<std::string_view>& tls_failure_reasons();

// What a client that asks for a name is shown: certificates by their place in the settings.
struct CertificateChoice {
  std::vector<std::size_t> places;  // of two, the first is for clients that take ECDSA
  bool by_name = false;             // else: the default, or none
};

class TlsServer {
 public:
  // Reads the files and reports everything that is wrong with them, each at its place. Null when
  // there is a problem. Tickets that `before` has given are taken, where both agree on how they are
  // made.
  static std::unique_ptr<TlsServer> make(const config::TlsSettings& settings,
                                         std::vector<config::Problem>& problems,
                                         const TlsServer* before = nullptr);
  ~TlsServer();

  // A fresh SSL in accept state; null when memory is short.
  ssl_st* accept() const;
  std::vector<CertificateExpiry> expiries() const;
  // What the handshake of a client decides: the name in lower case, empty when it has none. No
  // places: it is turned away.
  CertificateChoice certificates_for(const std::string& server_name) const;
  // What a handshake has agreed on, right after it; and why the client is not let in by its
  // certificate, or "".
  std::string judge(const ssl_st* ssl, TlsFacts& facts) const;

 private:
  class State;
  explicit TlsServer(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

class TlsClient {
 public:
  static std::unique_ptr<TlsClient> make(const config::UpstreamTls& settings,
                                         std::vector<config::Problem>& problems);
  ~TlsClient();

  // A fresh SSL in connect state: SNI and verified name are the configured server_name, or else
  // `host` (may be empty: a unix socket); with a session to resume where there is one for this
  // endpoint. Null when memory is short.
  ssl_st* connect(const std::string& host, std::size_t endpoint) const;
  // After a failed handshake: the next one starts from nothing.
  void forget_sessions(std::size_t endpoint) const;

 private:
  class State;
  explicit TlsClient(std::unique_ptr<State> state);
  std::unique_ptr<State> state_;
};

}  // namespace weir::proxy
