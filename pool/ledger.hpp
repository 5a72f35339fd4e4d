#pragma once
// The books of one upstream: which connections are opening, idle and leased at each endpoint, who
// waits, and who gets what. It decides and does no I/O: every call appends to `actions` what the
// workers have to do, and time is a parameter. One ledger serves the whole process, so that limits
// are strict and the queue is one queue; it is not thread-safe, its owner (upstream.hpp) locks.
//
// Invariants:
//   - a connection is opening, idle or leased, and in one of these only;
//   - opening + idle + leased <= max_connections at each endpoint, and their sum <= max_total;
//   - opening <= max_opening at each endpoint;
//   - opened = idle + leased + sum of closed by reason;
//   - a waiter ends exactly once: granted, failed or given up; first come, first served.

#include <array>
#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <variant>
#include <vector>

#include "config/config.hpp"
#include "pool/balancer.hpp"
#include "pool/connection.hpp"

namespace weir::pool {

struct Opening;

// A session that waits for a connection. Shared between the session and the ledger, since a grant
// may be on its way from another worker when the session gives up.
struct Waiter : boost::intrusive::list_base_hook<> {
  enum class State : std::uint8_t { waiting, granted, failed, gave_up };

  WorkerIndex worker = 0;
  State state = State::waiting;
  TimePoint since;
  std::vector<EndpointIndex> tried;
  Opening* opening = nullptr;  // the connection that is being opened for it
  // Set when state is failed; while waiting, the last real cause.
  Failure failure = Failure::none;
  std::string detail;
  EndpointIndex last_endpoint = 0;  // where `failure` happened
  void* session = nullptr;          // the proxy's own

  std::shared_ptr<Waiter> self;  // keeps it alive while it is in the queue
};

// A connection that is being opened: a place in the books until it is opened or has failed.
struct Opening {
  EndpointIndex endpoint = 0;
  WorkerIndex worker = 0;
  TimePoint since;
  std::shared_ptr<Waiter> waiter;  // whose failure it would be; null when warming
};

// What workers have to do after a call.
struct Open {
  std::unique_ptr<Opening> opening;
};
struct Hand {  // an idle connection goes from its worker to the waiter
  Connection* connection;
  std::shared_ptr<Waiter> waiter;
};
struct Fail {  // waiter->failure says why
  std::shared_ptr<Waiter> waiter;
};
struct Close {  // an idle connection that left the books
  Connection* connection;
  Closed why;
};
using Action = std::variant<Open, Hand, Fail, Close>;
using Actions = std::vector<Action>;

struct EndpointCounts {
  std::uint32_t opening = 0;
  std::uint32_t idle = 0;
  std::uint32_t leased = 0;
  std::uint32_t total() const { return opening + idle + leased; }
  bool operator==(const EndpointCounts&) const = default;
};

class Ledger {
 public:
  Ledger(const config::Upstream& upstream, std::size_t worker_count);
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;
  ~Ledger();

  // Asks for a connection. An idle one of the asking worker is returned at once, leased; a waiter
  // may already have failed (no healthy endpoint, pool full); else it is in the queue, or an idle
  // connection of another worker is on its way to it. `tried` are endpoints to pass over.
  struct Asked {
    Connection* connection = nullptr;
    std::shared_ptr<Waiter> waiter;
    bool failed = false;  // the waiter's state, which may change as soon as the lock is left
  };
  Asked acquire(WorkerIndex worker, std::vector<EndpointIndex> tried, TimePoint now,
                Actions& actions);
  // The session does not wait any longer. True: the waiter left the queue. False: it has already
  // been granted a connection, which will arrive and must be returned by unwanted().
  bool give_up(Waiter& waiter, TimePoint now, Actions& actions);

  // An opening has succeeded. Who gets the connection: a waiter, the idle list, or nobody.
  struct Placed {
    enum class Where { waiter, idle, nobody } where;
    std::shared_ptr<Waiter> waiter;
  };
  Placed opened(const Opening& opening, Connection& connection, TimePoint now, Actions& actions);
  void open_failed(const Opening& opening, Failure failure, std::string detail, TimePoint now,
                   Actions& actions);
  // A connection that was granted and never spoken on, whose session is gone.
  Placed unwanted(Connection& connection, TimePoint now, Actions& actions);

