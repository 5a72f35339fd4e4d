#pragma once
// Tells the service manager what this process does, where there is one that wants to know
// (NOTIFY_SOCKET): sd_notify(3), without its library. Best effort, and never waits long.

#include <string>

namespace weir::proxy {

// Lines such as READY=1.
void notify_service(const std::string& state);
// What goes before a reload, with the time that systemd wants beside it; READY=1 goes after.
void notify_reloading();

}  // namespace weir::proxy
