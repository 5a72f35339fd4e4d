#include "pool/dns_channel.hpp"

// Newer versions of c-ares have other functions beside these; these are in all of them.
#define CARES_NO_DEPRECATED
#include <ares.h>
#include <arpa/inet.h>
#include <arpa/nameser.h>
#include <sys/time.h>

#include <algorithm>
#include <array>
#include <stdexcept>
#include <utility>

namespace weir::pool {
namespace {

// c-ares waits this long for a server's answer, then asks the next one, and in the second round
// twice as long: at most 6 s a server.
constexpr int timeout_milliseconds = 2000;
constexpr int rounds = 2;

void need(int status, const char* what) {
  if (status == ARES_SUCCESS) return;
  throw std::runtime_error(std::string(what) + ": " + ares_strerror(status));
}

void start_library() {
  static const int status = ares_library_init(ARES_LIB_INIT_ALL);
  need(status, "cannot start c-ares");
}

int type_number(DnsType type) {
  switch (type) {
    case DnsType::a:
      return ns_t_a;
    case DnsType::aaaa:
      return ns_t_aaaa;
    case DnsType::srv:
      return ns_t_srv;
  }
  return ns_t_invalid;
}

DnsFault fault_of(int status) {
  switch (status) {
    case ARES_ENOTFOUND:
      return DnsFault::no_such_name;
    case ARES_ENODATA:
      return DnsFault::no_records;
    case ARES_ETIMEOUT:
      return DnsFault::no_answer;
    case ARES_EBADNAME:
    case ARES_EBADQUERY:
    case ARES_EBADSTR:
      return DnsFault::bad_name;
    case ARES_EBADRESP:
      return DnsFault::garbled;
    case ARES_ENOMEM:
      return DnsFault::out_of_memory;
    default:
      // Among them ARES_ECONNREFUSED, which c-ares 1.18 also says where all servers answer
      // SERVFAIL.
      return DnsFault::unusable;
  }
}

}  // namespace

struct DnsChannel::OnItsWay {
  DnsChannel& channel;
  std::shared_ptr<DnsQuestion> question;
};

DnsChannel::DnsChannel(const std::vector<config::Address>& servers,
                       const std::string& resolv_conf) {
  start_library();
  std::string path = resolv_conf;
  ares_options options{};
  options.timeout = timeout_milliseconds;
  options.tries = rounds;
  options.resolvconf_path = path.data();
  int wanted = ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_RESOLVCONF | ARES_OPT_FLAGS;
#ifdef ARES_OPT_QUERY_CACHE
  // Newer versions remember answers unless told not to. When to ask again is decided here.
  options.qcache_max_ttl = 0;
  wanted |= ARES_OPT_QUERY_CACHE;
#endif
  need(ares_init_options(&channel_, &options, wanted), "cannot set up a resolver");
  try {
    if (!servers.empty()) {
      std::string list;
      for (const config::Address& each : servers) {
        if (!list.empty()) list += ',';
        list += each.text();
      }
      need(ares_set_servers_ports_csv(channel_, list.c_str()),
           ("cannot use the resolvers " + list).c_str());
    }
    note_servers();
  } catch (...) {
    ares_destroy(channel_);
    throw;
  }
}

DnsChannel::~DnsChannel() {
  ares_destroy(channel_);
}

void DnsChannel::note_servers() {
  ares_addr_port_node* all = nullptr;
  need(ares_get_servers_ports(channel_, &all), "cannot list the resolvers");
  for (const ares_addr_port_node* each = all; each != nullptr; each = each->next) {
    std::array<char, INET6_ADDRSTRLEN> host{};
    ::inet_ntop(each->family, &each->addr, host.data(), host.size());
    const int port = each->udp_port == 0 ? NS_DEFAULTPORT : each->udp_port;
    const auto kind =
        each->family == AF_INET6 ? config::Address::Kind::ipv6 : config::Address::Kind::ipv4;
    if (!servers_.empty()) servers_ += ' ';
    servers_ += config::Address{kind, host.data(), static_cast<std::uint16_t>(port)}.text();
  }
  ares_free_data(all);
}

std::shared_ptr<const DnsQuestion> DnsChannel::ask(const std::string& name, DnsType type) {
  auto question = std::make_shared<DnsQuestion>();
  auto on_its_way = std::make_unique<OnItsWay>(*this, question);
  ++on_their_way_;
  // Calls answered() exactly once, now or later.
  ares_query(channel_, name.c_str(), ns_c_in, type_number(type), &DnsChannel::answered,
             on_its_way.release());
  return question;
}

// Nothing is asked from here: c-ares 1.18 may be about to close the socket it would use.
void DnsChannel::answered(void* argument, int status, int, unsigned char* bytes,
                          int size) noexcept {
  const std::unique_ptr<OnItsWay> it(static_cast<OnItsWay*>(argument));
  --it->channel.on_their_way_;
  DnsQuestion& question = *it->question;
  question.is_answered = status != ARES_EDESTRUCTION && status != ARES_ECANCELLED;
  if (status != ARES_SUCCESS) {
    question.answer = std::unexpected(fault_of(status));
    return;
  }
  try {
    question.answer = std::vector<unsigned char>(bytes, bytes + std::max(size, 0));
  } catch (const std::bad_alloc&) {
    question.answer = std::unexpected(DnsFault::out_of_memory);
  }
}

void DnsChannel::add_sockets(std::vector<pollfd>& sockets) const {
  std::array<ares_socket_t, ARES_GETSOCK_MAXNUM> all{};
  const auto bits = static_cast<unsigned>(ares_getsock(channel_, all.data(), ARES_GETSOCK_MAXNUM));
  for (unsigned i = 0; i < ARES_GETSOCK_MAXNUM; ++i) {
    short events = 0;
    if (ARES_GETSOCK_READABLE(bits, i)) events |= POLLIN;
    if (ARES_GETSOCK_WRITABLE(bits, i)) events |= POLLOUT;
    if (events != 0) sockets.push_back({all[i], events, 0});
  }
}

std::chrono::milliseconds DnsChannel::timeout(std::chrono::milliseconds most) const {
  timeval buffer{};
  const timeval* const next = ares_timeout(channel_, nullptr, &buffer);
  if (next == nullptr) return most;
  // c-ares rounds down: without the 1 the last millisecond would be spent turning.
  const std::chrono::milliseconds wait(next->tv_sec * 1000 + next->tv_usec / 1000 + 1);
  return std::min(most, wait);
}

void DnsChannel::process(std::span<const pollfd> sockets) {
  for (const pollfd& each : sockets) {
    if (each.revents == 0) continue;
    const bool writes = (each.revents & POLLOUT) != 0;
    const bool reads = (each.revents & ~POLLOUT) != 0;  // errors are read, too
    ares_process_fd(channel_, reads ? each.fd : ARES_SOCKET_BAD,
                    writes ? each.fd : ARES_SOCKET_BAD);
  }
  ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
}

DnsChannels::DnsChannels(std::string resolv_conf) : resolv_conf_(std::move(resolv_conf)) {}

DnsChannel& DnsChannels::to(const std::vector<config::Address>& servers) {
  if (servers.empty()) replace_system();
  const auto found = std::ranges::find_if(
      entries_, [&](const Entry& each) { return !each.is_replaced && each.servers == servers; });
  if (found != entries_.end()) return *found->channel;
  entries_.push_back({servers, std::make_unique<DnsChannel>(servers, resolv_conf_.path()), false});
  return *entries_.back().channel;
}

void DnsChannels::replace_system() {
  system_is_old_ |= resolv_conf_.has_changed();
  if (!system_is_old_) return;
  const auto old = std::ranges::find_if(
      entries_, [](const Entry& each) { return !each.is_replaced && each.servers.empty(); });
  if (old != entries_.end()) {
    Entry made;
    try {
      made.channel = std::make_unique<DnsChannel>(made.servers, resolv_conf_.path());
    } catch (const std::runtime_error&) {
      return;  // the old one goes on; the next look-up tries again
    }
    old->is_replaced = true;
    entries_.push_back(std::move(made));
  }
  system_is_old_ = false;
}

void DnsChannels::add_sockets(std::vector<pollfd>& sockets) const {
  for (const Entry& each : entries_) each.channel->add_sockets(sockets);
}

std::chrono::milliseconds DnsChannels::timeout(std::chrono::milliseconds most) const {
  for (const Entry& each : entries_) most = each.channel->timeout(most);
  return most;
}

void DnsChannels::process(std::span<const pollfd> sockets) {
  for (const Entry& each : entries_) each.channel->process(sockets);
  std::erase_if(entries_,
                [](const Entry& each) { return each.is_replaced && each.channel->is_idle(); });
}

}  // namespace weir::pool
