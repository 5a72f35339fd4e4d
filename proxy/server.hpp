#pragma once
// The running program: it builds everything from a configuration, owns it, and takes it through
// its phases: starting, serving, draining, stopped. Lives on the main thread; what other threads
// ask of it is posted or atomic.

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "config/diagnostic.hpp"
#include "pool/upstream.hpp"
#include "proxy/access_log.hpp"
#include "proxy/admin.hpp"
#include "proxy/descriptor_watch.hpp"
#include "proxy/discoverer.hpp"
#include "proxy/endpoint_totals.hpp"
#include "proxy/route.hpp"
#include "proxy/shared.hpp"
#include "proxy/tls.hpp"
#include "proxy/worker.hpp"

namespace weir::proxy {

// What is made from the configuration's files: certificates and keys. Made before anything runs,
// so that `weir check` and the server find the same mistakes.
struct TlsStore {
  std::map<std::string, std::unique_ptr<TlsServer>> servers;  // by name of the settings
  std::vector<std::unique_ptr<TlsClient>> clients;            // by upstream; null = plaintext

  static TlsStore make(const config::Config& config, std::vector<config::Problem>& problems);
};

class Server final : private pool::Workers, private WorkerHost, private AdminSource {
 public:
  // Throws std::runtime_error with a message for the operator when something cannot be opened.
  Server(const config::Config& config, TlsStore tls);
  ~Server();

  // Serves until a signal ends it; returns the exit status.
  int run();

  std::vector<config::Address> addresses(std::size_t listener) const { return bound_[listener]; }
  config::Address admin_address() const;

 private:
  enum class Phase : std::uint8_t { starting, serving, draining, stopped };

  void build_workers();
  void follow_endpoints();
  void open_listeners();
  void open_listener(std::size_t index, const config::Address& address);
  void wait_for_signals();
  void on_signal(int number);
  void drain();
  void stop_accepting();
  void end_sessions();
  void finish();

  // pool::Workers
  void perform(pool::Upstream& upstream, pool::Action action) override;
  // WorkerHost
  void send_connection(pool::WorkerIndex worker, pool::Upstream& upstream,
                       std::unique_ptr<ServerConnection> connection,
                       std::shared_ptr<pool::Waiter> waiter, pool::Source source) override;
  void worker_is_empty() override;
  // AdminSource
  std::string metrics() override;
  bool ready() override { return phase_.load() == Phase::serving; }
  boost::json::value status() override;
  std::string configuration() override { return config_.wording.yaml; }
  std::vector<ConnectionFacts> connections() override;
  bool kill(std::uint64_t id) override;

  const config::Config& config_;
  TlsStore tls_;
  asio::io_context io_{1};
  asio::signal_set signals_;
  asio::steady_timer timer_;
  std::atomic<Phase> phase_{Phase::starting};
  std::atomic<unsigned> workers_accepting_{0};
  bool accepting_ = true;
  bool ending_ = false;  // a second signal: nothing is waited for
  Shared shared_;
  std::chrono::steady_clock::time_point started_;
  std::chrono::system_clock::time_point started_wall_;
  std::unique_ptr<AccessLog> access_log_;
  std::vector<std::unique_ptr<RouteTable>> routes_;  // by listener
  std::vector<std::vector<config::Address>> bound_;  // by listener
  std::vector<std::string> socket_files_;            // to remove at the end
  std::vector<std::unique_ptr<pool::Upstream>> upstreams_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<EndpointBooks> endpoint_books_;
  std::unique_ptr<Discoverer> discoverer_;
  std::unique_ptr<DescriptorWatch> descriptor_watch_;
  std::unique_ptr<Admin> admin_;
};

}  // namespace weir::proxy
