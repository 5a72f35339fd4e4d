#pragma once
// A connection to an endpoint, from socket() to its end: what Connections keeps of it. Confined to
// the worker that holds it; between workers it travels with its stream detached.

#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "pool/ledger.hpp"
#include "proxy/deadlines.hpp"
#include "proxy/rules.hpp"
#include "proxy/stream.hpp"

namespace weir::proxy {

class Connections;

struct HeldTag;
using HeldHook = boost::intrusive::list_base_hook<boost::intrusive::tag<HeldTag>>;

class ServerConnection final : public pool::Connection,
                               public HeldHook,
                               private StreamOwner,
                               private Deadline {
 public:
  ServerConnection(Connections& home, pool::EndpointPointer target, UpstreamRulesPointer rules)
      : home_(&home), target_(std::move(target)), rules_(std::move(rules)) {
    generation = rules_->generations.newest;
  }

  Stream& stream() { return stream_; }
  const pool::EndpointPointer& target() const { return target_; }
  // Those it was opened under.
  const UpstreamRules& rules() const { return *rules_; }

  // With server_speaks_first: what the server has said before it was lent. Empty otherwise.
  std::string take_greeting();
  // TCP keep-alive and TCP_USER_TIMEOUT as configured, once. They tell of a silent peer after tens
  // of seconds; so whoever lives less need not pay for them.
  void watch_peer();

 private:
  friend class Connections;
  friend class LeaseRequest;
  enum class Stage : std::uint8_t { connecting, handshake, greeting, idle, leased, resetting };

  void stream_ready(Stream& stream) override;
  void expired(TimePoint now) override;
  // Takes what the server has said: false when that is more than `most` bytes in all, or its end.
  bool hear(std::size_t most);
  // Is it there, and silent as far as it has to be? One look.
  bool is_good();
  // Why it is not.
  pool::Closed cause_of_death() const {
    if (died_of_) return *died_of_;
    return has_ended_ || stream_.hung_up() ? pool::Closed::peer_closed
                                           : pool::Closed::unexpected_bytes;
  }

  Connections* home_;
  pool::EndpointPointer target_;
  UpstreamRulesPointer rules_;  // before the stream, whose TLS is of these
  Stream stream_;
  Stage stage_ = Stage::connecting;
  bool peer_watched_ = false;
  bool has_ended_ = false;               // hear() has met the end
  std::optional<pool::Closed> died_of_;  // closed while an action about it was on its way
  std::uint8_t resets_left_ = 0;
  std::unique_ptr<pool::Opening> opening_;
  TimePoint phase_began_;
  std::unique_ptr<std::string> heard_;  // the greeting, or the answer to the reset so far
};

}  // namespace weir::proxy
