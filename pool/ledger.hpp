#pragma once
// The books of one upstream: which endpoints there are and which of them may be used, which
// connections are opening, idle and leased at each, who waits, and who gets what. It decides and
// does no I/O: every call appends to `actions` what the workers have to do, and time is a
// parameter. One ledger serves the whole process, so that limits are strict and the queue is one
// queue; it is not thread-safe, its owner (upstream.hpp) locks.
//
// Invariants:
//   - a connection is opening, idle, leased or closing, and in one of these only;
//   - what is in any of these is <= max_connections at each endpoint, and in all <= max_total: a
//     place is free when the socket is closed, not when that was decided;
//   - opening <= max_opening at each endpoint, and at most one at an endpoint that is failing;
//   - opened = idle + leased + sum of closed by reason;
//   - a waiter ends exactly once: granted, failed or given up; first come, first served, and
//     nobody is passed over by more than most_overtaken connections that become ready (but for
//     `hash`: there who waits for its own endpoint is passed over by those of others).
//
// Its parts: ledger.cpp (sessions: ask, open, lend, return), ledger_choice.cpp (who gets what),
// ledger_idle.cpp (what is kept ready, and how it ages), ledger_endpoints.cpp (which endpoints
// there are, and which may be used), ledger_configure.cpp (other settings while it runs),
// ledger_invariants.cpp (checks of all this, for tests).

#include <array>
#include <boost/intrusive/list.hpp>
#include <cstdint>
#include <memory>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "config/config.hpp"
#include "pool/backoff.hpp"
#include "pool/balancer.hpp"
#include "pool/connection.hpp"
#include "pool/demand.hpp"
#include "pool/ejection.hpp"
#include "pool/health.hpp"
#include "pool/token_bucket.hpp"

namespace weir::pool {

struct Opening;

// A session that waits for a connection. Shared between the session and the ledger, since a grant
// may be on its way from another worker when the session gives up.
struct Waiter : boost::intrusive::list_base_hook<> {
  enum class State : std::uint8_t { waiting, granted, failed, gave_up };

  WorkerIndex worker = 0;
  State state = State::waiting;
  std::uint8_t overtaken = 0;  // by how many connections that it could have had
  bool gets_room = false;      // an idle connection is being closed for it
  TimePoint since;
  std::uint64_t key = 0;  // for the balancer
  std::vector<EndpointIndex> tried;
  Opening* opening = nullptr;  // the connection that is being opened for it
  // Set when state is failed; while waiting, the last real cause, and where it happened.
  Failure failure = Failure::none;
  std::string detail;
  EndpointPointer failed_at;
  void* session = nullptr;  // the proxy's own

  std::shared_ptr<Waiter> self;  // keeps it alive while it is in the queue
};

// A connection that is being opened: a place in the books until it is opened or has failed.
struct Opening {
  EndpointIndex endpoint = 0;
  EndpointPointer target;
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
struct Close {  // an idle connection, no longer to be lent; then gone()
  Connection* connection;
  Closed why;
};
struct EndSessions {  // of an endpoint, on every worker
  EndpointPointer endpoint;
  bool removed;  // it has left; else it is unhealthy
};
struct Wake {  // tick() is to be called then, unless an earlier time was asked for already
  TimePoint at;
};
using Action = std::variant<Open, Hand, Fail, Close, EndSessions, Wake>;
using Actions = std::vector<Action>;

struct EndpointCounts {
  std::uint32_t opening = 0;
  std::uint32_t idle = 0;
  std::uint32_t leased = 0;
  std::uint32_t closing = 0;  // decided, and not done yet
  std::uint32_t total() const { return opening + idle + leased + closing; }
  bool operator==(const EndpointCounts&) const = default;
};

// Connections are interchangeable only if they were opened under the same settings (TLS, PROXY
// header, mode ...): each such set has a number, which grows. What is older than `newest` is
// replaced as soon as it can be, what is older than `oldest_lent` is not lent any more.
struct Generations {
  std::uint64_t newest = 0;
  std::uint64_t oldest_lent = 0;
};

// How short the process is of descriptors: idle connections are the first to go.
enum class Pressure : std::uint8_t { none, no_warming };

class Ledger {
 public:
  // How many connections that become ready may go elsewhere before a waiter gets one.
  static constexpr int most_overtaken = 2;

  // Seats for `capacity` endpoints; those of the configuration that are addresses are there from
  // the start.
  Ledger(const config::Upstream& upstream, std::size_t capacity, std::size_t worker_count,
         TimePoint now);
  Ledger(const Ledger&) = delete;
  Ledger& operator=(const Ledger&) = delete;
  ~Ledger();

  // --- Sessions ---

