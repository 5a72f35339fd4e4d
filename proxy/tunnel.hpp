#pragma once
// Carries bytes between two streams, both ways at once, until both have ended or one has failed.
// Driven by readiness: an idle tunnel holds no buffer. What is read goes out in the same turn; what
// the other side does not take is kept by that stream, and reading stops until it is gone, so a
// slow reader holds at most one read's worth of bytes. An end travels on as a half-close while the
// other direction goes on. A busy tunnel yields after its share of a turn.
//
// It knows no deadlines and no metrics: its owner is told of every byte and of the end. Confined to
// one worker.

#include <array>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "proxy/event_loop.hpp"
#include "proxy/pipe.hpp"
#include "proxy/stream.hpp"

namespace weir::proxy {

enum class Flow : std::uint8_t { to_server, to_client };

// How a tunnel ended.
enum class TunnelEnd : std::uint8_t {
  client_closed,  // in order, the client's end came first
  server_closed,
  client_reset,
  server_reset,
  client_failed,  // broken TLS records
  server_failed,
};

class TunnelOwner {
 public:
  virtual void bytes_moved(Flow flow, std::size_t size) = 0;
  // Bytes that had to wait for a slow reader go on.
  virtual void progressed() = 0;
  virtual void half_closed(Flow flow) = 0;
  // The server has left (`end` says how) before a byte was said by anyone. True: the owner asks
  // another one for this client, and this tunnel is over without another call.
  virtual bool try_elsewhere(TunnelEnd end) = 0;
  // The last call; the tunnel does nothing after it. The streams are still open.
  virtual void tunnel_ended(TunnelEnd end) = 0;

 protected:
  ~TunnelOwner() = default;
};

class Tunnel final : public StreamOwner, private Unfinished {
 public:
  // What the client's end means: it is passed on to the server as a half-close, or it ends the
  // tunnel once all that has been read is delivered, and leaves the server's stream open.
  enum class ClientEnd : std::uint8_t { is_passed_on, ends };

  Tunnel(Stream& client, Stream& server, TunnelOwner& owner,
         ClientEnd client_end = ClientEnd::is_passed_on);
  Tunnel(const Tunnel&) = delete;
  Tunnel& operator=(const Tunnel&) = delete;
  ~Tunnel();

  // Takes what is already there, then waits for more. May end at once. `greeting` is what the
  // server has said already, `heard` what was read of the client: they go first.
  void start(std::string_view greeting = {}, std::span<const std::byte> heard = {});
  // Does nothing from now on, without a call to the owner.
  void stop();

  std::uint64_t bytes(Flow flow) const { return directions_[index(flow)].bytes; }
  bool ended(Flow flow) const { return directions_[index(flow)].ended; }
  bool started() const { return started_; }
  // Has nobody asked anything, or was the server's the last word?
  bool server_spoke_last() const { return last_flow_ == Flow::to_client; }
  // The server's stream as it was before, for its next client.
  void give_server_back();
  // Do bytes wait for the reader of this direction?
  bool has_waiting(Flow flow) const { return directions_[index(flow)].has_waiting(); }

 private:
  struct Direction {
    Stream& from;
    Stream& to;
    Flow flow;
    bool ended = false;      // `from` has ended
    bool passed_on = false;  // and `to` has been told
    bool is_bulk = false;    // long and busy: its bytes gather before they are taken
    std::uint8_t vain_looks = 0;
    std::uint32_t chunk = smallest_chunk;
    std::size_t left = 0;  // bytes of its share of this turn
    std::uint64_t bytes = 0;
    std::unique_ptr<Pipe> pipe = nullptr;  // only while bytes are on their way

    bool has_waiting() const { return to.has_unsent() || (pipe && !pipe->empty()); }
  };
  // Reads start small (two TLS records) and grow while a stream is busy.
  static constexpr std::uint32_t smallest_chunk = 36 * 1024;
  static constexpr std::uint32_t largest_chunk = EventLoop::scratch_size;
  // A direction's share of one turn, so that a busy tunnel holds the loop for less than 1 ms: what
  // a slow core encrypts in 0.3 ms, or copies.
  static constexpr std::size_t tls_share = 256 * 1024;
  static constexpr std::size_t plain_share = 512 * 1024;
  // A stream is bulk after this much, when a read brings this much at once, until a look brings so
  // little that it was not worth a wait. Bulk between plain streams goes through a pipe.
  static constexpr std::uint64_t bulk_after = 1024 * 1024;
  static constexpr std::size_t bulk_read = 64 * 1024;
  static constexpr std::size_t least_bulk = 16 * 1024;
  static constexpr int most_vain_looks = 16;
  // The kernel tells of bulk when this much has gathered; of less, the loop's next look.
  static constexpr int gathered_bytes = 256 * 1024;
  // Of bulk, the kernel holds no more than this beyond what is on its way to the reader.
  static constexpr int most_not_sent = 512 * 1024;

  static std::size_t index(Flow flow) { return static_cast<std::size_t>(flow); }
  const Direction& other(const Direction& one) const { return directions_[1 - index(one.flow)]; }

  void stream_ready(Stream& stream) override;
  void go_on() override;
  bool deliver(Flow flow, std::span<const std::byte> bytes);
  void pump_both();
  bool pump(Direction& direction);
  bool pass_waiting_on(Direction& direction);
  Read take(Direction& direction, std::size_t& size);
  bool pass_on(Direction& direction, std::size_t size);
  void adapt(Direction& direction, std::size_t size);
  void rest(Direction& direction, std::size_t moved, bool looked);
  bool pass_end_on(Direction& direction);
  bool is_complete() const;
  void finish(TunnelEnd end);
  void broken(const Stream& stream);
  bool server_left_unheard(TunnelEnd end);

  TunnelOwner& owner_;
  EventLoop& loop_;
  const bool can_splice_;
  const std::size_t share_;  // bytes
  TimePoint turn_;           // the turn of the loop that the shares are of
  std::array<Direction, 2> directions_;
  Flow first_end_ = Flow::to_server;
  Flow last_flow_ = Flow::to_client;  // of bytes
  const bool client_end_ends_;
  bool over_ = false;
  bool started_ = false;
};

}  // namespace weir::proxy
