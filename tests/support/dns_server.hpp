#pragma once
// A DNS server on 127.0.0.1 whose answers a test sets, over UDP and TCP on one port of the
// kernel's choice. What does not fit into 512 bytes is truncated over UDP. A name that was never
// set does not exist; one that was has no records of the other types.

#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <gtest/gtest.h>
#include <poll.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "config/config.hpp"

namespace weir::pool {

inline std::string dns_number(std::uint32_t number, int bytes) {
  std::string text;
  while (bytes-- > 0) text += static_cast<char>((number >> (8 * bytes)) & 0xff);
  return text;
}

inline std::string dns_name(std::string_view name) {
  std::string bytes;
  while (!name.empty()) {
    const std::string_view label = name.substr(0, name.find('.'));
    bytes += dns_number(static_cast<std::uint32_t>(label.size()), 1);
    bytes += label;
    name.remove_prefix(std::min(label.size() + 1, name.size()));
  }
  return bytes + '\0';
}

struct DnsRecord {
  std::uint16_t type;
  std::uint32_t ttl;
  std::string data;
  std::string owner = {};  // empty = the name that was asked for

  static DnsRecord a(const char* address, std::uint32_t ttl) {
    std::string data(4, '\0');
    EXPECT_EQ(::inet_pton(AF_INET, address, data.data()), 1);
    return {ns_t_a, ttl, data};
  }
  static DnsRecord aaaa(const char* address, std::uint32_t ttl) {
    std::string data(16, '\0');
    EXPECT_EQ(::inet_pton(AF_INET6, address, data.data()), 1);
    return {ns_t_aaaa, ttl, data};
  }
  static DnsRecord cname(std::string_view target, std::uint32_t ttl) {
    return {ns_t_cname, ttl, dns_name(target)};
  }
  static DnsRecord srv(std::uint16_t priority, std::uint16_t weight, std::uint16_t port,
                       std::string_view target, std::uint32_t ttl) {
    return {
        ns_t_srv, ttl,
        dns_number(priority, 2) + dns_number(weight, 2) + dns_number(port, 2) + dns_name(target)};
  }
  DnsRecord of(std::string name) && {
    owner = std::move(name);
    return std::move(*this);
  }
};

// Everything behind the question; its name is at byte 12 of the message.
inline std::string dns_records(const std::vector<DnsRecord>& records) {
  std::string bytes;
  for (const DnsRecord& each : records) {
    bytes += each.owner.empty() ? std::string("\xc0\x0c") : dns_name(each.owner);
    bytes += dns_number(each.type, 2) + dns_number(ns_c_in, 2) + dns_number(each.ttl, 4);
    bytes += dns_number(static_cast<std::uint32_t>(each.data.size()), 2) + each.data;
  }
  return bytes;
}

inline std::string dns_question(std::string_view name, int type) {
  return dns_name(name) + dns_number(static_cast<std::uint32_t>(type), 2) + dns_number(ns_c_in, 2);
}

inline std::string dns_message(const std::string& id, const std::string& question,
                               const std::string& behind, std::size_t records, int code,
                               bool is_truncated = false) {
  const std::uint32_t flags = 0x8180U | static_cast<unsigned>(code) | (is_truncated ? 0x200U : 0U);
  return id + dns_number(flags, 2) + dns_number(1, 2) +
         dns_number(static_cast<std::uint32_t>(records), 2) + dns_number(0, 4) + question + behind;
}

class DnsServer {
 public:
  DnsServer() {
    // The port that UDP got may be in use for TCP.
    for (int tries = 0; tries < 100 && tcp_ < 0; ++tries) open_sockets();
    EXPECT_GE(tcp_, 0) << "no port for a DNS server";
    thread_ = std::thread([this] { run(); });
  }
  DnsServer(const DnsServer&) = delete;
  DnsServer& operator=(const DnsServer&) = delete;
  ~DnsServer() {
    ::eventfd_write(stop_, 1);
    thread_.join();
    for (const Connection& each : connections_) ::close(each.socket);
    for (const int each : {udp_, tcp_, stop_}) ::close(each);
  }

  config::Address address() const { return {config::Address::Kind::ipv4, "127.0.0.1", port_}; }

  // No records: the name exists, without any of this type.
  void set(const std::string& name, int type, std::vector<DnsRecord> records) {
    set_reply(name, type, {dns_records(records), records.size(), ns_r_noerror, false});
  }
  void fail(const std::string& name, int type, int code) {
    set_reply(name, type, {{}, 0, code, false});
  }
  void keep_silent(const std::string& name, int type) { set_reply(name, type, {{}, 0, 0, true}); }
  // Whatever is behind the question, and how many records it is said to be.
  void set_raw(const std::string& name, int type, std::string behind, std::size_t records) {
    set_reply(name, type, {std::move(behind), records, ns_r_noerror, false});
  }
  void forget(const std::string& name) {
    const std::lock_guard lock(mutex_);
    std::erase_if(replies_, [&](const auto& entry) { return entry.first.first == name; });
  }

  std::size_t times_asked(const std::string& name, int type) {
    const std::lock_guard lock(mutex_);
    return asked_[{name, type}];
  }
  std::size_t times_asked_over_tcp() {
    const std::lock_guard lock(mutex_);
    return asked_over_tcp_;
  }
  bool wait_until_asked(const std::string& name, int type, std::size_t times) {
    std::unique_lock lock(mutex_);
    return changed_.wait_for(lock, std::chrono::seconds(10),
                             [&] { return asked_[{name, type}] >= times; });
  }

