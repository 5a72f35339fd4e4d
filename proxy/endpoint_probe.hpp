#pragma once
// Tries one address of one endpoint, once: the connection and TLS as a session would have them,
// then the upstream's health check. On a port of its own the check gets a connection of its own, as
// when it runs. Confined to one loop.

#include <functional>
#include <memory>
#include <string>

#include "pool/connection.hpp"
#include "proxy/deadlines.hpp"
#include "proxy/dial.hpp"
#include "proxy/probe_report.hpp"
#include "proxy/tls_peer.hpp"

namespace weir::proxy {

class EndpointProbe final : private DialOwner, private Deadline {
 public:
  // `number` is its own among those that run. `result` names what is tried, and is filled.
  // `upstream` and `tls` outlive it.
  EndpointProbe(const config::Upstream& upstream, const TlsClient* tls,
                pool::EndpointPointer endpoint, std::size_t number, ProbeResult& result);

  // `done` is called once, maybe before this returns; it must not destroy this.
  void start(EventLoop& loop, std::function<void()> done);

 private:
  enum class Phase { reaching, checking };

  DialOrder order();
  const config::HealthCheck* check() const;
  bool check_has_own_port() const;
  void begin_check();
  void note_connected();
  void note_tls();
  void note_check(bool passed);
  bool is_checking() const;
  std::string expected_name() const;
  void look_at_certificate();
  std::string explained(std::string why) const;
  std::string out_of_time(Dial::Step step) const;
  void passed();
  void failed(const std::string& why);
  void finish();
  void dial_stepped(Dial& dial) override;
  void dial_ended(Dial& dial, DialEnd end, std::string why) override;
  void expired(TimePoint now) override;
  void limit(config::Duration most);

  const config::Upstream& upstream_;
  const TlsClient* tls_;
  pool::EndpointPointer endpoint_;
  std::size_t number_;
  ProbeResult& result_;
  EventLoop* loop_ = nullptr;
  std::function<void()> done_;
  Phase phase_ = Phase::reaching;
  Dial::Step step_ = Dial::Step::none;  // the last that was begun
  TimePoint began_;
  TimePoint check_began_;
  TlsPeer peer_;  // before the connection that it listens to
  Dial dial_{*this};
};

}  // namespace weir::proxy
