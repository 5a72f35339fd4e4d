#include "proxy/access_log.hpp"

#include <fcntl.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>
#include <stdexcept>

#include "proxy/access_log_format.hpp"

namespace weir::proxy {
namespace {

constexpr std::size_t ring_slots = 4096;  // a power of two
constexpr std::size_t batch_bytes = 64 * 1024;

int open_log(const std::string& path) {
  if (path == "stdout") return ::dup(STDOUT_FILENO);
  if (path == "stderr") return ::dup(STDERR_FILENO);
  return ::open(path.c_str(), O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0640);
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

AccessLog::AccessLog(const config::AccessLog& config, std::size_t workers)
    : config_(config), enabled_(config.path != "off") {
  if (!enabled_) return;
  descriptor_ = open_log(config_.path);
  if (descriptor_ < 0) {
    throw std::runtime_error("cannot open the access log " + config_.path + ": " +
                             std::strerror(errno));
  }
  for (std::size_t i = 0; i < workers; ++i) rings_.push_back(std::make_unique<Ring>());
  writer_ = std::thread([this] { write_all(); });
}

AccessLog::~AccessLog() {
  if (!enabled_) return;
  stopping_ = true;
  lines_waiting_ = 1;
  lines_waiting_.notify_one();
  writer_.join();
  ::close(descriptor_);
}

void AccessLog::write(std::size_t worker, ConnectionFacts&& line) noexcept {
  if (!enabled_) return;
  if (!rings_[worker]->push(std::move(line))) {
    dropped_.fetch_add(1, std::memory_order_relaxed);
    return;
  }
  // Only the first line after the writer went to sleep costs a system call.
  if (lines_waiting_.exchange(1) == 0) lines_waiting_.notify_one();
}

void AccessLog::reopen() {
  if (!enabled_) return;
  reopen_wanted_ = true;
  lines_waiting_ = 1;
  lines_waiting_.notify_one();
}

void AccessLog::write_all() {
  std::string batch;
  for (;;) {
    lines_waiting_.wait(0);
    lines_waiting_ = 0;
    const bool last = stopping_.load();
    if (reopen_wanted_.exchange(false)) open_again();
    while (drain_rings(batch)) {
      put(batch);
      batch.clear();
    }
    if (last) return;
  }
}

// At most one batch of lines. False when there was none.
bool AccessLog::drain_rings(std::string& batch) {
  ConnectionFacts line;
  for (const auto& ring : rings_) {
    while (batch.size() < batch_bytes && ring->pop(line)) {
      append_line(batch, line, config_.format);
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
    const ssize_t written = ::write(descriptor_, text.data() + done, text.size() - done);
    if (written > 0) {
      done += static_cast<std::size_t>(written);
    } else if (written < 0 && errno != EINTR) {
      break;
    }
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

void AccessLog::open_again() {
  const int fresh = open_log(config_.path);
  if (fresh < 0) {
    spdlog::error("the access log {} cannot be opened again: {}; the old one stays", config_.path,
                  std::strerror(errno));
    return;
  }
  ::close(descriptor_);
  descriptor_ = fresh;
  unfinished_.clear();
}

}  // namespace weir::proxy
