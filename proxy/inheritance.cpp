#include "proxy/inheritance.hpp"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <cstdlib>
#include <optional>
#include <utility>

#include "proxy/sockets.hpp"

namespace weir::proxy {
namespace {

constexpr int first_descriptor = 3;  // SD_LISTEN_FDS_START
constexpr std::string_view of_weir = "weir.";
constexpr std::string_view of_listener = "weir.listener.";
constexpr std::string_view of_admin = "weir.admin";
constexpr std::string_view admin_name = "admin";

// The value of a variable, which is gone afterwards.
std::optional<std::string> take_variable(const char* name) {
  const char* const value = std::getenv(name);
  if (value == nullptr) return std::nullopt;
  std::string copy = value;
  ::unsetenv(name);
  return copy;
}

std::optional<int> number(const std::optional<std::string>& text) {
  if (!text) return std::nullopt;
  int value = 0;
  const char* const end = text->data() + text->size();
  const auto [stop, error] = std::from_chars(text->data(), end, value);
  if (error != std::errc() || stop != end || value < 0) return std::nullopt;
  return value;
}

std::vector<std::string> parted(const std::string& text) {
  std::vector<std::string> parts(1);
  for (const char character : text) {
    if (character == ':') {
      parts.emplace_back();
    } else {
      parts.back() += character;
    }
  }
  return parts;
}

int option(int descriptor, int name) {
  int value = 0;
  socklen_t size = sizeof value;
  return ::getsockopt(descriptor, SOL_SOCKET, name, &value, &size) == 0 ? value : -1;
}

bool listens_for_streams(int descriptor) {
  return option(descriptor, SO_TYPE) == SOCK_STREAM && option(descriptor, SO_ACCEPTCONN) == 1;
}

bool is_ours(const Binding& binding) {
  return !binding.is_unix() || binding.file != nullptr;
}

}  // namespace

std::string handed_name(const std::string& listener, const Binding& binding) {
  return is_ours(binding) ? std::string(of_listener) + listener : listener;
}

std::string handed_admin_name(const Binding& binding) {
  return std::string(is_ours(binding) ? of_admin : admin_name);
}

bool Inheritance::Entry::bears(std::string_view name) const {
  return std::ranges::find(names, name) != names.end();
}

Inheritance Inheritance::take() {
  const auto process = number(take_variable("LISTEN_PID"));
  const auto count = number(take_variable("LISTEN_FDS"));
  const auto names = parted(take_variable("LISTEN_FDNAMES").value_or(""));
  const auto ready = number(take_variable(ready_variable));
  take_variable("LISTEN_PIDFDID");
  Inheritance inheritance;
  if (process != ::getpid() || !count) return inheritance;
  for (int i = 0; i < *count; ++i) {
    const int descriptor = first_descriptor + i;
    if (::fcntl(descriptor, F_SETFD, FD_CLOEXEC) != 0) {
      spdlog::warn("LISTEN_FDS={}: descriptor {} is not there", *count, descriptor);
      break;
    }
    const auto place = static_cast<std::size_t>(i);
    inheritance.add(descriptor, place < names.size() ? names[place] : "");
  }
  if (ready && ::fcntl(*ready, F_SETFD, FD_CLOEXEC) == 0) inheritance.ready_ = *ready;
  return inheritance;
}

void Inheritance::add(int descriptor, const std::string& name) {
  const auto address = listening_address(descriptor);
  if (!address || !listens_for_streams(descriptor)) {
    spdlog::warn("descriptor {} ({}) of LISTEN_FDS is no stream socket that listens: closed",
                 descriptor, name);
    ::close(descriptor);
    return;
  }
  prepare_to_accept(descriptor);
  auto found = std::ranges::find_if(
      entries_, [&](const Entry& entry) { return entry.open.binding->bound == *address; });
  if (found == entries_.end()) {
    const auto binding = std::make_shared<Binding>();
    binding->asked = binding->bound = *address;
    if (binding->is_unix() && name.starts_with(of_weir)) {
      binding->file = std::make_shared<SocketFile>(address->host);
      binding->file->hand_over();  // it is the predecessor's until enter()
    }
    entries_.push_back({{binding, false, {}}, {}});
    found = std::prev(entries_.end());
  }
  found->names.push_back(name);
  found->open.sockets.push_back(std::make_shared<ListeningSocket>(descriptor));
  auto binding = std::make_shared<Binding>(*found->open.binding);
  binding->sockets.push_back(found->open.sockets.back());
  found->open.binding = std::move(binding);
}

std::vector<BindingPointer> Inheritance::bindings() const {
  std::vector<BindingPointer> all;
  for (const Entry& entry : entries_) all.push_back(entry.open.binding);
  return all;
}

BindingPointer Inheritance::as_any_port(const Entry& entry) {
  auto binding = std::make_shared<Binding>(*entry.open.binding);
  binding->asked.port = 0;
  return binding;
}

std::vector<BindingPointer> Inheritance::named(std::string_view listener) const {
  const std::string name = std::string(of_listener) + std::string(listener);
  std::vector<BindingPointer> its;
  for (const Entry& entry : entries_) {
    if (entry.bears(name) || entry.bears(listener)) its.push_back(as_any_port(entry));
  }
  return its;
}

OpenBinding Inheritance::admin(const config::Address& asked) const {
  for (const Entry& entry : entries_) {
    OpenBinding open{entry.open.binding, false, {entry.open.sockets.front()}};
    if (open.binding->bound == asked) return open;
    if (!entry.bears(of_admin) && !entry.bears(admin_name)) continue;
    open.binding = as_any_port(entry);
    if (open.binding->asked == asked) return open;
  }
  return {};
}

void Inheritance::enter() {
  for (const Entry& entry : std::exchange(entries_, {})) {
    // Also of an address that is not wanted any more: then it is removed here.
    if (entry.open.binding->file) entry.open.binding->file->take_over();
    const bool is_held = std::ranges::any_of(
        entry.open.sockets, [](const auto& socket) { return socket.use_count() > 1; });
    if (is_held) continue;
    spdlog::warn("{} was handed over ({}), and nothing is configured to listen on it: closed",
                 entry.open.binding->bound.text(), entry.names.front());
  }
  if (ready_ < 0) return;
  static constexpr char word = 'r';
  // A predecessor that is gone does not read it (SIGPIPE is ignored).
  if (::write(ready_, &word, 1) != 1) spdlog::warn("the process before this one is gone");
  ::close(std::exchange(ready_, -1));
}

}  // namespace weir::proxy
