#include "pool/discovery.hpp"

#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <chrono>
#include <deque>
#include <random>
#include <system_error>
#include <thread>
#include <utility>

#include "pool/connection.hpp"
#include "pool/dns_channel.hpp"
#include "pool/dns_lookup.hpp"
#include "pool/dns_pause.hpp"
#include "pool/dns_system.hpp"

namespace weir::pool {
namespace {

// Something is always due within a day; and poll() takes no more than an int.
constexpr std::chrono::milliseconds longest_wait = std::chrono::hours(24);

class Descriptor {
 public:
  explicit Descriptor(int number) : number_(number) {
    if (number < 0) throw std::system_error(errno, std::generic_category(), "eventfd");
  }
  Descriptor(const Descriptor&) = delete;
  Descriptor& operator=(const Descriptor&) = delete;
  ~Descriptor() { ::close(number_); }
  int number() const { return number_; }

 private:
  int number_;
};

}  // namespace

class Discovery::Resolver {
 public:
  Resolver(std::vector<Query> queries, Audience& audience)
      : audience_(audience), system_("/etc/hosts", "/etc/resolv.conf") {
    for (Query& query : queries) {
      channels_.to(query.dns.servers);
      names_.push_back({DnsLookup(std::move(query)), {}, 0});
    }
    thread_ = std::thread([this] { run(); });
  }
  Resolver(const Resolver&) = delete;
  Resolver& operator=(const Resolver&) = delete;
  ~Resolver() {
    stops_ = true;
    const std::uint64_t one = 1;
    while (::write(wake_.number(), &one, sizeof one) < 0 && errno == EINTR) {
    }
    thread_.join();
  }

 private:
  struct Name {
    DnsLookup lookup;
    TimePoint due;               // of the next look-up; the first one's is long past
    std::uint32_t failures = 0;  // in a row
  };

  void run() {
    std::vector<pollfd> sockets;
    while (!stops_) {
      const auto wait = turn();
      sockets.assign(1, {wake_.number(), POLLIN, 0});
      channels_.add_sockets(sockets);
      const auto most = channels_.timeout(wait);
      // On an error, EINTR for one, no socket counts as ready, and the time has perhaps come.
      if (::poll(sockets.data(), sockets.size(), static_cast<int>(most.count())) < 0) {
        for (pollfd& each : sockets) each.revents = 0;
      }
      channels_.process({sockets.begin() + 1, sockets.end()});
    }
  }

  // Begins what is due and reports what is done. Returns the time until something is due.
  std::chrono::milliseconds turn() {
    const TimePoint now = std::chrono::steady_clock::now();
    TimePoint next = now + longest_wait;
    for (std::size_t i = 0; i < names_.size() && !stops_; ++i) {
      Name& name = names_[i];
      if (!name.lookup.is_on_its_way() && name.due <= now) {
        system_.refresh();
        name.lookup.begin(channels_, system_);
      }
      if (name.lookup.is_on_its_way()) {
        if (auto outcome = name.lookup.advance(channels_, system_)) {
          name.due = now + pause(name, *outcome);
          report(i, std::move(*outcome));
        }
      }
      if (!name.lookup.is_on_its_way()) next = std::min(next, name.due);
    }
    return std::chrono::ceil<std::chrono::milliseconds>(next - now);
  }

  config::Duration pause(Name& name, const DnsLookup::Outcome& outcome) {
    const config::Dns& dns = name.lookup.query().dns;
    const bool is_good = outcome.found.has_value();
    if (is_good && outcome.is_complete) {
      name.failures = 0;
      return dns_renewal_pause(dns, outcome.ttl, chance());
    }
    ++name.failures;
    const config::Duration retry = dns_retry_pause(dns, name.failures, chance());
    return is_good ? std::min(retry, dns_renewal_pause(dns, outcome.ttl, chance())) : retry;
  }

  void report(std::size_t query, DnsLookup::Outcome outcome) {
    if (outcome.found) {
      audience_.found(query, std::move(*outcome.found));
    } else {
      audience_.not_found(query, std::move(outcome.found.error()));
    }
  }

  double chance() { return std::uniform_real_distribution<>(0, 1)(random_); }

  Audience& audience_;
  Descriptor wake_{::eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
  std::atomic<bool> stops_ = false;
  DnsSystem system_;
  DnsChannels channels_{"/etc/resolv.conf"};
  std::deque<Name> names_;
  std::mt19937_64 random_{std::random_device{}()};
  std::thread thread_;
};

Discovery::Discovery(std::vector<Query> queries, Audience& audience)
    : resolver_(std::make_unique<Resolver>(std::move(queries), audience)) {}

Discovery::~Discovery() = default;

}  // namespace weir::pool
