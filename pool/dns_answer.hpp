#pragma once
// What DNS answers mean: the bytes of an answer become addresses or the records of a service, and
// both together become endpoints. The bytes come from the network and are not trusted: whatever
// they say, the result is bounded. Pure.

#include <array>
#include <compare>
#include <cstddef>
#include <cstdint>
#include <expected>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "pool/discovery.hpp"

namespace weir::pool {

// Why a question has no answer that can be used.
enum class DnsFault : std::uint8_t {
  no_such_name,  // NXDOMAIN
  no_records,    // the name exists, but not with what was asked for
  not_offered,   // the service's record says that there is none (RFC 2782: target ".")
  bad_name,      // cannot be asked for
  no_answer,     // silence, from all servers
  unusable,      // a failure or a refusal, or nobody listens there
  garbled,       // an answer that makes no sense
  out_of_memory,
};
// For people: "no such name".
std::string_view words(DnsFault fault);
// The resolver has said that there is nothing, rather than that it does not know.
bool is_certain(DnsFault fault);

enum class DnsType : std::uint8_t { a, aaaa, srv };

struct Ip {
  bool is_v6 = false;
  std::array<std::uint8_t, 16> bytes{};  // IPv4 in the first 4
  std::strong_ordering operator<=>(const Ip&) const = default;
};
// A numeric address without a zone. Never the unspecified one (0.0.0.0, ::), here and below:
// connecting to it would reach this host.
std::optional<Ip> read_ip(const std::string& text);

struct DnsAddresses {
  std::vector<Ip> addresses;  // sorted, each once, at most Discovery::most_addresses
  std::uint32_t ttl = 0;      // seconds; the smallest, of the aliases on the way too
};

// One SRV record.
struct DnsService {
  std::string target;  // a host name in lower case without the last dot, or a numeric address
  std::uint16_t port = 0;
  std::uint16_t priority = 0;
  std::uint16_t weight = 0;
  auto operator<=>(const DnsService&) const = default;
};
struct DnsServices {
  std::vector<DnsService> services;  // by priority, at most Discovery::most_addresses; never empty
  std::uint32_t ttl = 0;             // seconds; the smallest
};

// `type` is a or aaaa. The addresses of the name that was asked for, through its aliases.
std::expected<DnsAddresses, DnsFault> read_addresses(std::span<const unsigned char> answer,
                                                     DnsType type);
// Records that nobody could connect to are left out: port 0, a target that is no host name.
std::expected<DnsServices, DnsFault> read_services(std::span<const unsigned char> answer);

// Priorities become ranks, at most 15; the weights of each priority become 1 to 256, in
// proportion. `services` is sorted by priority. The result is parallel to it, without addresses.
std::vector<Found> rank(std::span<const DnsService> services);

struct FoundIp {
  Ip ip;
  std::uint16_t port = 0;
  std::uint32_t weight = 1;
  std::uint32_t tier = 0;
};
// Sorted by address and port; of duplicates the lowest tier stays, and in it the greatest weight.
// The first Discovery::most_addresses.
std::vector<Found> endpoints_of(std::vector<FoundIp> all);

}  // namespace weir::pool
