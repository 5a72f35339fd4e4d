#pragma once
// The coroutines of one worker: spawn() starts one, and what escapes from it is logged and counted
// as a bug of ours, never lost. Confined to the worker's thread.

#include <cstdint>
#include <exception>
#include <string_view>

#include "metrics/counters.hpp"
#include "proxy/task.hpp"

namespace weir::proxy {

class TaskGroup {
 public:
  explicit TaskGroup(asio::io_context& io) : io_(io) {}

  // `name` says what the coroutine is for in the log line of an escaped exception; static text.
  void spawn(std::string_view name, Task<> task);

  std::uint64_t running() const { return running_; }
  const metrics::Counter& escaped() const { return escaped_; }

 private:
  void ended(std::string_view name, const std::exception_ptr& error);

  asio::io_context& io_;
  std::uint64_t running_ = 0;
  metrics::Counter escaped_;
};

}  // namespace weir::proxy
