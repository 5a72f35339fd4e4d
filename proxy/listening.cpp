#include "proxy/listening.hpp"

#include <unistd.h>

#include <algorithm>

#include "config/overlap.hpp"
#include "proxy/sockets.hpp"

namespace weir::proxy {

ListeningSocket::~ListeningSocket() {
  close_descriptor(descriptor_);
}

void SocketFile::remove() {
  if (!std::exchange(handed_over_, true)) ::unlink(path_.c_str());
}

std::vector<ListeningSocketPointer> OpenBinding::of_worker(std::size_t worker,
                                                           std::size_t workers) const {
  std::vector<ListeningSocketPointer> its;
  if (is_shared(workers)) its.push_back(sockets[worker % sockets.size()]);
  for (std::size_t i = worker; !is_shared(workers) && i < sockets.size(); i += workers) {
    its.push_back(sockets[i]);
  }
  return its;
}

OpenBinding hold(const BindingPointer& binding) {
  OpenBinding open{binding, false, {}};
  for (const auto& socket : binding->sockets) open.sockets.push_back(socket.lock());
  return open;
}

std::expected<OpenBinding, std::string> open_binding(const config::Address& address,
                                                     std::size_t workers,
                                                     const std::vector<BindingPointer>& ours) {
  const auto binding = std::make_shared<Binding>();
  binding->asked = binding->bound = address;
  OpenBinding open{binding, true, {}};
  bool shared = std::ranges::any_of(ours, [&](const BindingPointer& other) {
    return !other->is_unix() && config::overlap(other->bound, address);
  });
  for (std::size_t i = 0; i < (binding->is_unix() ? 1 : workers); ++i) {
    const auto descriptor = listen_on(binding->bound, shared);
    if (!descriptor) return std::unexpected(descriptor.error());
    open.sockets.push_back(std::make_shared<ListeningSocket>(*descriptor));
    binding->sockets.push_back(open.sockets.back());
    if (i == 0) binding->bound = bound_address(*descriptor, address);
    if (binding->is_unix()) binding->file = std::make_shared<SocketFile>(address.host);
    shared = true;
  }
  return open;
}

}  // namespace weir::proxy