  // Asks for a connection. An idle one of the asking worker is returned at once, leased; a waiter
  // may already have failed (no healthy endpoint, pool full); else it is in the queue, or an idle
  // connection of another worker is on its way to it. `tried` are endpoints to pass over, `key` is
  // what `balance: hash` goes by.
  struct Asked {
    Connection* connection = nullptr;
    std::shared_ptr<Waiter> waiter;
    bool failed = false;  // the waiter's state, which may change as soon as the lock is left
  };
  Asked acquire(WorkerIndex worker, std::span<const EndpointIndex> tried, std::uint64_t key,
                TimePoint now, Actions& actions);
  // The session does not wait any longer. True: the waiter left the queue. False: it has already
  // been granted a connection, which will arrive and must be returned by unwanted().
  bool give_up(Waiter& waiter, TimePoint now, Actions& actions);

  // An opening has succeeded. Who gets the connection: a waiter, the idle list, or nobody: then it
  // is to be closed, and gone() to be called.
  struct Placed {
    enum class Where { waiter, idle, nobody } where;
    std::shared_ptr<Waiter> waiter;
  };
  Placed opened(const Opening& opening, Connection& connection, TimePoint now, Actions& actions);
  void open_failed(const Opening& opening, Failure failure, std::string detail, TimePoint now,
                   Actions& actions);
  // The same for one that was opened, but is of no use: it counts as opened, and as closed.
  void open_spoilt(const Opening& opening, Failure failure, std::string detail, Closed why,
                   TimePoint now, Actions& actions);
  // A connection that was granted and never spoken on, whose session is gone.
  Placed unwanted(Connection& connection, TimePoint now, Actions& actions);

  // May this leased connection be lent again, once its server has forgotten the client? If not,
  // why not: it is to be closed.
  std::optional<Closed> worn_out(const Connection& connection, TimePoint now) const;
  // The server has forgotten the client.
  Placed returned(Connection& connection, TimePoint now, Actions& actions);
  // A leased connection is gone. `peer_closed`: it died before the server said anything.
  // `opened_at`: when it had been opened.
  void released(EndpointIndex endpoint, Closed why, TimePoint now, Actions& actions,
                TimePoint opened_at = TimePoint::max());

  // An idle connection that was just lent turned out to be dead: as if it had died before.
  void found_dead(const Connection& connection, Closed why, TimePoint now, Actions& actions);

  // --- Idle connections ---

  // An idle connection has died at its worker. False: an action about it is already on its way.
  bool idle_lost(Connection& connection, Closed why, TimePoint now, Actions& actions);
  // A connection that was to be handed over turned out to be dead: its waiter is served again,
  // before all others.
  void hand_failed(const Connection& connection, const std::shared_ptr<Waiter>& waiter, Closed why,
                   TimePoint now, Actions& actions);
  // The `due` of an idle connection has come: it closes, or gets another time.
  void expire(Connection& connection, TimePoint now, Actions& actions);
  // Closes up to `count` idle connections, the oldest first; returns how many.
  std::size_t shed(std::size_t count, Actions& actions);
  // A connection that was to be closed is: there is room for another one.
  void gone(EndpointIndex endpoint, TimePoint now, Actions& actions);
  void set_pressure(Pressure pressure, TimePoint now, Actions& actions);
  // Does what has become possible with time; to be called first at the start, then when a Wake
  // says.
  void tick(TimePoint now, Actions& actions);
  // No more warming; idle connections close.
  void shut_down(Actions& actions);

  // --- Endpoints ---

  // What each seat would hold if these were the endpoints: one that is there already keeps its
  // seat, the others get free ones as far as there are any.
  std::vector<EndpointPointer> assign(std::span<const EndpointPointer> wanted) const;
  // Those are the endpoints from now on. Who left loses its idle connections; who came is warmed.
  // `balancer` knows the endpoints by their seats.
  void set_endpoints(std::vector<EndpointPointer> seats, std::unique_ptr<Balancer> balancer,
                     TimePoint now, Actions& actions);
  // Endpoints are still being looked for (sessions wait for them) or could not be found.
  void expect_endpoints(bool expected, std::string why_not, TimePoint now, Actions& actions);

  // The result of a health check. Nothing: the endpoint has left meanwhile.
  struct Checked {
    Health::Change change;
    config::Duration next;  // until the next check
  };
  std::optional<Checked> checked(const EndpointPointer& endpoint, EndpointIndex index, bool passed,
                                 std::string why, TimePoint now, Actions& actions);

  // --- Settings ---

  // Other limits, times and checks from now on, in place: nobody who has a connection loses it.
  // Idle connections that do not fit any more close; of the others, each worker passes its own to
  // reconsider(). `capacity`: seats, as many as before at least. To be followed by set_endpoints().
  void configure(const config::Upstream& upstream, Generations generations, std::size_t capacity,
                 TimePoint now, Actions& actions);
  // Gives an idle connection another `due`, or closes it: its times may have changed.
  void reconsider(Connection& connection, TimePoint now, Actions& actions);

