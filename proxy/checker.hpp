#pragma once
// Checks the health of one endpoint: a TCP connection, now and then. Verdicts go to the upstream's
// ledger. Each endpoint is checked by one worker, to which this is confined.

#include <random>
#include <string>

#include "pool/health.hpp"
#include "pool/upstream.hpp"
#include "proxy/deadlines.hpp"
#include "proxy/stream.hpp"

namespace weir::proxy {

class Connections;
class Worker;

class Checker final : private StreamOwner, private Deadline {
 public:
  Checker(Worker& worker, Connections& connections, pool::EndpointIndex endpoint);
  void start();
  void stop() { clear(); }

 private:
  void check();
  void finish(bool success, const std::string& why);
  void stream_ready(Stream& stream) override;
  void expired(TimePoint now) override;
  void plan(config::Duration interval);

  Worker& worker_;
  Connections& connections_;
  pool::EndpointIndex endpoint_;
  const config::HealthCheck& config_;
  pool::Health health_;
  Stream stream_;
  TimePoint began_;
  bool checking_ = false;
};

}  // namespace weir::proxy
