#pragma once
// The few socket calls that the proxy makes by itself: addresses for the kernel, listening sockets,
// non-blocking connections. Plain functions; errors are errno.

#include <sys/socket.h>

#include <cstdint>
#include <expected>
#include <optional>
#include <string>

#include "config/config.hpp"
#include "proxy/socket_address.hpp"
#include "proxy/stream.hpp"

namespace weir::proxy {

// A configured address in the kernel's form.
class KernelAddress {
 public:
  explicit KernelAddress(const config::Address& address);
  int family() const { return storage_.ss_family; }
  Stream::Transport transport() const {
    return family() == AF_UNIX ? Stream::Transport::unix_socket : Stream::Transport::tcp;
  }
  const sockaddr* data() const { return reinterpret_cast<const sockaddr*>(&storage_); }
  socklen_t size() const { return size_; }

 private:
  sockaddr_storage storage_{};
  socklen_t size_ = 0;
};

// A non-blocking stream socket, or -1 (errno).
int open_socket(int family);
void close_descriptor(int descriptor);
// This end's address of a connected socket.
SocketAddress local_address(int descriptor);
// SO_ERROR: what a connection attempt ended with.
int pending_error(int descriptor);

// A listening socket on `address`; the error says what went wrong and what to do. `shared`: several
// sockets of this process listen on the port (SO_REUSEPORT), one for each worker. `owner_only`: a
// unix socket gets mode 0600, otherwise what the umask leaves.
std::expected<int, std::string> listen_on(const config::Address& address, bool shared,
                                          bool owner_only = false);
// Could listen_on() succeed now? Changes nothing and disturbs nobody: who listens there already
// gets no connection, and loses none. A note where there is one ("" else), or what is in the way.
std::expected<std::string, std::string> may_listen_on(const config::Address& address);
// The address with the port that the kernel chose for port 0.
config::Address bound_address(int descriptor, const config::Address& asked);
// What a socket of another's making is bound to; none where no configured address can say it.
std::optional<config::Address> listening_address(int descriptor);
// Makes such a socket like one of listen_on(), as far as it can be changed now.
void prepare_to_accept(int descriptor);

// Raises the soft limit of descriptors to the hard one; returns what is in force.
std::uint64_t raise_descriptor_limit();
// CPUs that this process may use: affinity mask and cgroup quota, at least 1.
unsigned usable_cpus();

}  // namespace weir::proxy
