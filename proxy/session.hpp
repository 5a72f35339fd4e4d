#pragma once
// One client connection from accept to close. Setting it up is one coroutine that reads top to
// bottom (PROXY header, ClientHello or handshake, route, lease); then the coroutine ends and the
// session is a tunnel with deadlines. It ends with exactly one outcome, which is counted and logged
// here and nowhere else. Confined to its worker, which owns it.

#include <boost/intrusive/list.hpp>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "proxy/client_hello_reader.hpp"
#include "proxy/connection_facts.hpp"
#include "proxy/connections.hpp"
#include "proxy/deadlines.hpp"
#include "proxy/listener.hpp"
#include "proxy/outcome.hpp"
#include "proxy/proxy_protocol.hpp"
#include "proxy/route.hpp"
#include "proxy/stream.hpp"
#include "proxy/task.hpp"
#include "proxy/tls.hpp"
#include "proxy/tunnel.hpp"

namespace weir::proxy {

class Worker;

// What a ClientHello says that is not answered here.
struct TlsOffer {
  std::string server_name;
  std::string protocols;  // as far as they fit, with commas
  bool is_one_protocol = false;
};

class Session final : public boost::intrusive::list_base_hook<>,
                      public Disposable,
                      private StreamOwner,
                      private TunnelOwner,
                      private Deadline {
 public:
  // Takes over an accepted, non-blocking socket.
  Session(Worker& worker, Listener& listener, std::uint64_t id, SocketAddress client);
  ~Session() override;

  void start(int descriptor);
  // Ends it from outside (killed, drained), at once or, while it is being set up, as soon as its
  // coroutine looks.
  void end_with(Reason reason, std::string_view detail = {});

  std::uint64_t id() const { return id_; }
  // Leased, or the last one tried.
  const pool::EndpointPointer& endpoint() const { return endpoint_; }
  // To a server of that upstream.
  bool is_connected_to(const pool::Upstream& upstream) const {
    return lease_ && &connections_->upstream() == &upstream;
  }
  ConnectionFacts facts() const;

 private:
  Task<> set_up();
  Task<> set_up_again();
  Task<bool> read_header();
  std::optional<bool> judge_header();
  Task<bool> read_hello();
  std::optional<bool> judge_hello();
  Task<bool> shake_hands();
  bool admit(const ssl_st* ssl);
  std::string_view server_name() const;
  std::vector<std::string_view> protocols() const;
  bool choose_route();
  Task<bool> find_server();
  Task<bool> lease_connection();
  enum class Introduced : std::uint8_t { yes, ended, elsewhere };
  Task<Introduced> introduce();
  Task<std::optional<std::string>> shake_hands_with_server();
  std::string header_for_server() const;
  std::uint64_t balance_key() const;
  bool may_try_elsewhere() const;
  bool is_quiet();
  std::optional<Reason> verdict();
  void open_tunnel();

  void stream_ready(Stream& stream) override;
  void bytes_moved(Flow flow, std::size_t size) override;
  void progressed() override;
  void half_closed(Flow flow) override;
  bool try_elsewhere(TunnelEnd end) override;
  void tunnel_ended(TunnelEnd end) override;
  void expired(TimePoint now) override;

  void set_deadline();
  TimePoint next_due() const;
  std::optional<Reason> overdue(TimePoint now) const;
  void count_acquire(const LeaseRequest& request, Nanoseconds took);
  void end(Reason reason, bool abrupt);

  Worker& worker_;
  Listener& listener_;
  ListenerRulesPointer rules_;
  std::uint64_t id_;
  Stream client_;
  Lease lease_;
  Wakeup wakeup_;
  std::optional<Tunnel> tunnel_;
  Connections* connections_ = nullptr;   // of the chosen upstream
  UpstreamRulesPointer upstream_rules_;  // as they were when it was chosen
  pool::EndpointPointer endpoint_;       // leased, or the last one tried
  EndpointCounters* endpoint_counters_ = nullptr;
  RouteChoice choice_;

  TimePoint accepted_at_;
  TimePoint ready_at_;  // header and handshake are done
  TimePoint last_byte_at_;
  TimePoint first_sent_at_;  // first client byte passed on; epoch = not yet
  TimePoint acquire_began_;  // the first attempt; epoch = not yet
  TimePoint setup_due_;      // end of the header's, the handshake's or the acquire's time
  TimePoint watch_due_;      // when the server's connection gets its keep-alive
  Nanoseconds handshake_took_{-1};
  Nanoseconds acquire_took_{-1};
  Nanoseconds first_byte_took_{-1};
  SocketAddress address_;
  Stage stage_ = Stage::accepted;
  Source source_ = Source::none;
  bool setting_up_ = true;
  bool ended_ = false;
  bool keeps_server_ = false;          // its connection goes back to the pool
  std::optional<Reason> told_;         // end_with() during set-up
  std::optional<Reason> lost_server_;  // how the first server left, when another one is sought
  std::uint32_t attempts_ = 0;
  std::vector<pool::EndpointIndex> tried_;
  std::unique_ptr<TlsFacts> tls_;
  std::unique_ptr<ProxyHeader> header_;
  std::unique_ptr<ClientHelloReader> hello_;  // of TLS that is passed through, until it is sent
  std::unique_ptr<TlsOffer> offer_;           // what it has said
  std::string detail_;
  std::chrono::system_clock::time_point accepted_wall_;
};

}  // namespace weir::proxy
