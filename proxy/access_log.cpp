#include "proxy/access_log.hpp"

#include <fcntl.h>
#include <poll.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <climits>
#include <cstring>
#include <stdexcept>

#include "proxy/access_log_format.hpp"

namespace weir::proxy {
namespace {

constexpr std::size_t ring_slots = 4096;  // a power of two
constexpr std::size_t batch_bytes = 64 * 1024;
constexpr std::chrono::milliseconds longest_wait{100};
constexpr std::chrono::milliseconds longest_wait_at_end{1000};

int open_log(const std::string& path) {
  if (path == "stdout") return ::dup(STDOUT_FILENO);
  if (path == "stderr") return ::dup(STDERR_FILENO);
  return ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
}

bool is_regular_file(int descriptor) {
  struct stat found{};
  return ::fstat(descriptor, &found) == 0 && S_ISREG(found.st_mode);
}

bool is_same_file(int one, int other) {
  struct stat first{};
  struct stat second{};
  return ::fstat(one, &first) == 0 && ::fstat(other, &second) == 0 &&
         first.st_dev == second.st_dev && first.st_ino == second.st_ino;
}

std::uint64_t lines_in(std::string_view text) {
  return static_cast<std::uint64_t>(std::ranges::count(text, '\n'));
}

}  // namespace

// One producer, one consumer. The slots are made once; a line moves in and out.
class AccessLog::Ring {
 public:
  Ring() : slots_(ring_slots) {}

  bool push(ConnectionFacts&& line) {
    const std::size_t tail = tail_.load(std::memory_order_relaxed);
    if (tail - head_.load(std::memory_order_acquire) == ring_slots) return false;
    slots_[tail % ring_slots] = std::move(line);
    tail_.store(tail + 1, std::memory_order_release);
    return true;
  }

  bool pop(ConnectionFacts& line) {
    const std::size_t head = head_.load(std::memory_order_relaxed);
    if (head == tail_.load(std::memory_order_acquire)) return false;
    line = std::move(slots_[head % ring_slots]);
    head_.store(head + 1, std::memory_order_release);
    return true;
  }

