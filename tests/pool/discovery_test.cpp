#include "pool/discovery.hpp"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <condition_variable>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "pool/dns_answer.hpp"
#include "pool/dns_channel.hpp"
#include "pool/dns_pause.hpp"
#include "pool/dns_system.hpp"
#include "tests/support/dns_server.hpp"

namespace weir::pool {
namespace {

using namespace std::chrono_literals;
using testing::AllOf;
using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;
using testing::Not;
using Strings = std::vector<std::string>;

// "10.0.0.1:80", and behind it weight and tier where they are not 1 and 0.
Strings texts(const std::vector<Found>& found) {
  Strings all;
  for (const Found& each : found) {
    std::string text = each.address.text();
    if (each.weight != 1 || each.tier != 0) text += fmt::format(" w{} t{}", each.weight, each.tier);
    all.push_back(text);
  }
  return all;
}

class Ear final : public Discovery::Audience {
 public:
  void found(std::size_t query, std::vector<Found> endpoints) override {
    const std::lock_guard lock(mutex_);
    found_[query] = texts(endpoints);
    ++good_[query];
    changed_.notify_all();
  }
  void not_found(std::size_t query, std::string why) override {
    const std::lock_guard lock(mutex_);
    whys_[query].push_back(std::move(why));
    changed_.notify_all();
  }

  // The last answer; waits for one that is `wanted`, or for the first.
  Strings answer(std::size_t query, const Strings& wanted = {}) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(
        lock, 10s, [&] { return good_[query] > 0 && (wanted.empty() || found_[query] == wanted); });
    return found_[query];
  }
  // Waits for that many answers in all.
  std::size_t answers(std::size_t query, std::size_t wanted = 0) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, 10s, [&] { return good_[query] >= wanted; });
    return good_[query];
  }
  // Why the query has failed so far; waits for that many failures.
  Strings whys(std::size_t query, std::size_t wanted) {
    std::unique_lock lock(mutex_);
    changed_.wait_for(lock, 10s, [&] { return whys_[query].size() >= wanted; });
    return whys_[query];
  }

 private:
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::size_t, Strings> found_;
  std::map<std::size_t, std::size_t> good_;
  std::map<std::size_t, Strings> whys_;
};

// Asked again as often as is allowed.
Discovery::Query name_at(const DnsServer& server, std::string name) {
  return {std::move(name), false, 80, {{}, 10ms, 20ms, {server.address()}, {}}};
}
Discovery::Query service_at(const DnsServer& server, std::string name) {
  return {std::move(name), true, 0, {{}, 10ms, 20ms, {server.address()}, {}}};
}

TEST(Discovery, FindsBothFamilies) {
  DnsServer server;
  server.set("db.test", ns_t_a, {DnsRecord::a("10.0.0.2", 60), DnsRecord::a("10.0.0.1", 60)});
  server.set("db.test", ns_t_aaaa, {DnsRecord::aaaa("2001:db8::1", 60)});
  Ear ear;
  const Discovery discovery({name_at(server, "db.test")}, ear);
  EXPECT_THAT(ear.answer(0), ElementsAre("10.0.0.1:80", "10.0.0.2:80", "[2001:db8::1]:80"));
}

TEST(Discovery, FindsANameOfOneFamily) {
  DnsServer server;
  server.set("four.test", ns_t_a, {DnsRecord::a("10.0.0.1", 60)});
  server.set("six.test", ns_t_aaaa, {DnsRecord::aaaa("2001:db8::1", 60)});
  Ear ear;
  const Discovery discovery({name_at(server, "four.test"), name_at(server, "six.test")}, ear);
  EXPECT_THAT(ear.answer(0), ElementsAre("10.0.0.1:80"));
  EXPECT_THAT(ear.answer(1), ElementsAre("[2001:db8::1]:80"));
}

