#pragma once
// One connection to an endpoint that Weir makes for its own sake, without a client: TCP, then what
// its order says of a PROXY header, TLS, and the question of a health check with a judgement of the
// answer. What the health checks and `weir check --probe` have in common. It knows no time: its
// owner is told of each step, and closes it when one takes too long. Confined to one loop. Its
// owner may close it or begin another one at any time, but not destroy it from within a call of
// its.

#include <cstddef>
#include <cstdint>
#include <string>

#include "config/config.hpp"
#include "proxy/stream.hpp"
#include "proxy/tls.hpp"

namespace weir::proxy {

class Dial;
class TlsPeer;

struct DialOrder {
  config::Address address;
  config::SendProxy proxy_protocol = config::SendProxy::off;
  const TlsClient* tls = nullptr;  // null = plaintext
  std::string tls_host;            // as TlsClient::connect() has it, and:
  std::size_t tls_sessions = 0;
  // Hears what the peer shows of itself; outlives the connection. With one, a server that asks for
  // a client's certificate is given the chance to refuse it, which TLS 1.3 does after the
  // handshake.
  TlsPeer* tls_peer = nullptr;
  const config::HealthCheck* check = nullptr;  // null: nothing is asked
  std::string name;                            // the endpoint's, for what is asked
};

class DialOwner {
 public:
  // step() has begun.
  virtual void dial_stepped(Dial&) {}
  // `ours`: a shortage of this machine, which says nothing about the endpoint. `why` says, unless
  // it is good, in words what has happened. The connection is there until it is closed.
  enum class DialEnd : std::uint8_t { good, bad, ours };
  virtual void dial_ended(Dial& dial, DialEnd end, std::string why) = 0;

 protected:
  ~DialOwner() = default;
};

class Dial final : private StreamOwner {
 public:
  explicit Dial(DialOwner& owner) : owner_(owner) {}

  enum class Step : std::uint8_t { none, connecting, handshake, settling, talking };
  // May end before it returns.
  void begin(EventLoop& loop, DialOrder order);
  // What it is busy with; none when it has ended.
  Step step() const { return step_; }
  // The connection's SSL, if any, until close().
  ssl_st* ssl() const { return stream_.ssl(); }
  // Silent: the owner is not told.
  void close();

 private:
  using End = DialOwner::DialEnd;

  void connected();
  std::string own_header() const;
  void shake_hands();
  void settle();
  void talk();
  void listen();
  bool asks() const;
  bool send(const std::string& bytes);
  void enter(Step step);
  void end(End end, std::string why);
  std::string failure();
  void stream_ready(Stream& stream) override;

  DialOwner& owner_;
  DialOrder order_;
  Stream stream_;
  Step step_ = Step::none;
  bool has_spoken_ = false;
  std::string answer_;
};

}  // namespace weir::proxy
