#include "config/overlap.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <tuple>

namespace weir::config {
namespace {

struct Bind {
  const Address* address;
  Place place;
  std::string owner;
  std::size_t file = 0;  // in the order in which they were read
};

// The binds of one port (or path) and address family, in the order of the file.
struct Taken {
  const Bind* first = nullptr;
  const Bind* wildcard = nullptr;
  std::map<std::string_view, const Bind*> by_host;
};

bool is_wildcard(const Address& address) {
  return (address.kind == Address::Kind::ipv4 && address.host == "0.0.0.0") ||
         (address.kind == Address::Kind::ipv6 && address.host == "::");
}

bool is_any_port(const Address& address) {
  return address.port == 0 && address.kind != Address::Kind::unix_socket;
}

std::vector<Bind> all_binds(const Config& config) {
  std::vector<Bind> binds;
  if (config.admin.bind) binds.push_back({&*config.admin.bind, config.admin.place, "admin", 0});
  for (const Listener& listener : config.listeners) {
    for (std::size_t i = 0; i < listener.bind.size(); ++i) {
      binds.push_back(
          {&listener.bind[i], listener.bind_places[i], "listeners." + listener.name, 0});
    }
  }
  std::map<std::string, std::size_t> files;
  for (Bind& bind : binds) bind.file = files.emplace(bind.place.file, files.size()).first->second;
  std::ranges::sort(binds, {}, [](const Bind& bind) {
    return std::tuple(bind.file, bind.place.line, bind.place.column);
  });
  return binds;
}

// The earlier bind that leaves no room for this one.
const Bind* conflict(const Taken& taken, const Bind& bind) {
  if (taken.wildcard != nullptr) return taken.wildcard;
  if (is_wildcard(*bind.address)) return taken.first;
  const auto same = taken.by_host.find(bind.address->host);
  return same == taken.by_host.end() ? nullptr : same->second;
}

void report_conflict(const Bind& bind, const Bind& earlier, Report& report) {
  const std::string where = earlier.place.line == 0
                                ? std::string("is the default")
                                : fmt::format("stands at {}:{}:{}", earlier.place.file,
                                              earlier.place.line, earlier.place.column);
  report.error(
      bind.place,
      fmt::format("{} overlaps {} of {}, which {}", in_backticks(bind.address->text()),
                  in_backticks(earlier.address->text()), in_backticks(earlier.owner), where));
}

}  // namespace

bool overlap(const Address& one, const Address& other) {
  return one.kind == other.kind && one.port == other.port && !is_any_port(one) &&
         (one.host == other.host || is_wildcard(one) || is_wildcard(other));
}

void report_overlaps(const Config& config, Report& report) {
  const std::vector<Bind> binds = all_binds(config);
  std::map<std::pair<Address::Kind, std::uint16_t>, Taken> taken_by_port;
  for (const Bind& bind : binds) {
    if (is_any_port(*bind.address)) continue;
    Taken& taken = taken_by_port[{bind.address->kind, bind.address->port}];
    if (const Bind* earlier = conflict(taken, bind)) report_conflict(bind, *earlier, report);
    if (taken.first == nullptr) taken.first = &bind;
    if (taken.wildcard == nullptr && is_wildcard(*bind.address)) taken.wildcard = &bind;
    taken.by_host.emplace(bind.address->host, &bind);
  }
}

}  // namespace weir::config
