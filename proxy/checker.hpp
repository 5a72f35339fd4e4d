#pragma once
// Checks the health of one endpoint now and then: a TCP connection, and where the configuration
// says so a TLS handshake, an HTTP request, an exchange of bytes or a PING over it. What a result
// means is the ledger's to decide. Each endpoint is checked by one worker, to which this is
// confined; destroying it ends it at any time.

#include <string>

#include "pool/ledger.hpp"
#include "proxy/deadlines.hpp"
#include "proxy/dial.hpp"
#include "proxy/rules.hpp"

namespace weir::proxy {

class Connections;
class Worker;

class Checker final : private DialOwner, private Deadline {
 public:
  // By the rules of `connections` as they are now.
  Checker(Worker& worker, Connections& connections, pool::EndpointIndex index,
          pool::EndpointPointer endpoint);
  void start();
  const pool::EndpointPointer& endpoint() const { return endpoint_; }
  const UpstreamRules& rules() const { return *rules_; }

 private:
  void check();
  void finish(bool passed, const std::string& why);
  void plan(config::Duration interval);
  void dial_ended(Dial& dial, DialEnd end, std::string why) override;
  void expired(TimePoint now) override;
  bool talks() const;

  Worker& worker_;
  Connections& connections_;
  pool::EndpointIndex index_;
  pool::EndpointPointer endpoint_;
  UpstreamRulesPointer rules_;
  const config::HealthCheck& config_;
  Dial dial_{*this};
  TimePoint began_;
};

}  // namespace weir::proxy