TEST(Discovery, FindsANameWhoseOtherFamilyFails) {
  DnsServer server;
  server.set("db.test", ns_t_a, {DnsRecord::a("10.0.0.1", 60)});
  server.fail("db.test", ns_t_aaaa, ns_r_servfail);
  Ear ear;
  const Discovery discovery({name_at(server, "db.test")}, ear);
  EXPECT_THAT(ear.answer(0), ElementsAre("10.0.0.1:80"));
}

TEST(Discovery, KeepsAFamilyThatFailsForAWhile) {
  DnsServer server;
  server.set("db.test", ns_t_a, {DnsRecord::a("10.0.0.1", 0)});
  server.set("db.test", ns_t_aaaa, {DnsRecord::aaaa("2001:db8::1", 0)});
  Ear ear;
  const Discovery discovery({name_at(server, "db.test")}, ear);
  EXPECT_THAT(ear.answer(0), ElementsAre("10.0.0.1:80", "[2001:db8::1]:80"));
  server.fail("db.test", ns_t_aaaa, ns_r_servfail);
  server.set("db.test", ns_t_a, {DnsRecord::a("10.0.0.2", 0)});
  EXPECT_THAT(ear.answer(0, {"10.0.0.2:80", "[2001:db8::1]:80"}),
              ElementsAre("10.0.0.2:80", "[2001:db8::1]:80"));
  server.set("db.test", ns_t_aaaa, {});
  EXPECT_THAT(ear.answer(0, {"10.0.0.2:80"}), ElementsAre("10.0.0.2:80"));
}

TEST(Discovery, FollowsAnAnswerThatChanges) {
  DnsServer server;
  server.set("db.test", ns_t_a, {DnsRecord::a("10.0.0.1", 0)});
  server.set("fixed.test", ns_t_a, {DnsRecord::a("10.0.0.1", 3600)});
  Discovery::Query fixed = name_at(server, "fixed.test");
  fixed.dns.refresh = 10ms;
  Ear ear;
  const Discovery discovery({name_at(server, "db.test"), fixed}, ear);
  EXPECT_THAT(ear.answer(0), ElementsAre("10.0.0.1:80"));
  EXPECT_THAT(ear.answer(1), ElementsAre("10.0.0.1:80"));
  server.set("db.test", ns_t_a, {DnsRecord::a("10.0.0.2", 0)});
  server.set("fixed.test", ns_t_a, {DnsRecord::a("10.0.0.2", 3600)});
  EXPECT_THAT(ear.answer(0, {"10.0.0.2:80"}), ElementsAre("10.0.0.2:80"));
  EXPECT_THAT(ear.answer(1, {"10.0.0.2:80"}), ElementsAre("10.0.0.2:80"));
}

TEST(Discovery, ReportsEachAnswerAlsoOneThatChangesNothing) {
  DnsServer server;
  server.set("db.test", ns_t_a, {DnsRecord::a("10.0.0.1", 0)});
  Ear ear;
  const Discovery discovery({name_at(server, "db.test")}, ear);
  EXPECT_GE(ear.answers(0, 3), 3U);
}

