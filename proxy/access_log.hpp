#pragma once
// One line for each connection. Every worker has a ring of its own, which it fills without a lock
// and without waiting; one writer thread formats and writes. What does not fit the ring, or cannot
// be written, is dropped and counted: a slow or full disk never holds up a session.

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include "config/config.hpp"
#include "proxy/connection_facts.hpp"

namespace weir::proxy {

class AccessLog {
 public:
  // A file that lines can be written to; none where the log is off.
  class Output {
   public:
    // Throws std::runtime_error when it cannot be opened.
    explicit Output(const config::AccessLog& config);
    Output(Output&& other) noexcept
        : config_(std::move(other.config_)),
          descriptor_(std::exchange(other.descriptor_, -1)),
          is_file_(other.is_file_) {}
    Output& operator=(Output&& other) noexcept;
    ~Output();

   private:
    friend class AccessLog;
    config::AccessLog config_;
    int descriptor_ = -1;
    bool is_file_ = false;  // a regular one: writing never waits for a reader
  };

  AccessLog(Output output, std::size_t workers);
  AccessLog(const config::AccessLog& config, std::size_t workers)
      : AccessLog(Output(config), workers) {}
  AccessLog(const AccessLog&) = delete;
  AccessLog& operator=(const AccessLog&) = delete;
  // Writes what is queued, as far as somebody reads it: a reader that takes nothing holds up the
  // program's end by a second at most.
  ~AccessLog();

  // By one thread for each worker. Never blocks.
  void write(std::size_t worker, ConnectionFacts&& line) noexcept;

  // Any thread: the file is opened anew by its name, soon. Where that fails the old one stays.
  void reopen();
  // Lines go there from now on, those that are queued as well. By one thread.
  void follow(Output output);
  std::uint64_t dropped() const { return dropped_.load(std::memory_order_relaxed); }

 private:
  class Ring;

  void write_all();
  bool drain_rings(std::string& batch);
  void put(const std::string& batch);
  std::size_t write_some(std::string_view text);
  bool wait_until_writable();
  void open_again();
  void change_output();

  void begin();
  void wake_writer();

  std::size_t workers_;
  std::atomic<bool> enabled_{false};
  Output output_;                              // the writer's
  std::string unfinished_;                     // the rest of a line that was written in part
  std::chrono::milliseconds patience_at_end_;  // the writer's
  std::vector<std::unique_ptr<Ring>> rings_;   // made before the first line
  std::mutex mutex_;
  std::optional<Output> next_;  // that the writer is to go on with
  std::atomic<std::uint64_t> dropped_{0};
  std::atomic<bool> reopen_wanted_{false};
  std::atomic<bool> stopping_{false};
  // The writer sleeps on this word; whoever adds the first line wakes it.
  std::atomic<std::uint32_t> lines_waiting_{0};
  std::thread writer_;
};

}  // namespace weir::proxy