 private:
  struct Reply {
    std::string behind;
    std::size_t records;
    int code;
    bool is_silent;
  };
  struct Connection {
    int socket;
    std::string received;
  };
  using Key = std::pair<std::string, int>;

  void open_sockets() {
    if (udp_ >= 0) ::close(udp_);
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    auto* const plain = reinterpret_cast<sockaddr*>(&address);
    socklen_t size = sizeof address;
    udp_ = ::socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    if (::bind(udp_, plain, size) != 0 || ::getsockname(udp_, plain, &size) != 0) return;
    const int tcp = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (::bind(tcp, plain, size) == 0 && ::listen(tcp, 16) == 0) {
      tcp_ = tcp;
      port_ = ntohs(address.sin_port);
    } else {
      ::close(tcp);
    }
  }

  void set_reply(const std::string& name, int type, Reply reply) {
    const std::lock_guard lock(mutex_);
    replies_[{name, type}] = std::move(reply);
  }

  void run() {
    for (;;) {
      std::vector<pollfd> sockets{{stop_, POLLIN, 0}, {udp_, POLLIN, 0}, {tcp_, POLLIN, 0}};
      for (const Connection& each : connections_) sockets.push_back({each.socket, POLLIN, 0});
      ::poll(sockets.data(), sockets.size(), -1);
      if (sockets[0].revents != 0) return;
      if (sockets[1].revents != 0) serve_udp();
      for (std::size_t i = connections_.size(); i-- > 0;) {
        if (sockets[i + 3].revents == 0 || serve_tcp(connections_[i])) continue;
        ::close(connections_[i].socket);
        connections_.erase(connections_.begin() + static_cast<std::ptrdiff_t>(i));
      }
      if (sockets[2].revents != 0) {
        connections_.push_back({::accept4(tcp_, nullptr, nullptr, SOCK_CLOEXEC), {}});
      }
    }
  }

  void serve_udp() {
    char buffer[4096];
    sockaddr_in from{};
    socklen_t size = sizeof from;
    auto* const plain = reinterpret_cast<sockaddr*>(&from);
    const ssize_t count = ::recvfrom(udp_, buffer, sizeof buffer, 0, plain, &size);
    if (count <= 0) return;
    const std::string answer = answer_to({buffer, static_cast<std::size_t>(count)}, true);
    if (!answer.empty()) ::sendto(udp_, answer.data(), answer.size(), 0, plain, size);
  }

  bool serve_tcp(Connection& connection) {
    char buffer[4096];
    const ssize_t count = ::recv(connection.socket, buffer, sizeof buffer, 0);
    if (count <= 0) return false;
    std::string& received = connection.received;
    received.append(buffer, static_cast<std::size_t>(count));
    while (received.size() >= 2) {
      const auto first = static_cast<unsigned char>(received[0]);
      const std::size_t size = first * 256U + static_cast<unsigned char>(received[1]);
      if (received.size() < size + 2) break;
      std::string answer = answer_to(received.substr(2, size), false);
      received.erase(0, size + 2);
      if (answer.empty()) continue;
      answer.insert(0, dns_number(static_cast<std::uint32_t>(answer.size()), 2));
      ::send(connection.socket, answer.data(), answer.size(), MSG_NOSIGNAL);
    }
    return true;
  }

  std::string answer_to(const std::string& message, bool is_udp) {
    ns_msg handle;
    ns_rr asked;
    if (::ns_initparse(reinterpret_cast<const unsigned char*>(message.data()),
                       static_cast<int>(message.size()), &handle) != 0 ||
        ::ns_parserr(&handle, ns_s_qd, 0, &asked) != 0) {
      return {};
    }
    const std::string name = ns_rr_name(asked);
    const int type = ns_rr_type(asked);
    const Reply reply = note_and_find(name, type, is_udp);
    if (reply.is_silent) return {};
    const std::string id = message.substr(0, 2);
    const std::string question = dns_question(name, type);
    std::string answer = dns_message(id, question, reply.behind, reply.records, reply.code);
    if (is_udp && answer.size() > 512) answer = dns_message(id, question, {}, 0, reply.code, true);
    return answer;
  }

  Reply note_and_find(const std::string& name, int type, bool is_udp) {
    const std::lock_guard lock(mutex_);
    ++asked_[{name, type}];
    if (!is_udp) ++asked_over_tcp_;
    changed_.notify_all();
    const auto found = replies_.find({name, type});
    if (found != replies_.end()) return found->second;
    const bool exists =
        std::ranges::any_of(replies_, [&](const auto& entry) { return entry.first.first == name; });
    return {{}, 0, exists ? ns_r_noerror : ns_r_nxdomain, false};
  }

  int udp_ = -1;
  int tcp_ = -1;
  int stop_ = ::eventfd(0, EFD_CLOEXEC);
  std::uint16_t port_ = 0;
  std::vector<Connection> connections_;  // of the thread
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<Key, Reply> replies_;
  std::map<Key, std::size_t> asked_;
  std::size_t asked_over_tcp_ = 0;
  std::thread thread_;
};

}  // namespace weir::pool