  // --- What it knows ---

  const config::Upstream& config() const { return config_; }
  std::size_t seat_count() const { return seats_.size(); }
  std::size_t endpoint_count() const { return present_.size(); }
  // Seats that are taken beside those of the addresses that are written there.
  std::size_t taken_by_others(const config::Upstream& upstream) const;
  // Null: the seat is free. An endpoint that has left keeps its seat until its connections end.
  const EndpointPointer& endpoint(EndpointIndex index) const { return seats_[index].endpoint; }
  bool is_present(EndpointIndex index) const { return seats_[index].present; }
  const EndpointCounts& counts(EndpointIndex endpoint) const { return seats_[endpoint].counts; }
  bool healthy(EndpointIndex endpoint) const { return seats_[endpoint].healthy; }
  bool ejected(EndpointIndex endpoint) const { return seats_[endpoint].ejection.ejected(); }
  // What the last check said; empty = it passed, or there was none.
  const std::string& check_words(EndpointIndex index) const { return seats_[index].check_words; }
  std::uint32_t waiting() const { return starved_; }
  std::size_t queue_length() const { return queue_.size(); }
  std::uint32_t idle_target(EndpointIndex endpoint, TimePoint now) const;
  TimePoint oldest_idle() const;  // when it became idle; max = there is none
  std::uint32_t total() const { return total_; }
  const std::array<std::uint64_t, closed_count>& closed() const { return closed_; }
  std::uint64_t opened_count() const { return opened_; }
  // Aborts when an invariant is broken: for tests and the simulation.
  void check_invariants() const;

 private:
  using ConnectionList = boost::intrusive::list<Connection>;
  using Queue = boost::intrusive::list<Waiter>;

  struct Seat {
    Seat(const config::Upstream& upstream, std::size_t worker_count, TimePoint now);

    EndpointPointer endpoint;
    bool present = false;
    EndpointCounts counts;
    std::uint32_t warming = 0;         // openings without a waiter
    std::uint32_t ageing = 0;          // idle connections whose replacement is on the way
    std::vector<ConnectionList> idle;  // by worker; the newest at the back

    bool healthy = true;
    std::optional<Health> health;
    std::string check_words;
    // Has come or recovered, and is warmed before it takes its full share; till then at most.
    bool catching_up = false;
    TimePoint catching_up_until;
    TimePoint ramp_began;  // of slow_start; min = its weight is full
    bool troubled = false;
    std::uint32_t noted_load = 0;  // what tiers_ counts
    EndpointCounts at_configure;   // may be more than limits that were lowered allow

    Demand demand;
    Backoff backoff;
    TokenBucket tokens;
    Ejection ejection;
  };
  class Candidates;

  static std::uint32_t load(const Seat& seat);
  void add_warming(Seat& seat, WorkerIndex worker);
  void remove_warming(Seat& seat, WorkerIndex worker);
  // To be called wherever load() falls.
  void eased(EndpointIndex endpoint) {
    note_load(seats_[endpoint]);
    balancer_->eased(endpoint, load(seats_[endpoint]));
  }
  void note_load(Seat& seat);
  double chance();

  // Sessions.
  bool is_choosy(std::span<const EndpointIndex> tried, std::uint32_t tier, TimePoint now) const;
  std::optional<EndpointIndex> pick(std::span<const EndpointIndex> tried, std::uint64_t key,
                                    TimePoint now);
  bool make_room(std::span<const EndpointIndex> tried, TimePoint now, Actions& actions);
  bool serve(std::shared_ptr<Waiter> waiter, TimePoint now, Actions& actions);
  void serve_queue(TimePoint now, Actions& actions);
  void enqueue(const std::shared_ptr<Waiter>& waiter, bool first);
  void dequeue(Waiter& waiter);
  void orphan(Waiter& waiter);
  void fail(std::shared_ptr<Waiter> waiter, Failure failure, Actions& actions);
  void fail_hopeless(Actions& actions);
  void fail_impatient(Actions& actions);
  void start(EndpointIndex endpoint, WorkerIndex worker, std::shared_ptr<Waiter> waiter,
             TimePoint now, Actions& actions);
  bool may_have(const Waiter& waiter, EndpointIndex endpoint) const;
  Waiter* recipient(const Connection& connection, const Waiter* owner);
  void exchange_openings(const Opening& opening, Waiter* next);
  Placed place(Connection& connection, Waiter* next, TimePoint now, Actions& actions);
  Placed keep_idle(Connection& connection, TimePoint now, Actions& actions);
  // May it still be lent, as far as its settings go?
  bool is_outdated(const Connection& connection) const {
    return connection.generation < generations_.oldest_lent;
  }
  bool is_to_be_replaced(const Connection& connection) const {
    return connection.generation < generations_.newest;
  }
  void count_closed(Closed why) { ++closed_[static_cast<std::size_t>(why)]; }