TEST(Discovery, SaysWhyANameIsNotFound) {
  DnsServer server;
  server.set("empty.test", ns_t_a, {});
  server.fail("sick.test", ns_t_a, ns_r_servfail);
  server.set("zero.test", ns_t_a, {DnsRecord::a("0.0.0.0", 60)});
  server.set("_empty._tcp.test", ns_t_a, {});
  server.set("_none._tcp.test", ns_t_srv, {DnsRecord::srv(0, 0, 0, "", 60)});
  server.set("_lost._tcp.test", ns_t_srv, {DnsRecord::srv(0, 0, 80, "gone.test", 60)});
  Ear ear;
  const Discovery discovery(
      {name_at(server, "gone.test"), name_at(server, "empty.test"), name_at(server, "sick.test"),
       service_at(server, "_gone._tcp.test"), service_at(server, "_empty._tcp.test"),
       service_at(server, "_none._tcp.test"), service_at(server, "_lost._tcp.test"),
       name_at(server, "a..b"), name_at(server, "zero.test")},
      ear);
  EXPECT_EQ(ear.whys(0, 1).at(0), "gone.test: no such name");
  EXPECT_EQ(ear.whys(1, 1).at(0), "empty.test: the name has no address");
  EXPECT_EQ(ear.whys(2, 1).at(0),
            fmt::format("sick.test: the resolver fails, refuses or is not there ({})",
                        server.address().text()));
  EXPECT_EQ(ear.whys(3, 1).at(0), "_gone._tcp.test: no such name");
  EXPECT_EQ(ear.whys(4, 1).at(0), "_empty._tcp.test: the name has no SRV record");
  EXPECT_EQ(ear.whys(5, 1).at(0), "_none._tcp.test: the service is not offered");
  EXPECT_EQ(ear.whys(6, 1).at(0), "_lost._tcp.test: its target gone.test: no such name");
  EXPECT_EQ(ear.whys(7, 1).at(0), "a..b: DNS cannot be asked for such a name");
  EXPECT_EQ(ear.whys(8, 1).at(0), "zero.test: the name has no address");
}

TEST(Discovery, KeepsAskingAfterAFailure) {
  DnsServer server;
  server.set("db.test", ns_t_a, {DnsRecord::a("10.0.0.1", 0)});
  Ear ear;
  const Discovery discovery({name_at(server, "db.test")}, ear);
  EXPECT_THAT(ear.answer(0), ElementsAre("10.0.0.1:80"));
  server.forget("db.test");
  EXPECT_GE(ear.whys(0, 3).size(), 3U);
  EXPECT_THAT(ear.answer(0), ElementsAre("10.0.0.1:80"));
  server.set("db.test", ns_t_a, {DnsRecord::a("10.0.0.2", 0)});
  EXPECT_THAT(ear.answer(0, {"10.0.0.2:80"}), ElementsAre("10.0.0.2:80"));
}

TEST(Discovery, FollowsAliases) {
  DnsServer server;
  server.set(
      "db.test", ns_t_a,
      {DnsRecord::cname("one.test", 60), DnsRecord::cname("two.test", 60).of("one.test"),
       DnsRecord::a("10.0.0.1", 60).of("two.test"), DnsRecord::a("10.0.0.9", 60).of("other.test")});
  Ear ear;
  const Discovery discovery({name_at(server, "db.test")}, ear);
  EXPECT_THAT(ear.answer(0), ElementsAre("10.0.0.1:80"));
}

TEST(Discovery, FindsAServiceWithPortsWeightsAndTiers) {
  DnsServer server;
  server.set("_redis._tcp.test", ns_t_srv,
             {DnsRecord::srv(20, 0, 6380, "b.test", 60), DnsRecord::srv(10, 5, 6379, "A.test", 60),
              DnsRecord::srv(10, 10, 6390, "10.0.0.7", 60)});
  server.set("a.test", ns_t_a, {DnsRecord::a("10.0.0.1", 60)});
  server.set("a.test", ns_t_aaaa, {DnsRecord::aaaa("2001:db8::1", 60)});
  server.set("b.test", ns_t_a, {DnsRecord::a("10.0.0.2", 60)});
  Ear ear;
  const Discovery discovery({service_at(server, "_redis._tcp.test")}, ear);
  EXPECT_THAT(ear.answer(0), ElementsAre("10.0.0.1:6379 w5 t0", "10.0.0.2:6380 w1 t1",
                                         "10.0.0.7:6390 w10 t0", "[2001:db8::1]:6379 w5 t0"));
}

