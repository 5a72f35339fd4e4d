#pragma once
// One look-up of a name or a service, step by step: the SRV records first, if it is a service, then
// the addresses of every host, side by side. It remembers the last good addresses of each host, so
// that what fails for a moment is not taken for gone. It does not wait: advance() is called again
// when answers have come.

#include <array>
#include <cstdint>
#include <expected>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "pool/discovery.hpp"
#include "pool/dns_answer.hpp"
#include "pool/dns_channel.hpp"
#include "pool/dns_system.hpp"

namespace weir::pool {

// The addresses of one host: A and AAAA, for one full name after the other until one has either.
class HostLookup {
 public:
  // `names` in the order to be tried.
  void begin(std::vector<std::string> names, DnsChannel& channel);
  // Known without asking: numeric, or from the hosts file. Done at once.
  void begin(const std::vector<Ip>& addresses);
  // True: it is done.
  bool advance(DnsChannels& channels, const std::vector<config::Address>& servers);

  // Once done. An answer with addresses has come; if not, fault() says why.
  bool is_answered() const { return is_answered_; }
  DnsFault fault() const { return fault_; }
  // Neither family is without an answer.
  bool is_complete() const { return is_complete_; }
  std::uint32_t ttl() const { return ttl_; }  // of what has been answered now
  // The addresses of the answer; for a family without one, those of its last answer.
  bool knows_any() const;
  void append_to(std::vector<Ip>& addresses) const;
  // The host is gone.
  void forget();

 private:
  using Answer = std::expected<DnsAddresses, DnsFault>;
  struct Family {
    DnsType type;
    std::shared_ptr<const DnsQuestion> question;
    std::vector<Ip> known;
  };

  void ask(DnsChannel& channel);
  bool settle(std::array<Answer, 2> answers);

  std::array<Family, 2> families_{{{DnsType::a, nullptr, {}}, {DnsType::aaaa, nullptr, {}}}};
  std::vector<std::string> names_;
  std::size_t at_ = 0;      // of names_: the one being asked for
  std::string known_name_;  // the one that had what is known
  bool is_done_ = true;
  bool is_answered_ = false;
  bool is_complete_ = true;
  bool has_seen_name_ = false;  // a name that exists, though without an address
  DnsFault fault_ = DnsFault::no_answer;
  std::uint32_t ttl_ = 0;
};

class DnsLookup {
 public:
  struct Outcome {
    std::expected<std::vector<Found>, std::string> found;  // else why not, for people
    bool is_complete = true;  // false: something in it is older, or missing for want of an answer
    std::uint32_t ttl = 0;    // seconds; the smallest
  };

  explicit DnsLookup(Discovery::Query query);

  const Discovery::Query& query() const { return query_; }
  bool is_on_its_way() const { return stage_ != Stage::idle; }
  void begin(DnsChannels& channels, const DnsSystem& system);
  // Nothing while answers are still missing.
  std::optional<Outcome> advance(DnsChannels& channels, const DnsSystem& system);

 private:
  enum class Stage : std::uint8_t { idle, services, hosts };

  bool read_answer_of_services(Outcome& outcome);
  void begin_hosts(DnsChannels& channels, const DnsSystem& system);
  Outcome finish();
  std::vector<Found> compose();
  std::string say(DnsFault fault, const std::string& host) const;

  Discovery::Query query_;
  Stage stage_ = Stage::idle;
  std::string servers_;  // those that were asked last, for people
  std::shared_ptr<const DnsQuestion> services_question_;
  std::uint32_t services_ttl_ = 0;
  // Of a name: one, itself.
  std::vector<DnsService> services_;
  std::map<std::string, HostLookup> hosts_;  // by service.target; some of former services, too
};

}  // namespace weir::pool
