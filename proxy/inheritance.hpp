#pragma once
// What the process was given at its start: sockets that listen already, by systemd or by the
// process whose place it takes (both say so as sd_listen_fds(3) describes), and from the latter a
// pipe that waits for the word that it serves. Until enter() nothing is touched that the
// predecessor goes on with when this start fails. On the main thread.

#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "proxy/listening.hpp"

namespace weir::proxy {

// Names the descriptor of that pipe in the environment.
inline constexpr const char* ready_variable = "WEIR_READY_FD";

// What a socket that is handed over is called (LISTEN_FDNAMES). A unix socket whose file is not
// ours to remove is called as systemd would.
std::string handed_name(const std::string& listener, const Binding& binding);
std::string handed_admin_name(const Binding& binding);

class Inheritance {
 public:
  Inheritance() = default;
  // Out of the environment, which does not name it any more then. Before there is another thread.
  static Inheritance take();

  // Every address, as it is bound.
  std::vector<BindingPointer> bindings() const;
  // Those that bear the name of a listener (FileDescriptorName=), as if configured with port 0.
  std::vector<BindingPointer> named(std::string_view listener) const;
  // What the admin address goes on with; without a binding when there is nothing.
  OpenBinding admin(const config::Address& asked) const;

  // This process serves: what nobody has taken is closed, files of unix sockets are ours, and the
  // predecessor, if there is one, is told.
  void enter();

 private:
  struct Entry {
    OpenBinding open;
    std::vector<std::string> names;
    bool bears(std::string_view name) const;
  };

  void add(int descriptor, const std::string& name);
  static BindingPointer as_any_port(const Entry& entry);

  std::vector<Entry> entries_;  // one for each address
  // Left to the kernel to close when the start fails: then the process is gone as well, and its
  // exit status there to be read.
  int ready_ = -1;
};

}  // namespace weir::proxy