 private:
  std::vector<ConnectionFacts> slots_;
  alignas(64) std::atomic<std::size_t> head_{0};
  alignas(64) std::atomic<std::size_t> tail_{0};
};

AccessLog::Output::Output(const config::AccessLog& config) : config_(config) {
  if (config.path == "off") return;
  descriptor_ = open_log(config.path);
  if (descriptor_ < 0) {
    throw std::runtime_error("cannot open the access log " + config.path + ": " +
                             std::strerror(errno));
  }
  is_file_ = is_regular_file(descriptor_);
}

AccessLog::Output& AccessLog::Output::operator=(Output&& other) noexcept {
  std::swap(config_, other.config_);
  std::swap(descriptor_, other.descriptor_);
  std::swap(is_file_, other.is_file_);
  return *this;
}

AccessLog::Output::~Output() {
  if (descriptor_ >= 0) ::close(descriptor_);
}

AccessLog::AccessLog(Output output, std::size_t workers)
    : workers_(workers), output_(std::move(output)), patience_at_end_(longest_wait_at_end) {
  if (output_.descriptor_ >= 0) begin();
}

void AccessLog::begin() {
  for (std::size_t i = 0; i < workers_; ++i) rings_.push_back(std::make_unique<Ring>());
  writer_ = std::thread([this] { write_all(); });
  enabled_ = true;
}

AccessLog::~AccessLog() {
  if (!writer_.joinable()) return;
  stopping_ = true;
  wake_writer();
  writer_.join();
}

void AccessLog::write(std::size_t worker, ConnectionFacts&& line) noexcept {
  if (!enabled_.load(std::memory_order_acquire)) return;
  if (!rings_[worker]->push(std::move(line))) {
    dropped_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  // Only the first line after the writer went to sleep costs a system call.
  if (lines_waiting_.exchange(1) == 0) lines_waiting_.notify_one();
}

void AccessLog::wake_writer() {
  lines_waiting_ = 1;
  lines_waiting_.notify_one();
}

void AccessLog::reopen() {
  if (!writer_.joinable()) return;
  reopen_wanted_ = true;
  wake_writer();
}

void AccessLog::follow(Output output) {
  const bool is_on = output.descriptor_ >= 0;
  if (!writer_.joinable()) {
    output_ = std::move(output);
    if (is_on) begin();
    return;
  }
  if (!is_on) enabled_ = false;
  {
    const std::scoped_lock lock(mutex_);
    next_ = std::move(output);
  }
  wake_writer();
  if (is_on) enabled_ = true;
}

void AccessLog::write_all() {
  std::string batch;
  for (;;) {
    lines_waiting_.wait(0);
    // Reads what the last worker wrote here, so that its line is seen: a plain store would not.
    lines_waiting_.exchange(0);
    const bool last = stopping_.load();
    do {
      change_output();
      if (reopen_wanted_.exchange(false)) open_again();
      put(batch);
      batch.clear();
    } while (drain_rings(batch));
    if (last) return;
  }
}

// At most one batch of lines. False when there was none.
bool AccessLog::drain_rings(std::string& batch) {
  ConnectionFacts line;
  for (const auto& ring : rings_) {
    while (batch.size() < batch_bytes && ring->pop(line)) {
      append_line(batch, line, output_.config_.format);
    }
  }
  return !batch.empty();
}

// A line is written whole or, when the disk fills up in its middle, finished before the next one.
void AccessLog::put(const std::string& batch) {
  const std::string text = unfinished_ + batch;
  const bool had_rest = !unfinished_.empty();
  unfinished_.clear();
  std::size_t done = 0;
  while (done < text.size()) {
    const std::size_t written = write_some(std::string_view(text).substr(done));
    if (written == 0) break;
    done += written;
  }
  if (done == text.size()) return;
  const bool whole_lines = done == 0 ? !had_rest : text[done - 1] == '\n';
  std::size_t lost_from = done;
  if (!whole_lines) {
    lost_from = std::min(text.find('\n', done), text.size() - 1) + 1;
    unfinished_ = text.substr(done, lost_from - done);
  }
  dropped_.fetch_add(lines_in(std::string_view(text).substr(lost_from)), std::memory_order_relaxed);
}

// How much was written; 0 when it failed.
std::size_t AccessLog::write_some(std::string_view text) {
  // What poll() calls writable takes this much without blocking; a larger write could wait for a
  // reader for ever, and the program's end with it.
  const std::size_t size =
      output_.is_file_ ? text.size() : std::min<std::size_t>(text.size(), PIPE_BUF);
  if (!output_.is_file_ && !wait_until_writable()) return 0;
  ssize_t written = 0;
  do {
    written = ::write(output_.descriptor_, text.data(), size);
  } while (written < 0 && errno == EINTR);
  return written > 0 ? static_cast<std::size_t>(written) : 0;
}

// For as long as the program runs; once it ends, for what is left of the writer's patience.
bool AccessLog::wait_until_writable() {
  pollfd output{.fd = output_.descriptor_, .events = POLLOUT, .revents = 0};
  for (;;) {
    const bool ending = stopping_.load();
    const auto wait = ending ? std::min(longest_wait, patience_at_end_) : longest_wait;
    const int ready = ::poll(&output, 1, static_cast<int>(wait.count()));
    if (ready > 0) return true;
    if (ready < 0 && errno != EINTR) return false;
    if (ready < 0 || !ending) continue;
    patience_at_end_ -= wait;
    if (patience_at_end_.count() == 0) return false;
  }
}

void AccessLog::open_again() {
  if (output_.descriptor_ < 0) return;
  const int fresh = open_log(output_.config_.path);
  if (fresh < 0) {
    spdlog::error("the access log {} cannot be opened again: {}; the old one stays",
                  output_.config_.path, std::strerror(errno));
    return;
  }
  // In the same file (or pipe) the next line would follow the half one.
  if (!unfinished_.empty() && !is_same_file(fresh, output_.descriptor_)) {
    unfinished_.clear();
    dropped_.fetch_add(1, std::memory_order_relaxed);
  }
  ::close(output_.descriptor_);
  output_.descriptor_ = fresh;
  output_.is_file_ = is_regular_file(fresh);
}

void AccessLog::change_output() {
  const std::scoped_lock lock(mutex_);
  if (!next_) return;
  output_ = std::move(*next_);
  next_.reset();
  if (!unfinished_.empty()) dropped_.fetch_add(1, std::memory_order_relaxed);
  unfinished_.clear();
}

}  // namespace weir::proxy