  // Idle connections.
  Connection* take_idle(EndpointIndex endpoint, WorkerIndex preferred);
  void remove_idle(Connection& connection);
  void close_idle(Connection& connection, Closed why, Actions& actions);
  void begin_closing(EndpointIndex endpoint, Closed why);
  void close_all_idle(Seat& seat, Closed why, Actions& actions);
  Connection* oldest(Seat& seat, bool ageing_only);
  Connection& longest_idle();
  TimePoint lifetime_of(const Connection& connection) const;
  TimePoint age_limit_of(const Connection& connection) const;
  TimePoint due_of(const Connection& connection) const;
  Closed age_reason(const Connection& connection, TimePoint now) const;
  void warm_all(TimePoint now, Actions& actions);
  void warm_endpoint(EndpointIndex endpoint, TimePoint now, Actions& actions);
  bool has_recovered(Seat& seat, TimePoint now, Actions& actions);
  WorkerIndex poorest_worker(const Seat& seat) const;
  bool warms() const;

  // Settings.
  void configure_checks(EndpointIndex endpoint, TimePoint now, Actions& actions);
  void close_what_does_not_fit(Actions& actions);

  // Endpoints.
  bool is_full() const { return pool_.max_total != 0 && total_ >= pool_.max_total; }
  bool has_room(const Seat& seat, TimePoint now) const;  // but for max_total
  bool may_open(const Seat& seat, TimePoint now) const { return !is_full() && has_room(seat, now); }
  bool takes_sessions(const Seat& seat) const;
  // Would another endpoint of its tier be better?
  bool passed_over(const Seat& seat, TimePoint now) const;
  std::optional<std::uint32_t> tier_for(std::span<const EndpointIndex> tried) const;
  void failed(EndpointIndex endpoint, bool of_session, TimePoint now, Actions& actions);
  void eject(EndpointIndex endpoint, TimePoint now, Actions& actions);
  void prove(Seat& seat, TimePoint opened_at);
  void note_death(const Connection& connection, bool served, Closed why, TimePoint now,
                  Actions& actions);
  void note_trouble(Seat& seat);
  bool readmit_if_nobody(TimePoint now);
  void begin_catching_up(EndpointIndex endpoint, TimePoint now, Actions& actions);
  void ramp(EndpointIndex endpoint, TimePoint now, Actions& actions);
  double share(const Seat& seat, TimePoint now) const;
  std::string why_nobody() const;
  void watch_endpoints(TimePoint now, Actions& actions);
  void weigh_tiers(TimePoint now);
  void set_healthy(EndpointIndex endpoint, bool healthy, TimePoint now, Actions& actions);
  void order_by_tier(const std::vector<EndpointPointer>& seats);
  void leave(EndpointIndex endpoint, TimePoint now, Actions& actions);
  void come(EndpointIndex endpoint, EndpointPointer pointer, TimePoint now, Actions& actions);
  void wake_at(TimePoint at, Actions& actions);
  void wake_for_waiters(TimePoint now, Actions& actions);

  config::Upstream config_;
  const config::Pool& pool_;  // its
  Generations generations_;
  std::vector<Seat> seats_;
  std::vector<EndpointIndex> present_;  // ascending
  std::vector<EndpointIndex> by_tier_;  // the same, the lowest tier first
  // By tier: of its endpoints that take sessions.
  struct Tier {
    double weight = 0;
    std::uint32_t load = 0;
  };
  std::vector<Tier> tiers_;
  std::unique_ptr<Balancer> balancer_;
  Queue queue_;
  std::uint32_t starved_ = 0;  // waiters in the queue with no opening of their own
  std::uint32_t total_ = 0;    // in any state, at all endpoints
  std::uint32_t idle_total_ = 0;
  std::uint32_t closing_total_ = 0;
  std::uint32_t troubled_ = 0;  // seats for which passed_over() may be true
  std::uint64_t opened_ = 0;
  std::array<std::uint64_t, closed_count> closed_{};
  std::vector<std::uint32_t> warming_on_;  // by worker
  bool warming_waits_ = false;             // for sessions that wait, or for max_total
  Pressure pressure_ = Pressure::none;
  bool shutting_down_ = false;
  bool expecting_ = false;  // endpoints that DNS has not found yet
  std::string why_not_found_;
  std::uint32_t total_at_configure_ = 0;
  TimePoint wake_at_ = TimePoint::max();
  std::minstd_rand random_;
};

}  // namespace weir::pool