TEST(Discovery, LeavesOutTheTargetThatIsGoneAndKeepsTheOneThatFails) {
  DnsServer server;
  server.set("_redis._tcp.test", ns_t_srv,
             {DnsRecord::srv(0, 1, 80, "a.test", 0), DnsRecord::srv(0, 1, 80, "b.test", 0),
              DnsRecord::srv(0, 1, 80, "never.test", 0)});
  server.set("a.test", ns_t_a, {DnsRecord::a("10.0.0.1", 0)});
  server.set("b.test", ns_t_a, {DnsRecord::a("10.0.0.2", 0)});
  Ear ear;
  const Discovery discovery({service_at(server, "_redis._tcp.test")}, ear);
  EXPECT_THAT(ear.answer(0), ElementsAre("10.0.0.1:80", "10.0.0.2:80"));

  server.fail("b.test", ns_t_a, ns_r_servfail);
  server.set("a.test", ns_t_a, {DnsRecord::a("10.0.0.3", 0)});
  EXPECT_THAT(ear.answer(0, {"10.0.0.2:80", "10.0.0.3:80"}),
              ElementsAre("10.0.0.2:80", "10.0.0.3:80"));
  // That none is found leaves all as it was.
  server.forget("a.test");
  const std::size_t failures = ear.whys(0, 0).size();
  EXPECT_THAT(ear.whys(0, failures + 2).back(), HasSubstr("its target a.test: no such name"));
  EXPECT_THAT(ear.answer(0), ElementsAre("10.0.0.2:80", "10.0.0.3:80"));

  server.forget("b.test");
  server.set("a.test", ns_t_a, {DnsRecord::a("10.0.0.3", 0)});
  EXPECT_THAT(ear.answer(0, {"10.0.0.3:80"}), ElementsAre("10.0.0.3:80"));
}

TEST(Discovery, IsOverAtOnceThoughAResolverIsSilent) {
  DnsServer server;
  server.keep_silent("db.test", ns_t_a);
  server.keep_silent("db.test", ns_t_aaaa);
  server.keep_silent("_redis._tcp.test", ns_t_srv);
  Ear ear;
  std::chrono::steady_clock::time_point begin;
  {
    const Discovery discovery({name_at(server, "db.test"), service_at(server, "_redis._tcp.test")},
                              ear);
    EXPECT_TRUE(server.wait_until_asked("db.test", ns_t_aaaa, 1));
    EXPECT_TRUE(server.wait_until_asked("_redis._tcp.test", ns_t_srv, 1));
    begin = std::chrono::steady_clock::now();
  }
  EXPECT_LT(std::chrono::steady_clock::now() - begin, 1s);
  EXPECT_THAT(ear.whys(0, 0), IsEmpty());
}

TEST(Discovery, ReportsASilentResolverWhichHoldsUpNoOtherName) {
  DnsServer silent;
  silent.keep_silent("db.test", ns_t_a);
  silent.keep_silent("db.test", ns_t_aaaa);
  DnsServer server;
  server.set("db.test", ns_t_a, {DnsRecord::a("10.0.0.1", 0)});
  Discovery::Query both = name_at(silent, "db.test");
  both.dns.servers.push_back(server.address());
  Ear ear;
  const Discovery discovery({name_at(silent, "db.test"), name_at(server, "db.test"), both}, ear);
  EXPECT_GE(ear.answers(1, 5), 5U);
  EXPECT_THAT(ear.whys(0, 0), IsEmpty());
  EXPECT_THAT(ear.answer(2), ElementsAre("10.0.0.1:80")) << "the second server's";
  EXPECT_THAT(ear.whys(0, 1), ElementsAre(fmt::format("db.test: no answer from the resolver ({})",
                                                      silent.address().text())));
}

