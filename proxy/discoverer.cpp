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

Discoverer::Discoverer(boost::asio::io_context& io,
                       const std::vector<std::unique_ptr<pool::Upstream>>& upstreams, Host host)
    : io_(io), upstreams_(upstreams), host_(std::move(host)) {
  for (const auto& upstream : upstreams) {
    rosters_.emplace_back(upstream->config());
    counts_.push_back(std::make_unique<Counts>());
    counts_.back()->answered_at = now();
    std::size_t number = 0;
    for (const pool::Discovery::Query& query : rosters_.back().queries()) {
      queries_.push_back({upstream->index(), number++, query.name, {}});
    }
  }
}

Discoverer::~Discoverer() {
  stop();
}

void Discoverer::start() {
  if (queries_.empty()) return;
  std::vector<pool::Discovery::Query> all;
  for (const pool::Roster& roster : rosters_) {
    all.insert(all.end(), roster.queries().begin(), roster.queries().end());
  }
  discovery_ = std::make_unique<pool::Discovery>(std::move(all),
                                                 static_cast<pool::Discovery::Audience&>(*this));
}

void Discoverer::stop() {
  discovery_.reset();
  *alive_ = false;
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
  pool::Upstream& upstream = *upstreams_[query.upstream];
  Counts& counts = *counts_[query.upstream];
  counts.good.fetch_add(1, std::memory_order_relaxed);
  if (!std::exchange(query.fault, {}).empty()) {
    spdlog::info("upstream {}: {} is found again", upstream.config().name, query.name);
  }
  query.asked = true;
  const bool all_good = std::ranges::all_of(queries_, [&](const Query& each) {
    return each.upstream != query.upstream || (each.asked && each.fault.empty());
  });
  if (all_good) counts.answered_at = now();
  pool::Roster& roster = rosters_[query.upstream];
  const bool changed = roster.found(query.number, std::move(endpoints));
  if (changed || counts.short_of_seats) seat(query.upstream, changed);
}

// Gives the endpoints that are known their seats. Unless they have `changed`, that is for those who
// had none, and nothing happens while there is none for them either.
void Discoverer::seat(std::size_t index, bool changed) {
  pool::Upstream& upstream = *upstreams_[index];
  Counts& counts = *counts_[index];
  const std::vector<pool::EndpointPointer> wanted = rosters_[index].endpoints();
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
  const bool was_short = std::exchange(counts.short_of_seats, count < wanted.size());
  if (counts.short_of_seats && !was_short) {
    spdlog::warn("upstream {}: {} endpoints wait until sessions of those that have left end",
                 upstream.config().name, wanted.size() - count);
  }
  if (all_are_asked(index)) {
    upstream.decide([](pool::Ledger& ledger, pool::Actions& actions) {
      ledger.expect_endpoints(false, "no name leads to an endpoint", now(), actions);
    });
  }
  host_.after(upstream, seated);
  log_changes(upstream, before);
}

void Discoverer::failed(Query& query, std::string why) {
  pool::Upstream& upstream = *upstreams_[query.upstream];
  counts_[query.upstream]->failed.fetch_add(1, std::memory_order_relaxed);
  if (query.fault != why) {
    spdlog::warn("upstream {}: {}; the endpoints stay as they are", upstream.config().name, why);
  }
  query.fault = why;
  query.asked = true;
  const bool all_asked = all_are_asked(query.upstream);
  // Sessions do not wait any longer for names that cannot be found.
  upstream.decide([&](pool::Ledger& ledger, pool::Actions& actions) {
    if (all_asked) ledger.expect_endpoints(false, std::move(why), now(), actions);
  });
  if (counts_[query.upstream]->short_of_seats) seat(query.upstream, false);
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
  const std::string& name = upstream.config().name;
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
  const Counts& counts = *counts_[upstream];
  return {!rosters_[upstream].queries().empty(), counts.good.load(std::memory_order_relaxed),
          counts.failed.load(std::memory_order_relaxed),
          std::chrono::duration<double>(now() - counts.answered_at.load()).count()};
}

}  // namespace weir::proxy