  // A leased connection is gone.
  void released(EndpointIndex endpoint, Closed why, TimePoint now, Actions& actions);
  // An idle connection has died at its worker. False: it is already on its way to a waiter.
  bool idle_lost(Connection& connection, Closed why, TimePoint now, Actions& actions);
  // A connection that was to be handed over turned out to be dead: its waiter is served again,
  // before all others.
  void hand_failed(EndpointIndex endpoint, const std::shared_ptr<Waiter>& waiter, Closed why,
                   TimePoint now, Actions& actions);
  // A time of an idle connection has come. Nothing: it stays, ask again after the duration.
  enum class Expiry { idle_timeout, fresh_age };
  std::optional<config::Duration> expire(Connection& connection, Expiry expiry, TimePoint now,
                                         Actions& actions);

  void set_healthy(EndpointIndex endpoint, bool healthy, TimePoint now, Actions& actions);
  // Opens what min_idle wants and nothing else has asked for; to be called now and then.
  void warm(TimePoint now, Actions& actions);
  // No more warming; idle connections close.
  void shut_down(Actions& actions);

  const EndpointCounts& counts(EndpointIndex endpoint) const { return seats_[endpoint].counts; }
  bool healthy(EndpointIndex endpoint) const { return seats_[endpoint].healthy; }
  std::uint32_t waiting() const { return starved_; }
  std::size_t queue_length() const { return queue_.size(); }
  std::uint32_t idle_target(EndpointIndex endpoint) const;
  const std::array<std::uint64_t, closed_count>& closed() const { return closed_; }
  std::uint64_t opened_count() const { return opened_; }
  // Aborts when an invariant is broken: for tests and the simulation.
  void check_invariants() const;

 private:
  using ConnectionList = boost::intrusive::list<Connection>;
  using Queue = boost::intrusive::list<Waiter>;

  struct Seat {  // one endpoint
    EndpointCounts counts;
    bool healthy = true;
    std::uint32_t tier = 0;
    std::uint32_t weight = 1;
    std::uint32_t warming = 0;         // openings without a waiter
    std::uint32_t ageing = 0;          // idle connections whose replacement is on the way
    std::uint32_t failures = 0;        // in a row: to open, or to live once opened
    TimePoint warm_after;              // after failures, not before this
    std::vector<ConnectionList> idle;  // by worker; the newest at the back
  };
  class Candidates;

  static std::uint32_t load(const Seat& seat);
  // To be called wherever load() falls.
  void eased(EndpointIndex endpoint) { balancer_->eased(endpoint, load(seats_[endpoint])); }
  void orphan(Waiter& waiter);
  bool may_open(const Seat& seat) const;
  std::optional<std::uint32_t> tier_for(const Waiter& waiter) const;
  std::optional<EndpointIndex> pick(const Waiter& waiter);
  bool serve(std::shared_ptr<Waiter> waiter, TimePoint now, Actions& actions);
  void serve_queue(TimePoint now, Actions& actions);
  Connection* take_idle(EndpointIndex endpoint, WorkerIndex preferred);
  void remove_idle(Connection& connection);
  void enqueue(const std::shared_ptr<Waiter>& waiter, bool first);
  void dequeue(Waiter& waiter);
  void fail(std::shared_ptr<Waiter> waiter, Failure failure, Actions& actions);
  void fail_hopeless(Actions& actions);
  void fail_impatient(Actions& actions);
  void start(EndpointIndex endpoint, WorkerIndex worker, std::shared_ptr<Waiter> waiter,
             TimePoint now, Actions& actions);
  Waiter* recipient(WorkerIndex worker);
  Placed place(Connection& connection, TimePoint now, Actions& actions);
  void count_closed(Closed why) { ++closed_[static_cast<std::size_t>(why)]; }
  void pause_warming(Seat& seat, TimePoint now);
  static bool has_proved(const Connection& connection, TimePoint now);
  void warm_endpoint(EndpointIndex endpoint, TimePoint now, Actions& actions);
  WorkerIndex poorest_worker(const Seat& seat) const;

  config::Pool pool_;
  std::uint32_t attempts_;
  std::vector<Seat> seats_;
  std::unique_ptr<Balancer> balancer_;
  Queue queue_;
  std::uint32_t starved_ = 0;  // waiters in the queue with no opening of their own
  std::uint32_t total_ = 0;    // opening + idle + leased at all endpoints
  std::uint64_t opened_ = 0;
  std::array<std::uint64_t, closed_count> closed_{};
  std::vector<std::uint32_t> warming_on_;  // by worker
  bool shutting_down_ = false;
  std::minstd_rand random_{1};
};

}  // namespace weir::pool
