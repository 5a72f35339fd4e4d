// From one process to another: the program is started again with the listening sockets, and once
// that process serves, this one lets go of them and drains. Both hold the same sockets, so a client
// waits in a queue that never closes, and whoever of the two is first takes it.

#include <spdlog/spdlog.h>

#include <csignal>
#include <utility>

#include "proxy/server.hpp"
#include "proxy/service_notify.hpp"

namespace weir::proxy {

void Server::replace() {
  if (phase_.load() != Phase::serving) {
    spdlog::warn("SIGUSR2: not replaced, weir does not serve any more");
    return;
  }
  if (!invocation_) {
    spdlog::warn("SIGUSR2: not replaced, this program cannot be started again");
    return;
  }
  if (successor_.is_pending()) {
    spdlog::warn("SIGUSR2: not replaced, a process that is to take this one's place is starting");
    return;
  }
  const InForcePointer in_force = this->in_force();
  std::vector<GivenDescriptor> given;
  std::vector<OpenBinding> held;
  for (std::size_t i = 0; i < in_force->listeners.size(); ++i) {
    for (const BindingPointer& binding : in_force->listeners[i].bindings) {
      held.push_back(hold(binding));
      const std::string name = handed_name(in_force->config->listeners[i].name, *binding);
      for (const auto& socket : held.back().sockets) given.push_back({socket->descriptor(), name});
    }
  }
  if (admin_) given.push_back({admin_->descriptor(), handed_admin_name(admin_->binding())});
  const auto ended = [this](pid_t process, const std::string& why) {
    successor_ended(process, why);
  };
  const auto process = successor_.start(*invocation_, given, ended);
  if (!process) {
    spdlog::error("SIGUSR2: not replaced, this process goes on: {}", process.error());
    return;
  }
  spdlog::info("SIGUSR2: {} is started as process {}", invocation_->path, *process);
}

void Server::successor_ended(pid_t process, const std::string& why) {
  const bool reload_put_off = std::exchange(reload_put_off_, false);
  if (!why.empty()) {
    spdlog::error("not replaced by process {}: {}", process, why);
    if (reload_put_off) reload();
    return;
  }
  spdlog::info("process {} serves: draining", process);
  if (reload_put_off) ::kill(process, SIGHUP);
  notify_service("MAINPID=" + std::to_string(process));
  for (const InForce::Listener& listener : in_force()->listeners) {
    for (const BindingPointer& binding : listener.bindings) {
      if (binding->file) binding->file->hand_over();
    }
  }
  if (admin_) admin_->hand_over();
  // No delay: nobody has to be told to go elsewhere.
  phase_ = Phase::draining;
  stop_accepting();
}

}  // namespace weir::proxy
