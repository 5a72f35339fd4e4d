// From one configuration to another while the server runs; its start is the first of these changes.
// Everything that can fail is done before anything changes: files are read, certificates loaded,
// sockets opened. Then each worker goes over to the new rules between two turns of its loop, and
// what did not change is not touched. A session goes on by the rules it was accepted under.

#include <fmt/format.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <latch>
#include <set>
#include <stdexcept>

#include "config/overlap.hpp"
#include "pool/assert.hpp"
#include "proxy/log.hpp"
#include "proxy/pipe.hpp"
#include "proxy/server.hpp"
#include "proxy/sockets.hpp"

namespace weir::proxy {
namespace {

using namespace std::chrono_literals;

// Descriptors that are not for connections: logs, listeners, epoll instances, the admin's clients.
constexpr std::uint64_t reserved_descriptors = 128;

// Each connection may need two descriptors; where the limit is tiny, half of it.
std::uint32_t connection_limit(const config::Config& config, std::uint64_t descriptors,
                               std::uint32_t workers) {
  const std::uint64_t reserved = reserved_descriptors + workers * 2 * PipePool::most_pipes;
  const std::uint64_t spare = descriptors > 3 * reserved ? descriptors - reserved : descriptors / 2;
  const auto possible = static_cast<std::uint32_t>(std::min<std::uint64_t>(spare / 2, 1U << 30));
  return config.limits.connections == 0 ? possible : config.limits.connections;
}

// The number of a name, the next free one when it is new.
std::size_t number_of(std::map<std::string, std::size_t>& numbers, const std::string& name) {
  return numbers.emplace(name, numbers.size()).first->second;
}

bool forget_alike(const config::Pool& one, const config::Pool& other) {
  return one.mode == other.mode && one.reset->send == other.reset->send &&
         one.reset->expect == other.reset->expect;
}

// May a connection that was opened under the one be lent under the other? A session must get what
// is verified, introduced, and has forgotten its clients, as configured now.
bool may_be_lent(const config::Upstream& opened, const config::Upstream& now) {
  return opened.tls == now.tls && opened.proxy_protocol == now.proxy_protocol &&
         (opened.pool.mode != config::PoolMode::reset || forget_alike(opened.pool, now.pool));
}

// Are they interchangeable? The rest of a connection's identity is its endpoint.
bool are_alike(const UpstreamRules& one, const UpstreamRules& other) {
  const config::Pool& pool = one.config.pool;
  const config::Pool& its = other.config.pool;
  return may_be_lent(one.config, other.config) && one.tls == other.tls && pool.mode == its.mode &&
         pool.server_speaks_first == its.server_speaks_first && pool.reset == its.reset;
}

// What goes from the admin's address to a listener, or back, is taken until the reload is over.
void refuse_own(const config::Address& wanted, const config::Address& taken,
                const std::string& owner) {
  if (!config::overlap(wanted, taken)) return;
  throw std::runtime_error("cannot listen on " + wanted.text() + ": `" + owner +
                           "` does until this reload is over; reload once without it");
}

// What is left of an upstream that is not configured any more: its endpoints serve the sessions
// that have chosen it, and nothing is kept ready.
config::Upstream as_removed(config::Upstream upstream) {
  upstream.pool.min_idle = 0;
  upstream.pool.max_idle = 0;
  upstream.health_check.reset();
  return upstream;
}

}  // namespace

struct Server::Change {
  struct OfListener {
    std::size_t index;
    ListenerRulesPointer rules;
    std::vector<OpenBinding> bindings;
  };
  struct OfUpstream {
    std::size_t index;
    UpstreamRulesPointer rules;
    bool is_new = false;
    bool comes_back = false;
  };

