#pragma once
// Checks the health of one endpoint now and then: a TCP connection, and where the configuration
// says so a TLS handshake, an HTTP request, an exchange of bytes or a PING over it. What a result
// means is the ledger's to decide. Each endpoint is checked by one worker, to which this is
// confined; destroying it ends it at any time.

#include <string>

#include "pool/ledger.hpp"
#include "proxy/deadlines.hpp"
#include "proxy/rules.hpp"
#include "proxy/stream.hpp"

namespace weir::proxy {

class Connections;
class Worker;

class Checker final : private StreamOwner, private Deadline {
 public:
  // By the rules of `connections` as they are now.
  Checker(Worker& worker, Connections& connections, pool::EndpointIndex index,
          pool::EndpointPointer endpoint);
  void start();
  const pool::EndpointPointer& endpoint() const { return endpoint_; }
  const UpstreamRules& rules() const { return *rules_; }

 private:
  enum class Stage : std::uint8_t { waiting, connecting, handshake, talking };

  void check();
  void connected();
  std::string own_header(config::SendProxy version) const;
  void shake_hands();
  void talk();
  void listen();
  void finish(bool passed, std::string why);
  void plan(config::Duration interval);
  void stream_ready(Stream& stream) override;
  void expired(TimePoint now) override;
  bool talks() const;
  bool uses_tls() const;

  Worker& worker_;
  Connections& connections_;
  pool::EndpointIndex index_;
  pool::EndpointPointer endpoint_;
  UpstreamRulesPointer rules_;
  const config::HealthCheck& config_;
  Stream stream_;
  Stage stage_ = Stage::waiting;
  TimePoint began_;
  std::string answer_;
};

// What a server's answer so far means to a check. Pure; exposed for tests.
enum class Verdict : std::uint8_t { good, bad, incomplete };
struct Judgement {
  Verdict verdict = Verdict::incomplete;
  std::string why;  // bad: in words
};
Judgement judge(const config::HealthCheck& check, std::string_view answer);
// What a check sends; empty = nothing. `host` is the endpoint's address, for HTTP.
std::string question(const config::HealthCheck& check, std::string_view host);

}  // namespace weir::proxy
