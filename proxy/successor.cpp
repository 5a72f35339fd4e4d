#include "proxy/successor.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <chrono>
#include <csignal>
#include <cstring>
#include <utility>

#include "proxy/inheritance.hpp"

namespace weir::proxy {
namespace {

using namespace std::chrono_literals;

// For reading a large configuration with its certificates, on a busy machine.
constexpr auto patience = 30s;

}  // namespace

std::expected<pid_t, std::string> Successor::start(const Invocation& invocation,
                                                   const std::vector<GivenDescriptor>& sockets,
                                                   Ended ended) {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_CLOEXEC | O_NONBLOCK) != 0) {
    return std::unexpected(std::string("a pipe for its word: ") + std::strerror(errno));
  }
  const auto process = launch(invocation, sockets, ends[1], ready_variable);
  ::close(ends[1]);
  if (!process) {
    ::close(ends[0]);
    return process;
  }
  process_ = *process;
  ended_ = std::move(ended);
  pipe_.assign(ends[0]);
  wait();
  return process;
}

// Either handler may have been queued when the other one, or give_up(), made an end of it; the
// process is what they are about.
void Successor::wait() {
  pipe_.async_wait(asio::posix::descriptor_base::wait_read,
                   [this, process = process_](const boost::system::error_code& error) {
                     if (error || process != process_) return;
                     const bool good = has_word();
                     finish(good ? "" : reap());
                   });
  timer_.expires_after(patience);
  timer_.async_wait([this, process = process_](const boost::system::error_code& error) {
    if (error || process != process_) return;
    if (has_word()) return finish("");
    reap();
    finish(fmt::format("it has not said within {} s that it serves, and was killed",
                       patience.count()));
  });
}

void Successor::give_up() {
  if (!is_pending()) return;
  if (has_word()) return finish("");
  reap();
  finish("it was given up");
}

bool Successor::has_word() {
  char word = 0;
  return ::read(pipe_.native_handle(), &word, 1) == 1;
}

void Successor::finish(std::string why) {
  boost::system::error_code ignored;
  pipe_.close(ignored);
  timer_.cancel();
  // Last: it may start another one.
  const Ended ended = std::exchange(ended_, {});
  ended(std::exchange(process_, 0), why);
}

// A signal does not change how a process ends that is on its way out.
std::string Successor::reap() const {
  ::kill(process_, SIGKILL);
  int status = 0;
  while (::waitpid(process_, &status, 0) < 0 && errno == EINTR) {
  }
  if (WIFSIGNALED(status)) return fmt::format("it ended by signal {}", WTERMSIG(status));
  return fmt::format("it ended with exit status {}", WEXITSTATUS(status));
}

}  // namespace weir::proxy
