#include "pool/roster.hpp"

#include <algorithm>
#include <set>
#include <string>

namespace weir::pool {
namespace {

using Kind = config::Endpoint::Kind;

EndpointPointer endpoint_at(const config::Endpoint& written) {
  const bool has_host = written.address.kind != config::Address::Kind::unix_socket;
  return std::make_shared<const Endpoint>(Endpoint{written.address, written.address.text(),
                                                   has_host ? written.address.host : "",
                                                   written.weight, written.tier, written.text()});
}

EndpointPointer endpoint_of(const config::Endpoint& written, const Found& found) {
  const bool is_service = written.kind == Kind::service;
  const std::uint32_t weight = is_service && written.weight > 0 ? found.weight : written.weight;
  return std::make_shared<const Endpoint>(Endpoint{found.address, found.address.text(),
                                                   is_service ? "" : written.address.host, weight,
                                                   written.tier + found.tier, written.text()});
}

}  // namespace

Roster::Roster(const config::Upstream& upstream) {
  for (const bool addresses : {true, false}) {
    for (const config::Endpoint& each : upstream.endpoints) {
      if ((each.kind == Kind::address) == addresses) entries_.push_back({each, {}, false});
    }
  }
  for (std::size_t i = 0; i < entries_.size(); ++i) {
    const config::Endpoint& written = entries_[i].written;
    if (written.kind == Kind::address) continue;
    query_entry_.push_back(i);
    queries_.push_back({.name = written.address.host,
                        .is_service = written.kind == Kind::service,
                        .port = written.address.port,
                        .dns = upstream.dns});
  }
  unanswered_ = queries_.size();
}

std::size_t Roster::capacity(const config::Upstream& upstream) {
  std::size_t seats = 0;
  for (const config::Endpoint& each : upstream.endpoints) {
    seats += each.kind == Kind::address ? 1 : 2 * Discovery::most_addresses;
  }
  return seats;
}

void Roster::adopt(const Roster& before) {
  for (Entry& entry : entries_) {
    if (entry.written.kind == Kind::address || entry.answered) continue;
    const auto known = std::ranges::find_if(before.entries_, [&](const Entry& other) {
      return other.answered && other.written.kind == entry.written.kind &&
             other.written.address == entry.written.address;
    });
    if (known == before.entries_.end()) continue;
    entry.answer = known->answer;
    entry.answered = true;
    --unanswered_;
  }
}

bool Roster::found(std::size_t query, std::vector<Found> answer) {
  Entry& entry = entries_[query_entry_[query]];
  if (!entry.answered) {
    entry.answered = true;
    --unanswered_;
  } else if (entry.answer == answer) {
    return false;
  }
  entry.answer = std::move(answer);
  return true;
}

std::vector<EndpointPointer> Roster::endpoints() const {
  std::vector<EndpointPointer> all;
  std::set<std::string> names;
  const auto add = [&](EndpointPointer endpoint) {
    if (names.insert(endpoint->name).second) all.push_back(std::move(endpoint));
  };
  for (const Entry& entry : entries_) {
    if (entry.written.kind == Kind::address) {
      add(endpoint_at(entry.written));
    } else {
      for (const Found& found : entry.answer) add(endpoint_of(entry.written, found));
    }
  }
  return all;
}

}  // namespace weir::pool