TEST(Discovery, TakesAnswersThatAreTooLongForUdpAndNotMoreThanTheMost) {
  DnsServer server;
  std::vector<DnsRecord> records;
  for (int i = 999; i >= 0; --i) {
    records.push_back(DnsRecord::a(fmt::format("10.0.{}.{}", i / 250, i % 250).c_str(), 60));
  }
  server.set("db.test", ns_t_a, records);
  std::vector<DnsRecord> services;
  for (std::uint16_t port = 1; port <= 999; ++port) {
    services.push_back(DnsRecord::srv(0, 0, port, "db.test", 60));
  }
  server.set("_many._tcp.test", ns_t_srv, services);
  Ear ear;
  const Discovery discovery({name_at(server, "db.test"), service_at(server, "_many._tcp.test")},
                            ear);
  const Strings found = ear.answer(0);
  ASSERT_EQ(found.size(), Discovery::most_addresses);
  EXPECT_EQ(found.front(), "10.0.0.0:80");
  EXPECT_EQ(found.back(), "10.0.1.5:80");
  EXPECT_EQ(ear.answer(1).size(), Discovery::most_addresses);
  EXPECT_GE(server.times_asked_over_tcp(), 2U);
}

TEST(Discovery, SurvivesAnswersThatMakeNoSense) {
  DnsServer server;
  server.set_raw("loop.test", ns_t_a, "\xc0\x1b", 1);
  server.set_raw("short.test", ns_t_a, "\xc0\x0c", 40);
  server.set_raw("_bad._tcp.test", ns_t_srv, std::string(700, '\xff'), 9);
  server.set("_odd._tcp.test", ns_t_srv,
             {DnsRecord{ns_t_srv, 60, "\x01\x02"}, DnsRecord::srv(0, 0, 80, "b\n .test", 60),
              DnsRecord::srv(0, 0, 0, "a.test", 60)});
  server.set("ring.test", ns_t_a,
             {DnsRecord::cname("b.test", 60), DnsRecord::cname("ring.test", 60).of("b.test")});
  Ear ear;
  const Discovery discovery({name_at(server, "loop.test"), name_at(server, "short.test"),
                             service_at(server, "_bad._tcp.test"),
                             service_at(server, "_odd._tcp.test"), name_at(server, "ring.test")},
                            ear);
  for (std::size_t i = 0; i < 5; ++i) {
    EXPECT_THAT(ear.whys(i, 2).back(), HasSubstr("makes no sense")) << i;
  }
  for (std::size_t i = 0; i < 5; ++i) EXPECT_EQ(ear.answers(i), 0U) << i;
}

TEST(Discovery, KnowsLocalhostWithoutAsking) {
  DnsServer server;
  Ear ear;
  const Discovery discovery({name_at(server, "localhost")}, ear);
  EXPECT_THAT(ear.answer(0), testing::Contains("127.0.0.1:80"));
  EXPECT_EQ(server.times_asked("localhost", ns_t_a), 0U);
}

TEST(Discovery, RefusesAServerThatIsNone) {
  Ear ear;
  Discovery::Query query{"db.test", false, 80, {}};
  query.dns.servers = {{config::Address::Kind::unix_socket, "/run/dns.sock", 0}};
  EXPECT_THROW(Discovery({query}, ear), std::runtime_error);
}

TEST(DnsPause, IsTheTimeToLiveBetweenMinAndMax) {
  const config::Dns dns{{}, 10s, 60s, {}, {}};
  EXPECT_EQ(dns_renewal_pause(dns, 30, 0), 30s);
  EXPECT_EQ(dns_renewal_pause(dns, 0, 0), 10s);
  EXPECT_EQ(dns_renewal_pause(dns, 3600, 0), 60s);
  EXPECT_EQ(dns_renewal_pause(dns, ~0U, 0), 60s);
  EXPECT_EQ(dns_renewal_pause(dns, 30, 0.5), 28500ms);
  EXPECT_EQ(dns_renewal_pause(dns, 3600, 0.5), 57s);
  EXPECT_EQ(dns_renewal_pause(dns, 10, 0.99), 10s) << "never below min";
}

TEST(DnsPause, IsTheFixedOneIfThereIsOne) {
  const config::Dns dns{5s, 10s, 60s, {}, {}};
  EXPECT_EQ(dns_renewal_pause(dns, 30, 0), 5s);
  EXPECT_EQ(dns_renewal_pause(dns, 30, 0.5), 4750ms);
}