  std::shared_ptr<InForce> in_force = std::make_shared<InForce>();
  Numbers listener_numbers;
  Numbers upstream_numbers;
  std::vector<OfListener> listeners;  // that are new or have changed, as below
  std::vector<OfUpstream> upstreams;
  std::vector<std::size_t> removed_listeners;
  std::vector<OfUpstream> removed_upstreams;
  Listener::Sockets in_use;                     // of all listeners
  std::optional<AccessLog::Output> access_log;  // when it has changed
  bool has_other_admin = false;
  std::unique_ptr<Admin> admin;
};

void Server::reload() {
  if (!load_again_) {
    spdlog::warn("there is no configuration file to reload");
    return;
  }
  if (phase_.load() != Phase::serving) {
    spdlog::warn("not reloaded: weir does not serve any more");
    return;
  }
  // It may have read the files before they changed; and its sockets are not to go meanwhile.
  if (successor_.is_pending()) {
    spdlog::info("reload put off: a process that is to take this one's place is starting");
    reload_put_off_ = true;
    return;
  }
  const auto began = std::chrono::steady_clock::now();
  constexpr std::string_view stays = "not reloaded, the configuration in force stays";
  std::shared_ptr<Change> change;
  try {
    Loaded loaded = load_again_(in_force()->tls);
    follow_files(loaded);
    const std::string problems = config::render(loaded.problems, false);
    if (loaded.config == nullptr) return refuse(stays, problems);
    if (!problems.empty()) spdlog::warn("the configuration is odd:\n{}", problems);
    change = prepare(loaded);
  } catch (const std::exception& error) {
    return refuse(stays, error.what());
  }
  change_to(*change);
  const std::chrono::duration<double, std::milli> took = std::chrono::steady_clock::now() - began;
  accept(fmt::format("reloaded in {:.1f} ms", took.count()));
}

void Server::accept(std::string_view what) {
  {
    const std::scoped_lock lock(mutex_);
    ++reloads_.good;
    reloads_.last_was_good = true;
    reloads_.last_good = std::chrono::system_clock::now();
    reloads_.why_refused.clear();
  }
  spdlog::info("{}", what);
}

void Server::refuse(std::string_view what, std::string why) {
  while (why.ends_with('\n')) why.pop_back();
  spdlog::error("{}:\n{}", what, why);
  const std::scoped_lock lock(mutex_);
  ++reloads_.refused;
  reloads_.last_was_good = false;
  reloads_.why_refused = std::move(why);
}

// Throws std::runtime_error; then nothing has happened.
std::shared_ptr<Server::Change> Server::prepare(const Loaded& loaded) {
  const auto change = std::make_shared<Change>();
  change->in_force->config = loaded.config;
  change->in_force->tls = loaded.tls;
  change->listener_numbers = listener_numbers_;
  change->upstream_numbers = upstream_numbers_;
  prepare_upstreams(loaded, *change);
  prepare_listeners(loaded, *change);
  const auto before = in_force();
  if (before != nullptr && before->config->access_log != loaded.config->access_log) {
    change->access_log.emplace(loaded.config->access_log);
  }
  const std::optional<config::Address>& bind = loaded.config->admin.bind;
  change->has_other_admin = before == nullptr || before->config->admin.bind != bind;
  if (change->has_other_admin && bind) {
    for (std::size_t i = 0; before != nullptr && i < before->listeners.size(); ++i) {
      for (const BindingPointer& each : before->listeners[i].bindings) {
        refuse_own(*bind, each->bound, "listeners." + before->config->listeners[i].name);
      }
    }
    change->admin =
        std::make_unique<Admin>(*bind, static_cast<AdminSource&>(*this), inheritance_.admin(*bind));
  }
  return change;
}

void Server::prepare_upstreams(const Loaded& loaded, Change& change) const {
  std::set<std::size_t> removed;
  if (const auto before = in_force()) {
    removed.insert(before->upstreams.begin(), before->upstreams.end());
  }
  for (const config::Upstream& upstream : loaded.config->upstreams) {
    const std::size_t index = number_of(change.upstream_numbers, upstream.name);
    change.in_force->upstreams.push_back(index);
    const bool was_in_force = removed.erase(index) > 0;
    const bool is_new = index >= upstream_rules_.size();
    const auto rules = std::make_shared<UpstreamRules>(upstream, loaded.tls.client(upstream.name));
    if (!is_new) {
      const UpstreamRules& before = *upstream_rules_[index];
      if (was_in_force && before.config == upstream && before.tls == rules->tls) continue;
      pool::Generations& generations = rules->generations = before.generations;
      if (!are_alike(before, *rules)) ++generations.newest;
      if (!may_be_lent(before.config, upstream)) generations.oldest_lent = generations.newest;
    }
    change.upstreams.push_back({index, rules, is_new, !is_new && !was_in_force});
  }
  for (const std::size_t index : removed) {
    auto rules = std::make_shared<UpstreamRules>(*upstream_rules_[index]);
    rules->config = as_removed(std::move(rules->config));
    change.removed_upstreams.push_back({index, rules});
  }
}

void Server::prepare_listeners(const Loaded& loaded, Change& change) const {
  const InForcePointer before = in_force();
  std::set<std::size_t> removed;
  std::map<std::string, std::vector<BindingPointer>> own;
  std::vector<BindingPointer> ours = inheritance_.bindings();
  for (std::size_t i = 0; before != nullptr && i < before->listeners.size(); ++i) {
    const InForce::Listener& listener = before->listeners[i];
    removed.insert(listener.index);
    own[before->config->listeners[i].name] = listener.bindings;
    ours.insert(ours.end(), listener.bindings.begin(), listener.bindings.end());
  }
  const UpstreamNumbers numbers = [&](const std::string& name) {
    return change.upstream_numbers.at(name);
  };
  for (const config::Listener& listener : loaded.config->listeners) {
    const std::size_t index = number_of(change.listener_numbers, listener.name);
    removed.erase(index);
    InForce::Listener& now = change.in_force->listeners.emplace_back();
    now.index = index;
    Change::OfListener of{index, nullptr, {}};
    std::ranges::move(inheritance_.named(listener.name), std::back_inserter(own[listener.name]));
    for (const config::Address& address : listener.bind) {
      of.bindings.push_back(bind(address, own[listener.name], ours));
      const OpenBinding& open = of.bindings.back();
      now.bindings.push_back(open.binding);
      change.in_use.insert(open.sockets.begin(), open.sockets.end());
    }
    const auto tls = loaded.tls.server(listener.tls);
    const auto timeout =
        tls == nullptr ? 0ms : loaded.config->tls.at(listener.tls).handshake_timeout;
    if (index < listener_rules_.size() && listener_rules_[index] != nullptr) {
      const ListenerRules& its = *listener_rules_[index];
      if (its.config == listener && its.tls == tls && its.handshake_timeout == timeout) continue;
    }
    of.rules = std::make_shared<ListenerRules>(listener, tls, timeout, numbers);
    change.listeners.push_back(std::move(of));
  }
  change.removed_listeners.assign(removed.begin(), removed.end());
}

// An address that is listened on already goes on being so, whichever listener it belongs to; one
// with a port of the kernel's choice only for the same listener, of whose bindings it is taken.
OpenBinding Server::bind(const config::Address& address, std::vector<BindingPointer>& own,
                         const std::vector<BindingPointer>& ours) const {
  const auto is_it = [&](const BindingPointer& binding) { return binding->asked == address; };
  if (const auto found = std::ranges::find_if(own, is_it); found != own.end()) {
    const BindingPointer binding = *found;
    own.erase(found);
    return hold(binding);
  }
  const bool is_any_port = address.port == 0 && address.kind != config::Address::Kind::unix_socket;
  if (!is_any_port) {
    if (const auto found = std::ranges::find_if(ours, is_it); found != ours.end()) {
      return hold(*found);
    }
  }
  if (admin_) refuse_own(address, admin_->local_address(), "admin");
  auto open = open_binding(address, shared_.worker_count, ours);
  if (!open) throw std::runtime_error(open.error());
  return std::move(*open);
}

void Server::change_to(Change& change) {
  make_room(change);
  remove_files(change);
  if (phase_.load() == Phase::starting) {
    for (const auto& worker : workers_) carry_out(change, *worker);
  } else {
    std::latch done(static_cast<std::ptrdiff_t>(workers_.size()));
    for (const auto& worker : workers_) {
      worker->loop().post([this, &change, &worker = *worker, &done] {
        carry_out(change, worker);
        done.count_down();
      });
    }
    done.wait();
  }
  change_pools(change);
  change_process(change);
  keep_counts(change);
  {
    const std::scoped_lock lock(mutex_);
    in_force_ = change.in_force;
  }
  if (phase_.load() == Phase::serving) log_listeners(change);
  sweep_rules();
}

// For listeners and upstreams that have not been there before.
void Server::make_room(const Change& change) {
  listener_numbers_ = change.listener_numbers;
  upstream_numbers_ = change.upstream_numbers;
  upstream_rules_.resize(upstream_numbers_.size());
  listener_rules_.resize(listener_numbers_.size());
  for (const Change::OfUpstream& of : change.upstreams) {
    if (!of.is_new) continue;
    // Numbers are given in the order of the configuration, as are these.
    WEIR_ASSERT(of.index == upstreams_.size(), "upstreams are added in the order of their numbers");
    upstreams_.grow_to(of.index + 1);
    upstreams_[of.index] = std::make_unique<pool::Upstream>(
        of.rules->config, of.index, shared_.worker_count, static_cast<pool::Workers&>(*this),
        std::chrono::steady_clock::now());
    for (const auto& worker : workers_) {
      worker->add_upstream(*upstreams_[of.index]);
      // Here, since a worker that begins to use it may ask another one for a connection before that
      // one has changed over.
      worker->connections(of.index).follow(for_worker(of.rules));
    }
    endpoint_books_->open(*upstreams_[of.index]);
  }
  std::vector<const std::string*> names(listener_numbers_.size());
  for (const auto& [name, index] : listener_numbers_) names[index] = &name;
  for (std::size_t i = shared_.listeners.size(); i < names.size(); ++i) {
    shared_.listeners.grow_to(i + 1);
    for (const auto& worker : workers_) worker->add_listener(*names[i]);
  }
}

// Of unix sockets that go: before the workers take the last clients out of their queues, and not
// when the last answer about the configuration in force so far is given, since its path may be in
// use again by then.
void Server::remove_files(const Change& change) const {
  const InForcePointer before = in_force();
  if (before == nullptr) return;
  std::set<BindingPointer> stay;
  for (const InForce::Listener& each : change.in_force->listeners) {
    stay.insert(each.bindings.begin(), each.bindings.end());
  }
  for (const InForce::Listener& each : before->listeners) {
    for (const BindingPointer& binding : each.bindings) {
      if (binding->file && !stay.contains(binding)) binding->file->remove();
    }
  }
}

// On the worker's thread.
void Server::carry_out(const Change& change, Worker& worker) const {
  for (const auto* list : {&change.upstreams, &change.removed_upstreams}) {
    for (const Change::OfUpstream& of : *list) {
      Connections& connections = worker.connections(of.index);
      if (of.is_new) {
        connections.start();
      } else {
        connections.follow(for_worker(of.rules));
      }
    }
  }
  // First all that go, then all that come: a socket may go from one listener to another.
  for (const std::size_t index : change.removed_listeners) {
    worker.listener(index).keep_sockets({}, change.in_use);
  }
  for (const Change::OfListener& of : change.listeners) {
    Listener::Sockets kept;
    for (const OpenBinding& open : of.bindings) {
      const auto its = open.of_worker(worker.index(), shared_.worker_count);
      kept.insert(its.begin(), its.end());
    }
    worker.listener(of.index).keep_sockets(kept, change.in_use);
  }
  for (const Change::OfListener& of : change.listeners) {
    Listener& listener = worker.listener(of.index);
    listener.follow(for_worker(of.rules));
    for (const OpenBinding& open : of.bindings) {
      for (const auto& socket : open.of_worker(worker.index(), shared_.worker_count)) {
        if (listener.add_socket(socket, open.is_shared(shared_.worker_count))) continue;
        spdlog::error("listener {}: cannot watch {}", listener.name(), open.binding->bound.text());
      }
    }
  }
}

// Once every worker goes by the new rules: what is opened from now on is what the books take it
// for.
void Server::change_pools(const Change& change) {
  const auto now = std::chrono::steady_clock::now();
  std::set<std::size_t> changed;
  for (const auto* list : {&change.upstreams, &change.removed_upstreams}) {
    for (const Change::OfUpstream& of : *list) {
      changed.insert(of.index);
      former_rules_.push_back(std::exchange(upstream_rules_[of.index], of.rules));
      if (of.is_new) continue;
      pool::Upstream& upstream = *upstreams_[of.index];
      upstream.configure(of.rules->config, of.rules->generations, now);
      for (const auto& worker : workers_) {
        Connections& connections = worker->connections(of.index);
        connections.counters().endpoints.grow_to(upstream.capacity());
        worker->loop().post([&connections] { connections.reconsider(); });
      }
    }
  }
  for (const Change::OfUpstream& of : change.removed_upstreams) {
    if (of.rules->config.when_endpoint_removed != config::WhenRemoved::close) continue;
    for (const auto& worker : workers_) {
      worker->loop().post([&worker = *worker, &upstream = *upstreams_[of.index]] {
        worker.end_sessions_of(upstream, nullptr, "the upstream was removed");
      });
    }
  }
  for (const Change::OfListener& of : change.listeners) {
    former_rules_.push_back(std::exchange(listener_rules_[of.index], of.rules));
  }
  for (const std::size_t index : change.removed_listeners) {
    former_rules_.push_back(std::exchange(listener_rules_[index], nullptr));
  }
  std::vector<Discoverer::Followed> followed;
  for (const std::size_t index : change.in_force->upstreams) {
    followed.push_back(
        {upstreams_[index].get(), &upstream_rules_[index]->config, changed.contains(index)});
  }
  discoverer_->follow(followed);
}

void Server::change_process(Change& change) {
  const config::Config& config = *change.in_force->config;
  shared_.connection_limit =
      connection_limit(config, raise_descriptor_limit(), shared_.worker_count);
  shared_.handshake_limit = config.limits.handshakes;
  if (change.has_other_admin) {
    if (change.admin && phase_.load() != Phase::starting) change.admin->start();
    std::swap(admin_, change.admin);
    if (change.admin) change.admin->stop();
  }
  const InForcePointer before = in_force();
  if (before == nullptr) return;
  descriptor_watch_->start();
  follow_log(config.log);
  if (config.workers != before->config->workers) {
    spdlog::warn("`workers` has changed: that takes effect at the next start");
  }
  if (change.access_log) access_log_->follow(std::move(*change.access_log));
}

void Server::keep_counts(Change& change) const {
  InForce& next = *change.in_force;
  next.upstream_count = upstream_numbers_.size();
  const InForcePointer before = in_force();
  if (before == nullptr) return;
  next.earlier_sessions = before->earlier_sessions;
  const FigureSources sources = figure_sources(*before);
  for (const Change::OfUpstream& of : change.upstreams) {
    for (std::size_t i = 0; of.comes_back && i < listener_numbers_.size(); ++i) {
      note_earlier_sessions(sources, i, of.index, next);
    }
  }
}

void Server::log_listeners(const Change& change) const {
  for (const Change::OfListener& of : change.listeners) {
    for (const OpenBinding& open : of.bindings) {
      if (!open.is_new) continue;
      spdlog::info("listener {}: listening on {}", of.rules->config.name,
                   open.binding->bound.text());
    }
  }
  for (const std::size_t index : change.removed_listeners) {
    spdlog::info("listener {}: removed", workers_.front()->listener(index).name());
  }
}

// Rules that nobody goes by any more. They are held here as well, so that none of them, with its
// routes and certificates, is destroyed by a worker at the end of a session.
void Server::sweep_rules() {
  std::erase_if(former_rules_, [](const auto& rules) { return rules.use_count() <= 1; });
}

}  // namespace weir::proxy
