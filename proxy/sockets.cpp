#include "proxy/sockets.hpp"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sched.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <fstream>

namespace weir::proxy {
namespace {

constexpr int backlog = 4096;

std::string problem(const config::Address& address, int error) {
  std::string text = "cannot listen on " + address.text() + ": " + std::strerror(error);
  if (error == EACCES && address.port != 0 && address.port < 1024) {
    text +=
        " (ports below 1024 need the capability CAP_NET_BIND_SERVICE: "
        "`setcap cap_net_bind_service=+ep weir`, or a higher port)";
  } else if (error == EADDRINUSE) {
    text += " (another process listens there already; a running weir does that too)";
  } else if (error == EEXIST) {
    text += " (something that is no socket is there)";
  } else if (error == EADDRNOTAVAIL) {
    text += " (no interface of this machine has this address)";
  }
  return text;
}

std::unexpected<std::string> give_up(int descriptor, const config::Address& address) {
  const int error = errno;
  if (descriptor >= 0) ::close(descriptor);
  return std::unexpected(problem(address, error));
}

// Does a process hold a socket that is bound to this file? Asked with a socket of another type,
// whose connect() tells without making a connection. 0 = yes, ECONNREFUSED = nobody, else it cannot
// be told.
int ask_for_holder(const config::Address& address) {
  const int probe = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
  if (probe < 0) return errno;
  const KernelAddress kernel(address);
  const int error = ::connect(probe, kernel.data(), kernel.size()) == 0 ? 0 : errno;
  ::close(probe);
  return error == EPROTOTYPE ? 0 : error;
}

// A socket file that nobody listens on is left over from a process that was killed.
bool remove_stale_socket(const config::Address& address) {
  struct stat found{};
  if (::lstat(address.host.c_str(), &found) != 0 || !S_ISSOCK(found.st_mode)) return false;
  return ask_for_holder(address) == ECONNREFUSED && ::unlink(address.host.c_str()) == 0;
}

void set_option(int descriptor, int level, int option) {
  const int on = 1;
  ::setsockopt(descriptor, level, option, &on, sizeof on);
}

// Accepted sockets inherit these. On a unix socket they are nothing.
void for_accepted(int descriptor) {
  set_option(descriptor, SOL_SOCKET, SO_KEEPALIVE);
  set_option(descriptor, IPPROTO_TCP, TCP_NODELAY);
}

// Binds, alone, and gives it up again; false: errno.
bool can_bind(const config::Address& address, bool and_listen) {
  const KernelAddress kernel(address);
  const int probe = open_socket(kernel.family());
  if (probe < 0) return false;
  set_option(probe, SOL_SOCKET, SO_REUSEADDR);
  if (kernel.family() == AF_INET6) set_option(probe, IPPROTO_IPV6, IPV6_V6ONLY);
  const bool good =
      ::bind(probe, kernel.data(), kernel.size()) == 0 && (!and_listen || ::listen(probe, 1) == 0);
  const int error = errno;
  ::close(probe);
  errno = error;
  return good;
}

// With SO_REUSEPORT a second process of the same user would quietly share our port; so the port is
// first bound alone.
bool is_free(const config::Address& address) {
  return can_bind(address, true);
}

// 0, or the errno that a unix socket would meet. `stale`: a file is in the way that can go.
int unix_obstacle(const config::Address& address, bool& stale) {
  const std::size_t slash = address.host.rfind('/');
  const std::string folder =
      slash == std::string::npos ? "." : address.host.substr(0, std::max<std::size_t>(slash, 1));
  if (::faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) != 0) return errno;
  struct stat found{};
  if (::lstat(address.host.c_str(), &found) != 0) return errno == ENOENT ? 0 : errno;
  if (!S_ISSOCK(found.st_mode)) return EEXIST;
  stale = ask_for_holder(address) == ECONNREFUSED;
  return stale ? 0 : EADDRINUSE;
}

double cgroup_quota() {
  std::ifstream membership("/proc/self/cgroup");
  std::string line;
  double least = INFINITY;
  while (std::getline(membership, line)) {
    if (!line.starts_with("0::")) continue;
    // The limit of any ancestor counts.
    for (std::string path = line.substr(3);;) {
      std::ifstream file("/sys/fs/cgroup" + path + "/cpu.max");
      std::string quota;
      double period = 0;
      if (file >> quota >> period && quota != "max" && period > 0) {
        least = std::min(least, std::strtod(quota.c_str(), nullptr) / period);
      }
      if (path.size() <= 1) break;
      path = path.substr(0, std::max<std::size_t>(path.rfind('/'), 0));
    }
  }
  return least;
}

}  // namespace

KernelAddress::KernelAddress(const config::Address& address) {
  switch (address.kind) {
    case config::Address::Kind::ipv4: {
      auto* in = reinterpret_cast<sockaddr_in*>(&storage_);
      in->sin_family = AF_INET;
      in->sin_port = htons(address.port);
      ::inet_pton(AF_INET, address.host.c_str(), &in->sin_addr);
      size_ = sizeof(sockaddr_in);
      break;
    }
    case config::Address::Kind::ipv6: {
      auto* in6 = reinterpret_cast<sockaddr_in6*>(&storage_);
      in6->sin6_family = AF_INET6;
      in6->sin6_port = htons(address.port);
      ::inet_pton(AF_INET6, address.host.c_str(), &in6->sin6_addr);
      size_ = sizeof(sockaddr_in6);
      break;
    }
    case config::Address::Kind::unix_socket: {
      auto* un = reinterpret_cast<sockaddr_un*>(&storage_);
      un->sun_family = AF_UNIX;
      const std::size_t size = std::min(address.host.size(), sizeof(un->sun_path) - 1);
      std::memcpy(un->sun_path, address.host.data(), size);
      size_ = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + size + 1);
      break;
    }
  }
}

