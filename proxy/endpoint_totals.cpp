#include "proxy/endpoint_totals.hpp"

#include <utility>

namespace weir::proxy {

EndpointTotals EndpointTotals::operator-(const EndpointTotals& before) const {
  EndpointTotals result = *this;
  result.received -= before.received;
  result.sent -= before.sent;
  result.checks_passed -= before.checks_passed;
  result.checks_failed -= before.checks_failed;
  for (std::size_t i = 0; i < open_failures.size(); ++i) {
    result.open_failures[i] -= before.open_failures[i];
  }
  return result;
}

void EndpointBooks::open(const pool::Upstream& upstream) {
  // Not under the lock: a scrape asks for totals() while it looks at the upstream.
  std::vector<Seat> seats(upstream.capacity());
  upstream.look([&](const pool::Ledger& ledger) {
    for (pool::EndpointIndex i = 0; i < seats.size(); ++i) {
      if (ledger.endpoint(i) == nullptr) continue;
      seats[i].name = ledger.endpoint(i)->name;
      seats[i].host = ledger.endpoint(i)->host;
    }
    return 0;
  });
  const std::scoped_lock lock(mutex_);
  seats_.push_back(std::move(seats));
}

std::vector<pool::EndpointIndex> EndpointBooks::seat(
    const pool::Upstream& upstream, const std::vector<pool::EndpointPointer>& seats) {
  const std::scoped_lock lock(mutex_);
  std::vector<Seat>& known = seats_[upstream.index()];
  if (known.size() < seats.size()) known.resize(seats.size());
  std::vector<pool::EndpointIndex> changed;
  for (pool::EndpointIndex i = 0; i < seats.size(); ++i) {
    if (seats[i] == nullptr) continue;
    Seat& seat = known[i];
    if (seat.name == seats[i]->name && seat.host == seats[i]->host) continue;
    changed.push_back(i);
    if (seat.name != seats[i]->name) seat.before = sum(upstream, i);
    seat.name = seats[i]->name;
    seat.host = seats[i]->host;
  }
  return changed;
}

EndpointTotals EndpointBooks::totals(const pool::Upstream& upstream,
                                     pool::EndpointIndex index) const {
  const std::scoped_lock lock(mutex_);
  return sum(upstream, index) - seats_[upstream.index()][index].before;
}

EndpointTotals EndpointBooks::sum(const pool::Upstream& upstream, pool::EndpointIndex index) const {
  EndpointTotals total;
  for (const auto& worker : workers_) {
    const EndpointCounters& counters =
        std::as_const(*worker).connections(upstream.index()).counters().endpoints[index];
    total.received += counters.received.value();
    total.sent += counters.sent.value();
    total.checks_passed += counters.checks_passed.value();
    total.checks_failed += counters.checks_failed.value();
    for (std::size_t i = 0; i < total.open_failures.size(); ++i) {
      total.open_failures[i] += counters.open_failures[i].value();
    }
  }
  return total;
}

}  // namespace weir::proxy
