#pragma once
// The sockets that listeners listen on: one for each worker at each address, so that the kernel
// spreads the clients; a unix socket cannot be bound twice and is shared. Sockets that the process
// was given may be more or fewer. A socket lives as long as somebody holds it, so that it can go
// from one listener to another, or to none, without a client in its queue being lost. On the main
// thread; the sockets themselves go to the workers.

#include <expected>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "config/config.hpp"

namespace weir::proxy {

class ListeningSocket {
 public:
  explicit ListeningSocket(int descriptor) : descriptor_(descriptor) {}
  ListeningSocket(const ListeningSocket&) = delete;
  ListeningSocket& operator=(const ListeningSocket&) = delete;
  ~ListeningSocket();
  int descriptor() const { return descriptor_; }

 private:
  int descriptor_;
};
using ListeningSocketPointer = std::shared_ptr<ListeningSocket>;

// The file of a unix socket: removed with this, or before.
class SocketFile {
 public:
  explicit SocketFile(std::string path) : path_(std::move(path)) {}
  SocketFile(const SocketFile&) = delete;
  SocketFile& operator=(const SocketFile&) = delete;
  ~SocketFile() { remove(); }
  // Nobody is to come any more. From then on the path may be another socket's.
  void remove();
  // Another process listens on it, and removes it: it stays.
  void hand_over() { handed_over_ = true; }
  void take_over() { handed_over_ = false; }

 private:
  std::string path_;
  bool handed_over_ = false;  // or removed
};

// An address that is listened on. It does not keep the sockets open: the workers do.
struct Binding {
  config::Address asked;  // as configured
  config::Address bound;  // with the port that the kernel chose
  std::vector<std::weak_ptr<ListeningSocket>> sockets;
  std::shared_ptr<SocketFile> file;  // of a unix socket, where it is ours to remove

  bool is_unix() const { return asked.kind == config::Address::Kind::unix_socket; }
};
using BindingPointer = std::shared_ptr<const Binding>;

// The same, and its sockets are held.
struct OpenBinding {
  BindingPointer binding;
  bool is_new = false;  // has just been opened
  std::vector<ListeningSocketPointer> sockets;

  // Every socket has a queue of its own, so each is somebody's.
  std::vector<ListeningSocketPointer> of_worker(std::size_t worker, std::size_t workers) const;
  bool is_shared(std::size_t workers) const { return sockets.size() < workers; }
};
OpenBinding hold(const BindingPointer& binding);

// Opens the sockets. The error says what went wrong and what to do. `ours` are the addresses that
// this process listens on already: they are no reason to refuse one that overlaps.
std::expected<OpenBinding, std::string> open_binding(const config::Address& address,
                                                     std::size_t workers,
                                                     const std::vector<BindingPointer>& ours);

}  // namespace weir::proxy