int open_socket(int family) {
  return ::socket(family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

void close_descriptor(int descriptor) {
  ::close(descriptor);
}

SocketAddress local_address(int descriptor) {
  sockaddr_storage address{};
  socklen_t size = sizeof address;
  auto* const pointer = reinterpret_cast<sockaddr*>(&address);
  if (::getsockname(descriptor, pointer, &size) != 0) return {};
  return SocketAddress::from(pointer);
}

int pending_error(int descriptor) {
  int error = 0;
  socklen_t size = sizeof error;
  ::getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &error, &size);
  return error;
}

std::expected<int, std::string> listen_on(const config::Address& address, bool shared,
                                          bool owner_only) {
  const KernelAddress kernel(address);
  const bool is_unix = address.kind == config::Address::Kind::unix_socket;
  if (!is_unix && !shared && !is_free(address)) return give_up(-1, address);
  const int descriptor = open_socket(kernel.family());
  if (descriptor < 0) return give_up(descriptor, address);
  if (!is_unix) {
    set_option(descriptor, SOL_SOCKET, SO_REUSEADDR);
    set_option(descriptor, SOL_SOCKET, SO_REUSEPORT);
    for_accepted(descriptor);
    if (kernel.family() == AF_INET6) set_option(descriptor, IPPROTO_IPV6, IPV6_V6ONLY);
  }
  // Before bind(): the file never exists with another mode.
  if (is_unix && owner_only) ::fchmod(descriptor, 0600);
  bool bound = ::bind(descriptor, kernel.data(), kernel.size()) == 0;
  if (!bound && is_unix && errno == EADDRINUSE) {
    bound = remove_stale_socket(address) && ::bind(descriptor, kernel.data(), kernel.size()) == 0;
    if (!bound) errno = EADDRINUSE;
  }
  if (!bound || ::listen(descriptor, backlog) != 0) return give_up(descriptor, address);
  return descriptor;
}

std::expected<std::string, std::string> may_listen_on(const config::Address& address) {
  bool stale = false;
  int error = 0;
  if (address.kind == config::Address::Kind::unix_socket) {
    error = unix_obstacle(address, stale);
  } else if (!can_bind(address, false)) {
    error = errno;
  }
  if (error != 0) return std::unexpected(problem(address, error));
  return stale ? "a socket file that nobody listens on is there, and would be replaced" : "";
}

config::Address bound_address(int descriptor, const config::Address& asked) {
  config::Address result = asked;
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(descriptor, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return result;
  if (storage.ss_family == AF_INET) {
    result.port = ntohs(reinterpret_cast<const sockaddr_in*>(&storage)->sin_port);
  } else if (storage.ss_family == AF_INET6) {
    result.port = ntohs(reinterpret_cast<const sockaddr_in6*>(&storage)->sin6_port);
  }
  return result;
}

std::optional<config::Address> listening_address(int descriptor) {
  using Kind = config::Address::Kind;
  sockaddr_storage storage{};
  socklen_t size = sizeof storage;
  if (::getsockname(descriptor, reinterpret_cast<sockaddr*>(&storage), &size) != 0) return {};
  std::array<char, INET6_ADDRSTRLEN> text{};
  if (storage.ss_family == AF_INET) {
    const auto* in = reinterpret_cast<const sockaddr_in*>(&storage);
    ::inet_ntop(AF_INET, &in->sin_addr, text.data(), text.size());
    return config::Address{Kind::ipv4, text.data(), ntohs(in->sin_port)};
  }
  if (storage.ss_family == AF_INET6) {
    const auto* in6 = reinterpret_cast<const sockaddr_in6*>(&storage);
    ::inet_ntop(AF_INET6, &in6->sin6_addr, text.data(), text.size());
    return config::Address{Kind::ipv6, text.data(), ntohs(in6->sin6_port)};
  }
  const auto* un = reinterpret_cast<const sockaddr_un*>(&storage);
  const std::size_t start = offsetof(sockaddr_un, sun_path);
  // Abstract ones begin with a zero, and one without a name has no path at all.
  if (storage.ss_family != AF_UNIX || size <= start || un->sun_path[0] == 0) return {};
  const std::size_t length = ::strnlen(un->sun_path, size - start);
  return config::Address{Kind::unix_socket, std::string(un->sun_path, length), 0};
}

void prepare_to_accept(int descriptor) {
  ::fcntl(descriptor, F_SETFL, ::fcntl(descriptor, F_GETFL) | O_NONBLOCK);
  for_accepted(descriptor);
}

std::uint64_t raise_descriptor_limit() {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) != 0) return 1024;
  const rlimit raised{.rlim_cur = limit.rlim_max, .rlim_max = limit.rlim_max};
  if (::setrlimit(RLIMIT_NOFILE, &raised) == 0) return raised.rlim_cur;
  return limit.rlim_cur;
}

unsigned usable_cpus() {
  cpu_set_t set;
  CPU_ZERO(&set);
  unsigned count = 1;
  if (::sched_getaffinity(0, sizeof set, &set) == 0) {
    count = static_cast<unsigned>(std::max(1, CPU_COUNT(&set)));
  }
  const double quota = std::ceil(cgroup_quota());
  return quota < count ? std::max(1U, static_cast<unsigned>(quota)) : count;
}

}  // namespace weir::proxy
