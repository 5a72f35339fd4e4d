#include "pool/dns_lookup.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

namespace weir::pool {
namespace {

constexpr std::uint32_t no_ttl = ~0U;

// Whose fault it is: then the message names the servers.
bool is_of_resolver(DnsFault fault) {
  return fault == DnsFault::no_answer || fault == DnsFault::unusable || fault == DnsFault::garbled;
}

}  // namespace

void HostLookup::begin(std::vector<std::string> names, DnsChannel& channel) {
  names_ = std::move(names);
  at_ = 0;
  has_seen_name_ = false;
  is_done_ = false;
  ask(channel);
}

void HostLookup::begin(const std::vector<Ip>& addresses) {
  is_done_ = true;
  is_answered_ = true;
  is_complete_ = true;
  ttl_ = 0;
  known_name_.clear();
  forget();
  for (const Ip& ip : addresses) families_[ip.is_v6 ? 1 : 0].known.push_back(ip);
}

void HostLookup::ask(DnsChannel& channel) {
  for (Family& family : families_) family.question = channel.ask(names_[at_], family.type);
}

bool HostLookup::advance(DnsChannels& channels, const std::vector<config::Address>& servers) {
  while (!is_done_) {
    std::array<Answer, 2> answers;
    for (std::size_t i = 0; i < families_.size(); ++i) {
      const DnsQuestion& question = *families_[i].question;
      if (!question.is_answered) return false;
      answers[i] = question.answer ? read_addresses(*question.answer, families_[i].type)
                                   : std::unexpected(question.answer.error());
    }
    is_done_ = settle(std::move(answers));
    if (!is_done_) ask(channels.to(servers));
  }
  return true;
}

// False: the next name is to be asked for.
bool HostLookup::settle(std::array<Answer, 2> answers) {
  const std::string& name = names_[at_];
  is_answered_ = answers[0].has_value() || answers[1].has_value();
  is_complete_ = true;
  if (is_answered_) {
    ttl_ = no_ttl;
    for (std::size_t i = 0; i < answers.size(); ++i) {
      std::vector<Ip>& known = families_[i].known;
      if (answers[i]) {
        known = std::move(answers[i]->addresses);
        ttl_ = std::min(ttl_, answers[i]->ttl);
      } else if (!is_certain(answers[i].error())) {
        is_complete_ = false;
        if (known_name_ != name) known.clear();
      } else {
        known.clear();
      }
    }
    known_name_ = name;
    return true;
  }
  for (const Answer& answer : answers) {
    // Another name might lead elsewhere: no guessing while the resolver does not know.
    if (!is_certain(answer.error())) {
      is_complete_ = false;
      fault_ = answer.error();
      return true;
    }
    has_seen_name_ |= answer.error() == DnsFault::no_records;
  }
  fault_ = has_seen_name_ ? DnsFault::no_records : DnsFault::no_such_name;
  return ++at_ == names_.size();
}

bool HostLookup::knows_any() const {
  return !families_[0].known.empty() || !families_[1].known.empty();
}

void HostLookup::append_to(std::vector<Ip>& addresses) const {
  for (const Family& family : families_) {
    addresses.insert(addresses.end(), family.known.begin(), family.known.end());
  }
}

void HostLookup::forget() {
  for (Family& family : families_) family.known.clear();
}

DnsLookup::DnsLookup(Discovery::Query query) : query_(std::move(query)) {
  if (!query_.is_service) services_.push_back({query_.name, query_.port, 0, 0});
}

void DnsLookup::begin(DnsChannels& channels, const DnsSystem& system) {
  DnsChannel& channel = channels.to(query_.dns.servers);
  servers_ = channel.servers();
  if (query_.is_service) {
    stage_ = Stage::services;
    services_question_ = channel.ask(query_.name, DnsType::srv);
  } else {
    begin_hosts(channels, system);
  }
}

std::optional<DnsLookup::Outcome> DnsLookup::advance(DnsChannels& channels,
                                                     const DnsSystem& system) {
  if (stage_ == Stage::services) {
    if (!services_question_->is_answered) return std::nullopt;
    Outcome outcome;
    if (!read_answer_of_services(outcome)) {
      stage_ = Stage::idle;
      return outcome;
    }
    begin_hosts(channels, system);
  }
  if (stage_ != Stage::hosts) return std::nullopt;
  bool is_done = true;
  for (auto& [name, host] : hosts_) is_done &= host.advance(channels, query_.dns.servers);
  if (!is_done) return std::nullopt;
  stage_ = Stage::idle;
  return finish();
}

bool DnsLookup::read_answer_of_services(Outcome& outcome) {
  const auto question = std::exchange(services_question_, nullptr);
  auto answer = question->answer ? read_services(*question->answer)
                                 : std::unexpected(question->answer.error());
  if (!answer) {
    outcome.found = std::unexpected(say(answer.error(), query_.name));
    return false;
  }
  services_ = std::move(answer->services);
  services_ttl_ = answer->ttl;
  return true;
}

void DnsLookup::begin_hosts(DnsChannels& channels, const DnsSystem& system) {
  stage_ = Stage::hosts;
  std::set<std::string> begun;
  for (const DnsService& service : services_) {
    if (!begun.insert(service.target).second) continue;
    HostLookup& host = hosts_[service.target];
    const auto ip = read_ip(service.target);
    const auto addresses = ip ? std::vector{*ip} : system.in_hosts(service.target);
    if (!addresses.empty()) {
      host.begin(addresses);
      continue;
    }
    // A target is a full name.
    host.begin(query_.is_service ? std::vector{service.target}
                                 : names_to_ask(service.target, system.search()),
               channels.to(query_.dns.servers));
  }
}

// A look-up has been answered if one of its hosts has. Then hosts that are certainly gone are left
// out, and those without an answer stay as they were. If none has, nothing changes.
DnsLookup::Outcome DnsLookup::finish() {
  Outcome outcome;
  outcome.ttl = query_.is_service ? services_ttl_ : no_ttl;
  bool is_answered = false;
  const std::string* failed = nullptr;
  for (const DnsService& service : services_) {
    const HostLookup& host = hosts_.at(service.target);
    if (host.is_answered()) {
      is_answered = true;
      outcome.ttl = std::min(outcome.ttl, host.ttl());
    } else if (failed == nullptr) {
      failed = &service.target;
    }
    outcome.is_complete &= host.is_complete();
  }
  if (is_answered) {
    outcome.found = compose();
  } else {
    outcome.found = std::unexpected(say(hosts_.at(*failed).fault(), *failed));
    std::erase_if(hosts_, [](const auto& entry) { return !entry.second.knows_any(); });
  }
  return outcome;
}

std::vector<Found> DnsLookup::compose() {
  std::erase_if(hosts_, [&](const auto& entry) {
    return std::ranges::find(services_, entry.first, &DnsService::target) == services_.end();
  });
  for (auto& [name, host] : hosts_) {
    if (!host.is_answered() && is_certain(host.fault())) host.forget();
  }
  const std::vector<Found> ranks = rank(services_);
  std::vector<FoundIp> all;
  std::vector<Ip> addresses;
  for (std::size_t i = 0; i < services_.size(); ++i) {
    addresses.clear();
    hosts_.at(services_[i].target).append_to(addresses);
    for (const Ip& ip : addresses) {
      all.push_back({ip, services_[i].port, ranks[i].weight, ranks[i].tier});
    }
  }
  return endpoints_of(std::move(all));
}

std::string DnsLookup::say(DnsFault fault, const std::string& host) const {
  std::string text = query_.name;
  if (host != query_.name) text += fmt::format(": its target {}", host);
  const bool is_service_itself = query_.is_service && host == query_.name;
  text += ": ";
  text += is_service_itself && fault == DnsFault::no_records ? "the name has no SRV record"
                                                             : words(fault);
  if (is_of_resolver(fault)) text += fmt::format(" ({})", servers_);
  return text;
}

}  // namespace weir::pool
