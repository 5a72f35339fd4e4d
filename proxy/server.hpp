#pragma once
// The running program: it builds everything from a configuration, owns it, and takes it through
// its phases: starting, serving, draining, stopped; while it serves, another configuration can take
// the place of the one in force (server_reload.cpp), at a signal or when files change
// (server_watch.cpp). Lives on the main thread; what other threads
// ask of it is posted or atomic.

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <boost/asio/signal_set.hpp>
#include <boost/asio/steady_timer.hpp>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "config/diagnostic.hpp"
#include "pool/upstream.hpp"
#include "proxy/access_log.hpp"
#include "proxy/admin.hpp"
#include "proxy/descriptor_watch.hpp"
#include "proxy/discoverer.hpp"
#include "proxy/endpoint_totals.hpp"
#include "proxy/figures.hpp"
#include "proxy/file_watch.hpp"
#include "proxy/growing_table.hpp"
#include "proxy/in_force.hpp"
#include "proxy/inheritance.hpp"
#include "proxy/launch.hpp"
#include "proxy/loading.hpp"
#include "proxy/rules.hpp"
#include "proxy/shared.hpp"
#include "proxy/successor.hpp"
#include "proxy/worker.hpp"

namespace weir::proxy {

class Server final : private pool::Workers, private WorkerHost, private AdminSource {
 public:
  // Reads the configuration again, given the certificates in force.
  using LoadAgain = std::function<Loaded(const TlsStore&)>;

  // Throws std::runtime_error with a message for the operator when something cannot be opened.
  // Without `load_again` there is nothing to reload, without `invocation` no other process can take
  // this one's place.
  explicit Server(Loaded loaded, LoadAgain load_again = {}, Inheritance inheritance = {},
                  std::optional<Invocation> invocation = {});
  ~Server();

  // Serves until a signal ends it; returns the exit status.
  int run();

  // Of a listener, by its place in the configuration.
  std::vector<config::Address> addresses(std::size_t listener) const;
  config::Address admin_address() const;

 private:
  enum class Phase : std::uint8_t { starting, serving, draining, stopped };
  struct Change;
  using Numbers = std::map<std::string, std::size_t>;

  // What changes by itself: server_watch.cpp.
  void follow_files(Loaded& loaded);
  void configuration_changed(const std::vector<std::string>& paths);
  void certificates_changed(const std::vector<std::string>& paths);
  void take_up_certificates();

  // From one configuration to another: server_reload.cpp.
  void reload();
  void accept(std::string_view what);
  void refuse(std::string_view what, std::string why);
  std::shared_ptr<Change> prepare(const Loaded& loaded);
  void prepare_upstreams(const Loaded& loaded, Change& change) const;
  void prepare_listeners(const Loaded& loaded, Change& change) const;
  OpenBinding bind(const config::Address& address, std::vector<BindingPointer>& own,
                   const std::vector<BindingPointer>& ours) const;
  void change_to(Change& change);
  void make_room(const Change& change);
  void remove_files(const Change& change) const;
  void carry_out(const Change& change, Worker& worker) const;
  void change_pools(const Change& change);
  void change_process(Change& change);
  void keep_counts(Change& change) const;
  void log_listeners(const Change& change) const;
  void sweep_rules();

  // From one process to another: server_handover.cpp.
  void replace();
  void successor_ended(pid_t process, const std::string& why);

  void build_workers();
  void follow_endpoints();
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
  std::string configuration() override { return in_force()->config->wording.yaml; }
  std::vector<ConnectionFacts> connections() override;
  bool kill(std::uint64_t id) override;

  InForcePointer in_force() const;
  FigureSources figure_sources(const InForce& in_force) const;

  LoadAgain load_again_;
  Inheritance inheritance_;
  std::optional<Invocation> invocation_;
  asio::io_context io_{1};
  asio::signal_set signals_;
  asio::steady_timer timer_;
  Successor successor_{io_};
  bool reload_put_off_ = false;  // until that one serves, or does not
  std::atomic<Phase> phase_{Phase::starting};
  std::atomic<unsigned> workers_accepting_{0};
  bool accepting_ = true;
  bool ending_ = false;  // a second signal: nothing is waited for
  Shared shared_;
  std::chrono::steady_clock::time_point started_;
  std::chrono::system_clock::time_point started_wall_;
  std::unique_ptr<AccessLog> access_log_;

  mutable std::mutex mutex_;  // of these two
  InForcePointer in_force_;
  Reloads reloads_;

  // By number: what has ever been configured keeps its own, and takes it up again when it comes
  // back.
  Numbers listener_numbers_;
  Numbers upstream_numbers_;
  std::vector<ListenerRulesPointer> listener_rules_;  // null = not configured now
  std::vector<UpstreamRulesPointer> upstream_rules_;
  std::vector<std::shared_ptr<const void>> former_rules_;  // that somebody may still go by
  GrowingTable<std::unique_ptr<pool::Upstream>> upstreams_;
  std::vector<std::unique_ptr<Worker>> workers_;
  std::unique_ptr<EndpointBooks> endpoint_books_;
  std::unique_ptr<Discoverer> discoverer_;
  std::unique_ptr<DescriptorWatch> descriptor_watch_;
  FileWatch configuration_watch_;
  FileWatch tls_watch_;
  std::unique_ptr<Admin> admin_;
};

}  // namespace weir::proxy
