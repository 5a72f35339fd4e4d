#include "pool/dns_answer.hpp"

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <netinet/in.h>
#include <resolv.h>
#include <strings.h>

#include <algorithm>
#include <cstring>
#include <optional>
#include <tuple>

namespace weir::pool {
namespace {

constexpr int most_aliases = 16;
constexpr std::uint32_t most_tier = 15;
constexpr std::uint32_t most_weight = 256;
constexpr std::size_t longest_name = 253;

// RFC 2181: a time to live with the highest bit set is one of 0.
std::uint32_t ttl_of(const ns_rr& record) {
  return record.ttl > 0x7fffffffU ? 0 : record.ttl;
}

// A record's data that is a name, or ends in one, as text. False: it is none.
bool read_name(const ns_msg& message, const ns_rr& record, std::size_t offset,
               std::array<char, NS_MAXDNAME>& name) {
  if (record.rdlength <= offset) return false;
  const unsigned char* const from = record.rdata + offset;
  const int used =
      ::dn_expand(ns_msg_base(message), ns_msg_end(message), from, name.data(), NS_MAXDNAME);
  return used >= 0 && static_cast<std::size_t>(used) <= record.rdlength - offset;
}

// Calls `use` with each record of the answer that is of this type. False: the answer is garbled.
template <class Use>
bool each_record(ns_msg& message, int type, Use use) {
  const int count = ns_msg_count(message, ns_s_an);
  for (int i = 0; i < count; ++i) {
    ns_rr record;
    if (::ns_parserr(&message, ns_s_an, i, &record) != 0) return false;
    if (ns_rr_type(record) == type && ns_rr_class(record) == ns_c_in) use(record);
  }
  return true;
}

// An answer whose aliases have been followed.
struct Message {
  ns_msg handle{};
  std::string name;         // the one that the records belong to
  std::uint32_t ttl = ~0U;  // of the aliases
};

struct Alias {
  std::string from;
  std::string to;
  std::uint32_t ttl;
};

bool follow_aliases(Message& message) {
  std::vector<Alias> aliases;
  const bool sound = each_record(message.handle, ns_t_cname, [&](const ns_rr& record) {
    std::array<char, NS_MAXDNAME> to{};
    if (aliases.size() < most_aliases && read_name(message.handle, record, 0, to)) {
      aliases.push_back({ns_rr_name(record), to.data(), ttl_of(record)});
    }
  });
  for (int hops = 0; hops < most_aliases; ++hops) {
    const auto next = std::ranges::find_if(aliases, [&](const Alias& each) {
      return ::strcasecmp(each.from.c_str(), message.name.c_str()) == 0;
    });
    if (next == aliases.end()) return sound;
    message.name = next->to;
    message.ttl = std::min(message.ttl, next->ttl);
  }
  return false;
}

std::expected<Message, DnsFault> open(std::span<const unsigned char> answer) {
  Message message;
  if (answer.size() > NS_MAXMSG ||
      ::ns_initparse(answer.data(), static_cast<int>(answer.size()), &message.handle) != 0) {
    return std::unexpected(DnsFault::garbled);
  }
  switch (ns_msg_getflag(message.handle, ns_f_rcode)) {
    case ns_r_noerror:
      break;
    case ns_r_nxdomain:
      return std::unexpected(DnsFault::no_such_name);
    default:
      return std::unexpected(DnsFault::unusable);
  }
  ns_rr question;
  if (ns_msg_count(message.handle, ns_s_qd) != 1 ||
      ::ns_parserr(&message.handle, ns_s_qd, 0, &question) != 0) {
    return std::unexpected(DnsFault::garbled);
  }
  message.name = ns_rr_name(question);
  if (!follow_aliases(message)) return std::unexpected(DnsFault::garbled);
  return message;
}

bool belongs(const ns_rr& record, const Message& message) {
  return ::strcasecmp(ns_rr_name(record), message.name.c_str()) == 0;
}

bool is_unspecified(const Ip& ip) {
  return ip == Ip{ip.is_v6, {}};
}

// No escapes, no blanks: it goes into logs and into questions.
bool is_host_name(std::string_view name) {
  return !name.empty() && name.size() <= longest_name &&
         std::ranges::all_of(name, [](unsigned char c) {
           return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_' ||
                  c == '.';
         });
}

void lower(std::string& name) {
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
  }
}

config::Address address_of(const FoundIp& from) {
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(from.ip.is_v6 ? AF_INET6 : AF_INET, from.ip.bytes.data(), text.data(), text.size());
  return {from.ip.is_v6 ? config::Address::Kind::ipv6 : config::Address::Kind::ipv4, text.data(),
          from.port};
}

}  // namespace

std::string_view words(DnsFault fault) {
  switch (fault) {
    case DnsFault::no_such_name:
      return "no such name";
    case DnsFault::no_records:
      return "the name has no address";
    case DnsFault::not_offered:
      return "the service is not offered";
    case DnsFault::bad_name:
      return "DNS cannot be asked for such a name";
    case DnsFault::no_answer:
      return "no answer from the resolver";
    case DnsFault::unusable:
      return "the resolver fails, refuses or is not there";
    case DnsFault::garbled:
      return "the resolver's answer makes no sense";
    case DnsFault::out_of_memory:
      return "out of memory";
  }
  return {};
}

