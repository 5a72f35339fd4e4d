#include "proxy/discoverer.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <boost/asio/post.hpp>
#include <utility>

namespace weir::proxy {
namespace {

pool::TimePoint now() {
  return std::chrono::steady_clock::now();
}

}  // namespace

Discoverer::Discoverer(boost::asio::io_context& io, Host host) : io_(io), host_(std::move(host)) {}

Discoverer::~Discoverer() {
  stop();
}

void Discoverer::follow(const std::vector<Followed>& upstreams) {
  const std::map<std::size_t, Known> before = std::exchange(known_, {});
  std::vector<Query> queries;
  for (const Followed& each : upstreams) {
    Known known{each.upstream, pool::Roster(*each.config)};
    const std::size_t index = each.upstream->index();
    if (const auto same = before.find(index); same != before.end()) {
      known.roster.adopt(same->second.roster);
      known.short_of_seats = same->second.short_of_seats;
    }
    known_.emplace(index, std::move(known));
    add(each, queries);
  }
  // The same names for other upstreams are asked for anew: their sessions wait.
  const bool asks_anew = !std::ranges::equal(queries, queries_, {}, &Query::what, &Query::what);
  queries_ = std::move(queries);
  // Before a late answer to an earlier query can be taken for one to another.
  if (asks_anew) ask();
  for (const Followed& each : upstreams) {
    if (!each.changed) continue;
    // That none is expected is said once those that there are have seats.
    if (!all_are_asked(each.upstream->index())) expect_endpoints(each.upstream->index());
    seat(each.upstream->index(), true);
  }
}

void Discoverer::add(const Followed& followed, std::vector<Query>& queries) {
  const std::size_t index = followed.upstream->index();
  const bool is_new = counts_.size() <= index;
  counts_.grow_to(index + 1);
  if (is_new) counts_[index].answered_at = now();
  std::size_t number = 0;
  for (const pool::Discovery::Query& asks : known_.at(index).roster.queries()) {
    Query query{index, number++, asks};
    const auto same = std::ranges::find_if(queries_, [&](const Query& old) {
      return old.upstream == index && old.asks.name == asks.name &&
             old.asks.is_service == asks.is_service && old.asks.port == asks.port;
    });
    if (same != queries_.end()) {
      query.fault = same->fault;
      query.asked = same->asked;
    }
    queries.push_back(std::move(query));
  }
  counts_[index].has_names = number > 0;
}

void Discoverer::start() {
  started_ = true;
  ask();
}

// Looks all names up, from now on.
void Discoverer::ask() {
  if (!started_) return;
  discovery_.reset();
  if (alive_) *alive_ = false;
  alive_ = std::make_shared<bool>(true);
  if (queries_.empty()) return;
  std::vector<pool::Discovery::Query> all;
  for (const Query& query : queries_) all.push_back(query.asks);
  discovery_ = std::make_unique<pool::Discovery>(std::move(all),
                                                 static_cast<pool::Discovery::Audience&>(*this));
}

void Discoverer::stop() {
  started_ = false;
  discovery_.reset();
  if (alive_) *alive_ = false;
}

void Discoverer::found(std::size_t query, std::vector<pool::Found> endpoints) {
  boost::asio::post(io_, [this, query, alive = alive_, moved = std::move(endpoints)]() mutable {
    if (*alive) answered(queries_[query], std::move(moved));
  });
}

void Discoverer::not_found(std::size_t query, std::string why) {
  boost::asio::post(io_, [this, query, alive = alive_, moved = std::move(why)]() mutable {
    if (*alive) failed(queries_[query], std::move(moved));
  });
}

void Discoverer::answered(Query& query, std::vector<pool::Found> endpoints) {
  Known& known = known_.at(query.upstream);
  pool::Upstream& upstream = *known.upstream;
  Counts& counts = counts_[query.upstream];
  counts.good.fetch_add(1, std::memory_order_relaxed);
  if (!std::exchange(query.fault, {}).empty()) {
    spdlog::info("upstream {}: {} is found again", upstream.name(), query.asks.name);
  }
  query.asked = true;
  const bool all_good = std::ranges::all_of(queries_, [&](const Query& each) {
    return each.upstream != query.upstream || (each.asked && each.fault.empty());
  });
  if (all_good) counts.answered_at = now();
  const bool changed = known.roster.found(query.number, std::move(endpoints));
  if (changed || known.short_of_seats) seat(query.upstream, changed);
}

// Gives the endpoints that are known their seats. Unless they have `changed`, that is for those who
// had none, and nothing happens while there is none for them either.
void Discoverer::seat(std::size_t index, bool changed) {
  Known& known = known_.at(index);
  pool::Upstream& upstream = *known.upstream;
  const std::vector<pool::EndpointPointer> wanted = known.roster.endpoints();
  if (!changed) {
    const auto seats =
        upstream.look([&](const pool::Ledger& ledger) { return ledger.assign(wanted); });
    const auto free = std::ranges::count(seats, nullptr);
    if (seats.size() - static_cast<std::size_t>(free) <= upstream.endpoint_count()) return;
  }
  const std::vector<std::string> before = present_names(upstream);
  std::vector<pool::EndpointPointer> seated;
  const std::size_t count =
      upstream.set_endpoints(wanted, now(), [&](const std::vector<pool::EndpointPointer>& seats) {
        host_.before(upstream, seats);
        seated = seats;
      });
  const bool was_short = std::exchange(known.short_of_seats, count < wanted.size());
  if (known.short_of_seats && !was_short) {
    spdlog::warn("upstream {}: {} endpoints wait until sessions of those that have left end",
                 upstream.name(), wanted.size() - count);
  }
  if (all_are_asked(index)) expect_endpoints(index);
  host_.after(upstream, seated);
  log_changes(upstream, before);
}

void Discoverer::failed(Query& query, std::string why) {
  Known& known = known_.at(query.upstream);
  pool::Upstream& upstream = *known.upstream;
  counts_[query.upstream].failed.fetch_add(1, std::memory_order_relaxed);
  if (query.fault != why) {
    spdlog::warn("upstream {}: {}; the endpoints stay as they are", upstream.name(), why);
  }
  query.fault = why;
  query.asked = true;
  const bool all_asked = all_are_asked(query.upstream);
  // Sessions do not wait any longer for names that cannot be found.
  upstream.decide([&](pool::Ledger& ledger, pool::Actions& actions) {
    if (all_asked) ledger.expect_endpoints(false, std::move(why), now(), actions);
  });
  if (known.short_of_seats) seat(query.upstream, false);
}

// Sessions wait for endpoints while a name has not been asked for.
void Discoverer::expect_endpoints(std::size_t upstream) {
  const bool expected = !all_are_asked(upstream);
  known_.at(upstream).upstream->decide([&](pool::Ledger& ledger, pool::Actions& actions) {
    ledger.expect_endpoints(expected, "no name leads to an endpoint", now(), actions);
  });
}

bool Discoverer::all_are_asked(std::size_t upstream) const {
  return std::ranges::all_of(
      queries_, [&](const Query& each) { return each.upstream != upstream || each.asked; });
}

std::vector<std::string> Discoverer::present_names(const pool::Upstream& upstream) {
  return upstream.look([](const pool::Ledger& ledger) {
    std::vector<std::string> names;
    for (pool::EndpointIndex i = 0; i < ledger.seat_count(); ++i) {
      if (ledger.is_present(i)) names.push_back(ledger.endpoint(i)->name);
    }
    std::ranges::sort(names);
    return names;
  });
}

void Discoverer::log_changes(const pool::Upstream& upstream,
                             const std::vector<std::string>& before) {
  const std::vector<std::string> after = present_names(upstream);
  const std::string& name = upstream.name();
  for (const std::string& each : after) {
    if (std::ranges::binary_search(before, each)) continue;
    spdlog::info("upstream {}: endpoint {} has come", name, each);
  }
  for (const std::string& each : before) {
    if (std::ranges::binary_search(after, each)) continue;
    spdlog::info("upstream {}: endpoint {} has left", name, each);
  }
}

Discoverer::Figures Discoverer::figures(std::size_t upstream) const {
  const Counts& counts = counts_[upstream];
  return {counts.has_names.load(), counts.good.load(std::memory_order_relaxed),
          counts.failed.load(std::memory_order_relaxed),
          std::chrono::duration<double>(now() - counts.answered_at.load()).count()};
}

}  // namespace weir::proxy
