#include "proxy/task_group.hpp"

#include <spdlog/spdlog.h>

#include <boost/asio/co_spawn.hpp>

namespace weir::proxy {

void TaskGroup::spawn(std::string_view name, Task<> task) {
  ++running_;
  asio::co_spawn(io_, std::move(task),
                 [this, name](const std::exception_ptr& error) { ended(name, error); });
}

void TaskGroup::ended(std::string_view name, const std::exception_ptr& error) {
  --running_;
  if (!error) return;
  escaped_.add();
  try {
    std::rethrow_exception(error);
  } catch (const std::exception& e) {
    spdlog::error("{}: an exception escaped: {}", name, e.what());
  } catch (...) {
    spdlog::error("{}: an unknown exception escaped", name);
  }
}

}  // namespace weir::proxy