bool is_certain(DnsFault fault) {
  return fault == DnsFault::no_such_name || fault == DnsFault::no_records ||
         fault == DnsFault::not_offered;
}

std::optional<Ip> read_ip(const std::string& text) {
  Ip ip;
  if (::inet_pton(AF_INET, text.c_str(), ip.bytes.data()) != 1) {
    ip.is_v6 = true;
    if (::inet_pton(AF_INET6, text.c_str(), ip.bytes.data()) != 1) return std::nullopt;
  }
  return is_unspecified(ip) ? std::nullopt : std::optional(ip);
}

std::expected<DnsAddresses, DnsFault> read_addresses(std::span<const unsigned char> answer,
                                                     DnsType type) {
  auto message = open(answer);
  if (!message) return std::unexpected(message.error());
  const bool is_v6 = type == DnsType::aaaa;
  const std::size_t size = is_v6 ? 16 : 4;
  DnsAddresses found{{}, message->ttl};
  const auto take = [&](const ns_rr& record) {
    if (record.rdlength != size || !belongs(record, *message)) return;
    Ip ip{is_v6, {}};
    std::memcpy(ip.bytes.data(), record.rdata, size);
    if (is_unspecified(ip)) return;
    found.addresses.push_back(ip);
    found.ttl = std::min(found.ttl, ttl_of(record));
  };
  if (!each_record(message->handle, is_v6 ? ns_t_aaaa : ns_t_a, take)) {
    return std::unexpected(DnsFault::garbled);
  }
  if (found.addresses.empty()) return std::unexpected(DnsFault::no_records);
  std::ranges::sort(found.addresses);
  const auto same = std::ranges::unique(found.addresses);
  found.addresses.erase(same.begin(), same.end());
  if (found.addresses.size() > Discovery::most_addresses) {
    found.addresses.resize(Discovery::most_addresses);
  }
  return found;
}

std::expected<DnsServices, DnsFault> read_services(std::span<const unsigned char> answer) {
  auto message = open(answer);
  if (!message) return std::unexpected(message.error());
  DnsServices found{{}, message->ttl};
  bool is_not_offered = false;
  bool has_any = false;
  const auto take = [&](const ns_rr& record) {
    std::array<char, NS_MAXDNAME> target{};
    if (!belongs(record, *message)) return;
    has_any = true;
    if (!read_name(message->handle, record, 6, target)) return;
    const unsigned char* const at = record.rdata;
    DnsService service{target.data(), static_cast<std::uint16_t>(::ns_get16(at + 4)),
                       static_cast<std::uint16_t>(::ns_get16(at)),
                       static_cast<std::uint16_t>(::ns_get16(at + 2))};
    is_not_offered |= service.target.empty() || service.target == ".";
    lower(service.target);
    if (service.port == 0 || !is_host_name(service.target)) return;
    found.services.push_back(std::move(service));
    found.ttl = std::min(found.ttl, ttl_of(record));
  };
  if (!each_record(message->handle, ns_t_srv, take)) return std::unexpected(DnsFault::garbled);
  if (found.services.empty()) {
    if (!has_any) return std::unexpected(DnsFault::no_records);
    return std::unexpected(is_not_offered ? DnsFault::not_offered : DnsFault::garbled);
  }
  std::ranges::sort(found.services, {}, [](const DnsService& each) {
    return std::tie(each.priority, each.target, each.port, each.weight);
  });
  if (found.services.size() > Discovery::most_addresses) {
    found.services.resize(Discovery::most_addresses);
  }
  return found;
}

std::vector<Found> rank(std::span<const DnsService> services) {
  std::vector<Found> ranked(services.size());
  std::uint32_t tier = 0;
  for (std::size_t begin = 0, end = 0; begin < services.size(); begin = end, ++tier) {
    std::uint32_t heaviest = 0;
    for (; end < services.size() && services[end].priority == services[begin].priority; ++end) {
      heaviest = std::max<std::uint32_t>(heaviest, services[end].weight);
    }
    for (std::size_t i = begin; i < end; ++i) {
      std::uint32_t weight = services[i].weight;
      if (heaviest > most_weight) weight = (weight * most_weight + heaviest / 2) / heaviest;
      ranked[i].weight = std::max(weight, 1U);
      ranked[i].tier = std::min(tier, most_tier);
    }
  }
  return ranked;
}

std::vector<Found> endpoints_of(std::vector<FoundIp> all) {
  const auto place = [](const FoundIp& each) { return std::tie(each.ip, each.port); };
  std::ranges::sort(all, [&](const FoundIp& a, const FoundIp& b) {
    if (place(a) != place(b)) return place(a) < place(b);
    return a.tier != b.tier ? a.tier < b.tier : a.weight > b.weight;
  });
  const auto same = std::ranges::unique(all, {}, place);
  all.erase(same.begin(), same.end());
  if (all.size() > Discovery::most_addresses) all.resize(Discovery::most_addresses);
  std::vector<Found> endpoints;
  endpoints.reserve(all.size());
  for (const FoundIp& each : all) {
    endpoints.push_back({address_of(each), each.weight, each.tier});
  }
  return endpoints;
}

}  // namespace weir::pool