TEST(DnsPause, DoublesWithEachFailure) {
  const config::Dns dns{{}, 1s, 10s, {}, {}};
  EXPECT_EQ(dns_retry_pause(dns, 1, 0), 1s);
  EXPECT_EQ(dns_retry_pause(dns, 1, 0.9), 1s) << "never below min";
  EXPECT_EQ(dns_retry_pause(dns, 2, 0), 2s);
  EXPECT_EQ(dns_retry_pause(dns, 4, 0.5), 7600ms);
  EXPECT_EQ(dns_retry_pause(dns, 5, 0), 10s);
  EXPECT_EQ(dns_retry_pause(dns, 4'000'000'000, 0), 10s);
}

std::span<const unsigned char> bytes_of(const std::string& text) {
  return {reinterpret_cast<const unsigned char*>(text.data()), text.size()};
}

TEST(DnsAnswer, RestsOnTheSmallestTimeToLiveOfItsRecordsAndAliases) {
  const std::string answer = dns_message(
      "id", dns_question("db.test", ns_t_a),
      dns_records({DnsRecord::cname("one.test", 7), DnsRecord::a("10.0.0.1", 20).of("one.test"),
                   DnsRecord::a("10.0.0.2", 10).of("one.test"), DnsRecord::a("10.0.0.3", 1)}),
      4, ns_r_noerror);
  const auto read = read_addresses(bytes_of(answer), DnsType::a);
  ASSERT_TRUE(read);
  EXPECT_EQ(read->addresses.size(), 2U);
  EXPECT_EQ(read->ttl, 7U);
}

TEST(DnsAnswer, ScalesWeightsWithinAPriorityAndRanksPriorities) {
  std::vector<DnsService> services{
      {"a", 1, 5, 65535}, {"b", 1, 5, 32768}, {"c", 1, 5, 0}, {"d", 1, 9, 200}, {"e", 1, 9, 100}};
  for (std::uint16_t priority = 10; priority < 40; ++priority) {
    services.push_back({"f", 1, priority, 0});
  }
  const std::vector<Found> ranked = rank(services);
  const auto weight_and_tier = [&](std::size_t i) {
    return std::pair(ranked[i].weight, ranked[i].tier);
  };
  EXPECT_EQ(weight_and_tier(0), std::pair(256U, 0U));
  EXPECT_EQ(weight_and_tier(1), std::pair(128U, 0U));
  EXPECT_EQ(weight_and_tier(2), std::pair(1U, 0U));
  EXPECT_EQ(weight_and_tier(3), std::pair(200U, 1U));
  EXPECT_EQ(weight_and_tier(4), std::pair(100U, 1U));
  EXPECT_EQ(weight_and_tier(5), std::pair(1U, 2U));
  EXPECT_EQ(ranked.back().tier, 15U);
}

TEST(DnsAnswer, IsReadWithoutHarmWhateverItsBytes) {
  const std::string sound = dns_message(
      "id", dns_question("db.test", ns_t_srv),
      dns_records({DnsRecord::cname("one.test", 7), DnsRecord::a("10.0.0.1", 20).of("one.test"),
                   DnsRecord::aaaa("2001:db8::1", 20),
                   DnsRecord::srv(1, 2, 3, "a.long.target.test", 9).of("one.test")}),
      4, ns_r_noerror);
  ASSERT_TRUE(read_services(bytes_of(sound)));
  std::mt19937 random(20240607);
  const auto below = [&](std::size_t most) {
    return std::uniform_int_distribution<std::size_t>(0, most - 1)(random);
  };
  int understood = 0;
  for (int round = 0; round < 50'000; ++round) {
    std::string broken = sound.substr(0, round % 4 == 0 ? below(sound.size()) : sound.size());
    for (std::size_t i = below(6); i > 0 && !broken.empty(); --i) {
      broken[below(broken.size())] = static_cast<char>(below(256));
    }
    // A copy of just this size: reading beyond it is noticed.
    const std::vector<unsigned char> exact(broken.begin(), broken.end());
    understood += read_services(exact).has_value() ? 1 : 0;
    understood += read_addresses(exact, DnsType::a).has_value() ? 1 : 0;
    understood += read_addresses(exact, DnsType::aaaa).has_value() ? 1 : 0;
  }
  EXPECT_GT(understood, 0);
}

TEST(DnsSystem, ReadsAHostsFile) {
  const std::string_view text =
      "# comment\n10.0.0.1 db db.internal # web\n::1\tweb\r\n2001:db8::1  DB.internal.\n"
      "0.0.0.0 db\nnonsense db\n10.0.0.1 db\n10.0.0.9 dbx\n10.0.0.8";
  EXPECT_THAT(read_hosts(text, "db.internal"),
              ElementsAre(*read_ip("10.0.0.1"), *read_ip("2001:db8::1")));
  EXPECT_THAT(read_hosts(text, "db"), ElementsAre(*read_ip("10.0.0.1")));
  EXPECT_THAT(read_hosts(text, "web"), ElementsAre(*read_ip("::1")));
  EXPECT_THAT(read_hosts(text, "10.0.0.8"), IsEmpty());
  EXPECT_THAT(read_hosts("", "localhost"), ElementsAre(*read_ip("127.0.0.1"), *read_ip("::1")));
}

TEST(DnsSystem, CompletesShortNamesAsResolvConfSays) {
  const DnsSearch search = read_search(
      "nameserver 10.0.0.1\nsearch old.test\nsearch a.test b.test.  \noptions edns0 ndots:2\n",
      "c");
  EXPECT_THAT(search.domains, ElementsAre("a.test", "b.test"));
  EXPECT_THAT(names_to_ask("db", search), ElementsAre("db.a.test", "db.b.test", "db"));
  EXPECT_THAT(names_to_ask("x.y.z", search), ElementsAre("x.y.z", "x.y.z.a.test", "x.y.z.b.test"));
  EXPECT_THAT(names_to_ask("db.", search), ElementsAre("db"));
  EXPECT_EQ(read_search("search .\n", "c"), DnsSearch{}) << "an empty list";
  EXPECT_THAT(read_search("options ndots:99\n", "own.test").domains, ElementsAre("own.test"));
  EXPECT_EQ(read_search("options ndots:99\n", "").dots, 15U);
}

TEST(DnsChannels, FollowTheSystemsServersWhenTheirFileChanges) {
  std::string path = testing::TempDir() + "/resolv_conf_XXXXXX";
  ASSERT_GE(::close(::mkstemp(path.data())), 0);
  const auto write = [&](const char* text) { std::ofstream(path) << text; };
  write("nameserver 127.0.0.9\n");
  DnsChannels channels(path);
  DnsServer server;
  DnsChannel& other = channels.to({server.address()});
  EXPECT_EQ(channels.to({}).servers(), "127.0.0.9:53");
  const auto question = channels.to({}).ask("db.test", DnsType::a);
  write("nameserver 127.0.0.10\nnameserver ::1\n");
  EXPECT_EQ(channels.to({}).servers(), "127.0.0.10:53 [::1]:53");
  EXPECT_EQ(&channels.to({server.address()}), &other) << "the others stay";
  ASSERT_EQ(::unlink(path.c_str()), 0);
  EXPECT_EQ(channels.to({}).servers(), "127.0.0.1:53");

  // Nobody listens at the first one: what was asked there is still told so.
  const auto end = std::chrono::steady_clock::now() + 20s;
  while (!question->is_answered && std::chrono::steady_clock::now() < end) {
    std::vector<pollfd> sockets;
    channels.add_sockets(sockets);
    ::poll(sockets.data(), sockets.size(), static_cast<int>(channels.timeout(20s).count()));
    channels.process(sockets);
  }
  EXPECT_TRUE(question->is_answered);
  EXPECT_FALSE(question->answer);
}

}  // namespace
}  // namespace weir::pool
