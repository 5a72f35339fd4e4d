#include "proxy/directory_events.hpp"

#include <fmt/format.h>
#include <sys/inotify.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstring>
#include <system_error>
#include <utility>

namespace weir::proxy {
namespace {

constexpr std::uint32_t what_matters = IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO |
                                       IN_MODIFY | IN_CLOSE_WRITE | IN_ATTRIB | IN_DELETE_SELF |
                                       IN_MOVE_SELF | IN_ONLYDIR | IN_EXCL_UNLINK;
// So many buffers are read in one go; the rest when it is announced again.
constexpr int most_reads = 16;

std::string last_error() {
  return std::generic_category().message(errno);
}

}  // namespace

DirectoryEvents::DirectoryEvents(boost::asio::io_context& io) : descriptor_(io) {}

bool DirectoryEvents::open() {
  if (descriptor_.is_open()) return true;
  const int descriptor = ::inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
  if (descriptor < 0) {
    fault_ = "inotify: " + last_error();
    return false;
  }
  boost::system::error_code error;
  descriptor_.assign(descriptor, error);
  if (!error) return true;
  ::close(descriptor);
  fault_ = error.message();
  return false;
}

std::set<std::string> DirectoryEvents::watch(const std::set<std::string>& directories) {
  std::set<std::string> fresh;
  if (!open()) return fresh;
  fault_.clear();
  std::map<std::string, int> numbers;
  std::map<int, std::set<std::string>> watched;
  for (const std::string& directory : directories) {
    if (numbers.size() >= most_directories) {
      fault_ = fmt::format("more than {} directories", most_directories);
      break;
    }
    const int number =
        ::inotify_add_watch(descriptor_.native_handle(), directory.c_str(), what_matters);
    if (number >= 0) {
      const auto before = numbers_.find(directory);
      if (before == numbers_.end() || before->second != number) fresh.insert(directory);
      numbers.emplace(directory, number);
      watched[number].insert(directory);
    } else if (errno != ENOENT && errno != ENOTDIR) {
      fault_ = fmt::format("{}: {}", directory,
                           errno == ENOSPC ? "the limit of inotify watches "
                                             "is reached"
                                           : last_error());
    }
  }
  for (const auto& [number, paths] : watched_) {
    if (!watched.contains(number)) ::inotify_rm_watch(descriptor_.native_handle(), number);
  }
  numbers_ = std::move(numbers);
  watched_ = std::move(watched);
  return fresh;
}

DirectoryEvents::Events DirectoryEvents::take() {
  Events events;
  if (!descriptor_.is_open()) return events;
  std::array<char, 65536> buffer{};
  for (int i = 0; i < most_reads; ++i) {
    const ssize_t size = ::read(descriptor_.native_handle(), buffer.data(), buffer.size());
    if (size < 0 && errno == EINTR) continue;
    if (size <= 0) break;
    const char* at = buffer.data();
    const char* const end = at + size;
    while (end - at >= static_cast<std::ptrdiff_t>(sizeof(inotify_event))) {
      inotify_event event{};
      std::memcpy(&event, at, sizeof(event));
      at += sizeof(event);
      const std::string name(at, ::strnlen(at, event.len));
      at += event.len;
      note(event.wd, name, event.mask, events);
    }
  }
  return events;
}

void DirectoryEvents::note(int number, const std::string& name, unsigned what, Events& events) {
  if ((what & IN_Q_OVERFLOW) != 0) events.are_lost = true;
  const auto paths = watched_.find(number);
  if (paths == watched_.end()) return;
  for (const std::string& directory : paths->second) events.steps.push_back({directory, name});
  if ((what & IN_IGNORED) == 0) return;
  for (const std::string& directory : paths->second) numbers_.erase(directory);
  watched_.erase(paths);
}

void DirectoryEvents::wait(std::function<void(const boost::system::error_code&)> ready) {
  if (!descriptor_.is_open()) return;
  descriptor_.async_wait(boost::asio::posix::descriptor_base::wait_read, std::move(ready));
}

void DirectoryEvents::close() {
  boost::system::error_code ignored;
  descriptor_.close(ignored);
  numbers_.clear();
  watched_.clear();
  fault_.clear();
}

}  // namespace weir::proxy
