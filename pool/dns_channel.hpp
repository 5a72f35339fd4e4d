#pragma once
// Asks resolvers: the only place that knows c-ares. A channel stands for one list of servers; its
// questions go on side by side, each for a bounded time, over all the servers, and over TCP where
// an answer does not fit. Nothing here waits: whoever owns the channels polls their sockets. One
// thread at a time.

#include <poll.h>

#include <chrono>
#include <cstddef>
#include <expected>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "pool/dns_answer.hpp"
#include "pool/dns_system.hpp"

struct ares_channeldata;

namespace weir::pool {

// Its answer is there once `is_answered`, which may be so as soon as it has been asked.
struct DnsQuestion {
  bool is_answered = false;
  std::expected<std::vector<unsigned char>, DnsFault> answer;
};

class DnsChannel {
 public:
  // Empty = the servers of the file. Throws std::runtime_error.
  DnsChannel(const std::vector<config::Address>& servers, const std::string& resolv_conf);
  DnsChannel(const DnsChannel&) = delete;
  DnsChannel& operator=(const DnsChannel&) = delete;
  // At once; questions on their way remain unanswered.
  ~DnsChannel();

  // As they are written in a configuration, separated by blanks.
  const std::string& servers() const { return servers_; }
  std::shared_ptr<const DnsQuestion> ask(const std::string& name, DnsType type);
  bool is_idle() const { return on_their_way_ == 0; }

  void add_sockets(std::vector<pollfd>& sockets) const;
  // Until timeout() has passed or one of the sockets is ready, there is nothing to do.
  std::chrono::milliseconds timeout(std::chrono::milliseconds most) const;
  void process(std::span<const pollfd> sockets);

 private:
  struct OnItsWay;
  static void answered(void* argument, int status, int, unsigned char* bytes, int size) noexcept;
  void note_servers();

  ares_channeldata* channel_ = nullptr;
  std::string servers_;
  std::size_t on_their_way_ = 0;
};

// The channels of all lists of servers. That of the system's servers is replaced when its file
// changes; what is on its way there is still waited for.
class DnsChannels {
 public:
  explicit DnsChannels(std::string resolv_conf);

  // Empty = the system's servers. Throws std::runtime_error if there has never been a channel to
  // them.
  DnsChannel& to(const std::vector<config::Address>& servers);

  // See DnsChannel. A channel stays where it is between two calls of process().
  void add_sockets(std::vector<pollfd>& sockets) const;
  std::chrono::milliseconds timeout(std::chrono::milliseconds most) const;
  void process(std::span<const pollfd> sockets);

 private:
  struct Entry {
    std::vector<config::Address> servers;
    std::unique_ptr<DnsChannel> channel;
    bool is_replaced = false;
  };

  void replace_system();

  FileWatch resolv_conf_;
  std::vector<Entry> entries_;
  bool system_is_old_ = false;  // its file has changed
};

}  // namespace weir::pool
