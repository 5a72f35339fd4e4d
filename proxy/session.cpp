#include "proxy/session.hpp"

#include <algorithm>

#include "pool/assert.hpp"
#include "proxy/worker.hpp"

namespace weir::proxy {

using namespace std::chrono_literals;

Session::Session(Worker& worker, Listener& listener, std::uint64_t id, SocketAddress client)
    : worker_(worker),
      listener_(listener),
      rules_(listener.rules()),
      id_(id),
      accepted_at_(worker.loop().now()),
      last_byte_at_(accepted_at_),
      setup_due_(TimePoint::max()),
      watch_due_(TimePoint::max()),
      address_(client),
      accepted_wall_(worker.wall_clock()) {}

Session::~Session() {
  WEIR_ASSERT(ended_, "a session ends with an outcome");
}

void Session::start(int descriptor) {
  const auto transport = address_.family == SocketAddress::Family::unix_socket
                             ? Stream::Transport::unix_socket
                             : Stream::Transport::tcp;
  if (!client_.open(worker_.loop(), descriptor, transport, *this, false)) {
    setting_up_ = false;
    end(Reason::descriptors, false);
    return;
  }
  if (rules_->tls != nullptr) listener_.handshake_began();
  worker_.loop().tasks().spawn("session", set_up());
}

void Session::end_with(Reason reason, std::string_view detail) {
  if (ended_) return;
  if (!detail.empty()) detail_ = detail;
  if (setting_up_) {
    told_ = reason;
    wakeup_.wake();
    return;
  }
  if (tunnel_) tunnel_->stop();
  end(reason, true);
}

// The story of a connection. After it the tunnel drives itself.
Task<> Session::set_up() {
  bool good = true;
  if (rules_->config.proxy_protocol != config::AcceptProxy::off) good = co_await read_header();
  if (good && rules_->config.passthrough) good = co_await read_hello();
  if (rules_->tls != nullptr) {
    if (good) good = co_await shake_hands();
    listener_.handshake_ended();
  }
  if (!good) co_return;
  ready_at_ = worker_.loop().now();
  if (!choose_route()) {
    end(Reason::no_route, false);
    co_return;
  }
  const bool found = co_await find_server();
  if (found) open_tunnel();
}

// A server that went away before anything was said to it: another one, for the same client.
Task<> Session::set_up_again() {
  tunnel_.reset();
  lease_.drop(pool::Closed::peer_closed);
  const bool found = co_await find_server();
  if (found) open_tunnel();
}

Task<bool> Session::shake_hands() {
  stage_ = Stage::handshake;
  ssl_st* ssl = rules_->tls->accept();
  if (ssl == nullptr) {
    end(Reason::internal, true);
    co_return false;
  }
  client_.start_tls(ssl);
  const TimePoint began = worker_.loop().now();
  setup_due_ = began + rules_->handshake_timeout;
  set_deadline();
  for (;;) {
    Stream::Handshake state = Stream::Handshake::wait;
    if (client_.has_unsent()) client_.flush();
    if (client_.may_read()) state = client_.handshake();
    if (state == Stream::Handshake::done) break;
    if (state == Stream::Handshake::failed) {
      TlsFailure failure = tls_failure(client_);
      listener_.count_handshake(failure.reason, {}, false);
      detail_ = std::move(failure.words);
      // The alert that says why is on its way: an orderly close lets it arrive.
      end(Reason::client_tls_failed, false);
      co_return false;
    }
    if (const auto reason = verdict()) {
      const bool timed_out =
          *reason == Reason::client_timeout || *reason == Reason::session_timeout;
      listener_.count_handshake(timed_out                         ? "timeout"
                                : *reason == Reason::client_reset ? "reset"
                                                                  : "other",
                                {}, false);
      end(*reason, true);
      co_return false;
    }
    co_await wakeup_.wait();
  }
  handshake_took_ = worker_.loop().now() - began;
  listener_.counters().handshake.observe(handshake_took_);
  last_byte_at_ = worker_.loop().now();
  co_return admit(ssl);
}

bool Session::choose_route() {
  choice_ = rules_->routes.choose(server_name(), protocols(), address_);
  if (choice_.upstream == RouteChoice::no_upstream) return false;
  connections_ = &worker_.connections(choice_.upstream);
  upstream_rules_ = connections_->rules();
  return true;
}

Task<bool> Session::find_server() {
  for (;;) {
    const bool leased = co_await lease_connection();
    if (!leased) co_return false;
    if (lease_->rules().config.proxy_protocol == config::SendProxy::off) co_return true;
    const Introduced introduced = co_await introduce();
    if (introduced != Introduced::elsewhere) co_return introduced == Introduced::yes;
  }
}

Task<bool> Session::lease_connection() {
  stage_ = Stage::acquiring;
  setting_up_ = true;
  const TimePoint began = worker_.loop().now();
  if (acquire_began_ == TimePoint{}) acquire_began_ = began;
  const config::Duration patience = upstream_rules_->config.pool.acquire_timeout;
  // Without patience a session does not queue, but a connection that is being opened for it has
  // timeouts of its own.
  setup_due_ = patience == 0s ? TimePoint::max() : acquire_began_ + patience;
  set_deadline();
  LeaseRequest request(wakeup_);
  request.ask(*connections_, tried_, balance_key());
  while (!request.settled()) {
    const auto reason = verdict();
    if (!reason) {
      co_await wakeup_.wait();
      continue;
    }
    request.cancel();
    if (request.failure != pool::Failure::none) {
      detail_ = std::string(pool::word(request.failure)) + ": " + request.detail;
      endpoint_ = request.failed_at;
    }
    count_acquire(request, worker_.loop().now() - began);
    const bool waited_out = *reason == Reason::acquire_timeout;
    end(waited_out ? lost_server_.value_or(*reason) : *reason, !waited_out);
    co_return false;
  }
  acquire_took_ = worker_.loop().now() - began;
  count_acquire(request, acquire_took_);
  attempts_ += static_cast<std::uint32_t>(request.tried.size() - tried_.size());
  tried_ = std::move(request.tried);
  if (!request.lease) {
    if (!request.detail.empty()) detail_ = std::move(request.detail);
    if (request.failed_at) endpoint_ = request.failed_at;
    const Reason cause = reason_for(request.failure).value_or(Reason::internal);
    // Nobody else to ask: the way the first server left is what the client has met.
    const bool nobody = cause == Reason::no_healthy_endpoint || cause == Reason::acquire_timeout ||
                        cause == Reason::pool_full;
    end(nobody ? lost_server_.value_or(cause) : cause, false);
    co_return false;
  }
  if (told_) {
    end(*told_, true);
    co_return false;
  }
  ++attempts_;
  detail_.clear();
  lease_ = std::move(request.lease);
  endpoint_ = lease_.target();
  source_ = static_cast<Source>(static_cast<int>(request.source) + 1);
  co_return true;
}

// What `balance: hash` keeps together: the same for every connection of a client, or for a name.
std::uint64_t Session::balance_key() const {
  const config::Upstream& upstream = upstream_rules_->config;
  if (upstream.balance != config::Balance::hash) return 0;
  if (upstream.hash_on == config::HashOn::server_name) {
    return pool::stable_hash(server_name());
  }
  const std::size_t length = address_.family == SocketAddress::Family::ipv4   ? 4
                             : address_.family == SocketAddress::Family::ipv6 ? 16
                                                                              : 0;
  return pool::stable_hash({reinterpret_cast<const char*>(address_.bytes.data()), length});
}

// What has happened to a session that is being set up, if anything has.
std::optional<Reason> Session::verdict() {
  if (told_) return told_;
  if (client_.broken()) return Reason::client_reset;
  return overdue(worker_.loop().now());
}

void Session::open_tunnel() {
  setting_up_ = false;
  stage_ = Stage::open;
  setup_due_ = TimePoint::max();
  last_byte_at_ = worker_.loop().now();
  endpoint_counters_ = &connections_->counters().endpoints[lease_.endpoint()];
  endpoint_counters_->sessions.add();
  const config::Pool& pool = lease_->rules().config.pool;
  watch_due_ =
      last_byte_at_ + std::min(pool.keepalive.idle,
                               pool.user_timeout > 0s ? pool.user_timeout : pool.keepalive.idle) /
                          2;
  // A connection that is lent again is not told of this client's end.
  tunnel_.emplace(client_, lease_.stream(), static_cast<TunnelOwner&>(*this),
                  pool.mode == config::PoolMode::reset ? Tunnel::ClientEnd::ends
                                                       : Tunnel::ClientEnd::is_passed_on);
  set_deadline();
  const std::span<const std::byte> heard = hello_ ? hello_->seen() : std::span<const std::byte>();
  tunnel_->start(lease_->take_greeting(), heard);
  hello_.reset();
}

void Session::stream_ready(Stream&) {
  wakeup_.wake();
}

void Session::bytes_moved(Flow flow, std::size_t size) {
  last_byte_at_ = worker_.loop().now();
  if (flow == Flow::to_server) {
    listener_.counters().client_received.add(size);
    endpoint_counters_->sent.add(size);
    if (first_sent_at_ == TimePoint{}) first_sent_at_ = last_byte_at_;
    return;
  }
  listener_.counters().client_sent.add(size);
  endpoint_counters_->received.add(size);
  if (first_byte_took_ < 0ns && first_sent_at_ != TimePoint{}) {
    first_byte_took_ = last_byte_at_ - first_sent_at_;
    connections_->counters().first_byte.observe(first_byte_took_);
  }
}

void Session::progressed() {
  last_byte_at_ = worker_.loop().now();
}

void Session::half_closed(Flow flow) {
  stage_ = flow == Flow::to_server ? Stage::client_done : Stage::server_done;
  last_byte_at_ = worker_.loop().now();
  set_deadline();
}

void Session::tunnel_ended(TunnelEnd tunnel_end) {
  switch (tunnel_end) {
    case TunnelEnd::client_closed:
      if (is_quiet()) {
        tunnel_->give_server_back();
        keeps_server_ = true;
      }
      return end(Reason::client_closed, false);
    case TunnelEnd::server_closed:
      return end(Reason::server_closed, false);
    case TunnelEnd::client_failed:
      client_.hang_up();  // in order, so that the alert arrives
      return end(Reason::client_tls_failed, true);
    case TunnelEnd::client_reset:
      return end(Reason::client_reset, true);
    case TunnelEnd::server_failed:
      return end(Reason::upstream_tls_failed, true);
    case TunnelEnd::server_reset:
      return end(Reason::server_reset, true);
  }
}

bool Session::may_try_elsewhere() const {
  const pool::Upstream& upstream = connections_->upstream();
  const auto most =
      std::min<std::size_t>(upstream_rules_->config.attempts, upstream.endpoint_count());
  return !client_.hung_up() && tried_.size() + 1 < most;
}

// May the server's connection be asked to forget this client, for the next one? Nothing is on its
// way, and the client does not wait for an answer.
bool Session::is_quiet() {
  if (lease_->rules().config.pool.mode != config::PoolMode::reset) return false;
  Stream& server = lease_.stream();
  return tunnel_->server_spoke_last() && !tunnel_->ended(Flow::to_client) &&
         server.is_acknowledged() && server.is_quiet();
}

bool Session::try_elsewhere(TunnelEnd tunnel_end) {
  if (!may_try_elsewhere()) return false;
  tried_.push_back(lease_.endpoint());
  lost_server_ =
      tunnel_end == TunnelEnd::server_closed ? Reason::server_closed : Reason::server_reset;
  endpoint_counters_->sessions.subtract();
  endpoint_counters_ = nullptr;
  client_.change_owner(*this);
  setting_up_ = true;
  // Not at once: the tunnel that asks is still on the stack, and set_up_again() destroys it.
  worker_.loop().post([this] { worker_.loop().tasks().spawn("session", set_up_again()); });
  return true;
}

namespace {

void close_one(Stream& stream, bool complete) {
  if (complete) {
    stream.hang_up();
  } else {
    stream.abort();
  }
}

}  // namespace

void Session::expired(TimePoint now) {
  if (setting_up_) {
    wakeup_.wake();
    if (!ended_ && setting_up_ && !is_set()) set_deadline();
    return;
  }
  if (now >= watch_due_) {
    watch_due_ = TimePoint::max();
    lease_->watch_peer();
  }
  if (const auto reason = overdue(now)) {
    tunnel_->stop();
    // Whoever has been sent all that there was keeps it; whose bytes are missing learns of it.
    const bool half = *reason == Reason::half_close_timeout;
    const bool orderly = half || *reason == Reason::idle_timeout;
    close_one(client_, orderly && !(half && stage_ == Stage::client_done) &&
                           !tunnel_->has_waiting(Flow::to_client));
    close_one(lease_.stream(), orderly && !(half && stage_ == Stage::server_done) &&
                                   !tunnel_->has_waiting(Flow::to_server));
    end(*reason, false);
    return;
  }
  set_deadline();
}

void Session::set_deadline() {
  const TimePoint due = next_due();
  if (due == TimePoint::max()) {
    clear();
  } else {
    set(worker_.loop().deadlines(), due);
  }
}

namespace {

TimePoint after(TimePoint start, config::Duration limit) {
  return limit == 0s ? TimePoint::max() : start + limit;
}

}  // namespace

TimePoint Session::next_due() const {
  const config::ListenerTimeouts& limits = rules_->config.timeouts;
  TimePoint due = std::min(setup_due_, after(accepted_at_, limits.session));
  if (setting_up_) return due;
  due = std::min(due, watch_due_);
  const bool half = stage_ == Stage::client_done || stage_ == Stage::server_done;
  if (half) due = std::min(due, after(last_byte_at_, limits.half_close));
  due = std::min(due, after(last_byte_at_, limits.idle));
  if (limits.first_byte != 0s && first_sent_at_ == TimePoint{} && !half) {
    due = std::min(due, ready_at_ + limits.first_byte);
  }
  return due;
}

std::optional<Reason> Session::overdue(TimePoint now) const {
  const config::ListenerTimeouts& limits = rules_->config.timeouts;
  if (now >= after(accepted_at_, limits.session)) return Reason::session_timeout;
  if (setting_up_) {
    if (now < setup_due_) return std::nullopt;
    return stage_ == Stage::acquiring ? Reason::acquire_timeout : Reason::client_timeout;
  }
  if (now < next_due()) return std::nullopt;
  const bool half = stage_ == Stage::client_done || stage_ == Stage::server_done;
  if (half && now >= after(last_byte_at_, limits.half_close)) return Reason::half_close_timeout;
  if (now >= after(last_byte_at_, limits.idle)) return Reason::idle_timeout;
  return Reason::client_timeout;
}

void Session::count_acquire(const LeaseRequest& request, Nanoseconds took) {
  UpstreamCounters& counters = connections_->counters();
  if (request.lease) {
    const auto source = static_cast<std::size_t>(request.source);
    counters.acquires[source][static_cast<std::size_t>(Acquired::ok)].add();
    counters.acquire[source].observe(took);
    return;
  }
  Acquired result = Acquired::cancelled;
  if (request.settled()) {
    switch (request.failure) {
      case pool::Failure::pool_full:
        result = Acquired::full;
        break;
      case pool::Failure::acquire_timeout:
        result = Acquired::timeout;
        break;
      default:
        result = Acquired::no_endpoint;
    }
  } else if (overdue(worker_.loop().now()) == Reason::acquire_timeout) {
    result = Acquired::timeout;
  }
  counters.acquires[pool::source_count][static_cast<std::size_t>(result)].add();
}

ConnectionFacts Session::facts() const {
  ConnectionFacts facts;
  const TimePoint now = worker_.loop().now();
  facts.id = id_;
  facts.worker = worker_.index();
  facts.stage = stage_;
  facts.source = source_;
  facts.client = address_;
  facts.listener = listener_.name();
  facts.route = choice_.route;
  facts.names = rules_;
  if (connections_ != nullptr) facts.upstream = connections_->upstream().name();
  facts.endpoint = endpoint_;
  if (tls_) {
    facts.tls = true;
    facts.tls_resumed = tls_->resumed;
    facts.server_name = tls_->server_name;
    facts.alpn = tls_->alpn;
    facts.tls_version = tls_->version;
    facts.tls_cipher = tls_->cipher;
    facts.client_identity = tls_->client_identity;
  }
  if (offer_) {
    facts.server_name = offer_->server_name;
    facts.alpn = offer_->protocols;
  }
  facts.detail = detail_;
  facts.accepted_at = accepted_wall_;
  facts.age = now - accepted_at_;
  facts.idle = now - last_byte_at_;
  facts.handshake = handshake_took_;
  facts.acquire = acquire_took_;
  facts.first_byte = first_byte_took_;
  if (tunnel_) {
    facts.client_received = facts.server_sent = tunnel_->bytes(Flow::to_server);
    facts.client_sent = facts.server_received = tunnel_->bytes(Flow::to_client);
  } else if (hello_) {
    facts.client_received = hello_->seen().size();
  }
  facts.attempts = attempts_;
  return facts;
}

void Session::end(Reason reason, bool abrupt) {
  WEIR_ASSERT(!ended_, "a session ends once");
  ended_ = true;
  setting_up_ = false;
  clear();
  ConnectionFacts facts = this->facts();
  facts.outcome = outcome(reason);
  // No tunnel has counted them.
  if (hello_ && !tunnel_) listener_.counters().client_received.add(facts.client_received);
  if (endpoint_counters_ != nullptr) endpoint_counters_->sessions.subtract();
  if (abrupt) {
    client_.abort();
    if (lease_) lease_.stream().abort();
  } else if (!tunnel_) {
    client_.hang_up();
  }
  client_.say_goodbye();
  client_.close();
  if (keeps_server_) {
    lease_.keep();
  } else {
    lease_.drop();
  }
  listener_.session_ended(facts, choice_.upstream);
  worker_.session_ended(*this, std::move(facts));
}

}  // namespace weir::proxy
