#pragma once
// One line for each connection. Every worker has a ring of its own, which it fills without a lock
// and without waiting; one writer thread formats and writes. What does not fit the ring, or cannot
// be written, is dropped and counted: a slow or full disk never holds up a session.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include "config/config.hpp"
#include "proxy/connection_facts.hpp"

namespace weir::proxy {

class AccessLog {
 public:
  // Throws std::runtime_error when the file cannot be opened.
  AccessLog(const config::AccessLog& config, std::size_t workers);
  AccessLog(const AccessLog&) = delete;
  AccessLog& operator=(const AccessLog&) = delete;
  // Writes what is queued, as far as somebody reads it: a reader that takes nothing holds up the
  // program's end by a second at most.
  ~AccessLog();

  // By one thread for each worker. Never blocks.
  void write(std::size_t worker, ConnectionFacts&& line) noexcept;

  // Any thread: the file is opened anew by its name, soon. Where that fails the old one stays.
  void reopen();
  std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  class Ring;

  void write_all();
  bool drain_rings(std::string& batch);
  void put(const std::string& batch);
  std::size_t write_some(std::string_view text);
  bool wait_until_writable();
  void open_again();

  config::AccessLog config_;
  bool enabled_;
  int descriptor_ = -1;
  bool is_file_ = false;                       // a regular one: writing never waits for a reader
  std::string unfinished_;                     // the rest of a line that was written in part
  std::chrono::milliseconds patience_at_end_;  // the writer's
  std::vector<std::unique_ptr<Ring>> rings_;
  std::atomic<std::uint64_t> dropped_{0};
  std::atomic<bool> reopen_wanted_{false};
  std::atomic<bool> stopping_{false};
  // The writer sleeps on this word; whoever adds the first line wakes it.
  std::atomic<std::uint32_t> lines_waiting_{0};
  std::thread writer_;
};

}  // namespace weir::proxy
