#include "proxy/reload_request.hpp"

#include <fmt/format.h>
#include <signal.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <boost/json/parse.hpp>
#include <cerrno>
#include <chrono>
#include <cstdint>
#include <cstring>
#include <exception>
#include <fstream>
#include <string_view>

#include "proxy/admin_client.hpp"

namespace weir::proxy {
namespace {

namespace asio = boost::asio;
namespace json = boost::json;
using namespace std::chrono_literals;

constexpr auto patience = 60s;
constexpr auto pause = 10ms;
constexpr auto silence = 2s;  // after which nobody is expected to answer any more

struct State {
  pid_t process = 0;
  std::uint64_t reloads = 0;  // good or not
  ReloadResult last;
};

std::expected<State, std::string> look(const config::Address& admin) {
  const auto body = read_admin(admin, "/status");
  if (!body) return std::unexpected(body.error());
  try {
    const json::value status = json::parse(*body);
    const json::value& reload = status.at("reload");
    State state;
    state.process = status.at("pid").to_number<pid_t>();
    state.reloads = reload.at("ok").to_number<std::uint64_t>() +
                    reload.at("refused").to_number<std::uint64_t>();
    state.last = {reload.at("successful").as_bool(),
                  std::string(std::string_view(reload.at("reason").as_string()))};
    return state;
  } catch (const std::exception& error) {
    return std::unexpected(
        fmt::format("{} is not weir's admin address: {}", admin.text(), error.what()));
  }
}

std::string program_of(const std::string& process) {
  std::ifstream file("/proc/" + process + "/comm");
  std::string name;
  std::getline(file, name);
  return name;
}

// What answers at an address may run on another machine, or in another namespace, where the number
// means something else.
std::expected<void, std::string> send_signal(pid_t process) {
  if (process <= 0 || program_of(std::to_string(process)) != program_of("self")) {
    return std::unexpected(
        fmt::format("process {} is not weir here: `weir reload` has to run where "
                    "weir runs",
                    process));
  }
  if (::kill(process, SIGHUP) == 0) return {};
  return std::unexpected(
      fmt::format("cannot signal process {}: {}", process, std::strerror(errno)));
}

}  // namespace

std::expected<ReloadResult, std::string> request_reload(const config::Address& admin) {
  const auto before = look(admin);
  if (!before) return std::unexpected(before.error());
  if (const auto sent = send_signal(before->process); !sent) return std::unexpected(sent.error());
  const auto began = std::chrono::steady_clock::now();
  auto answered = began;
  asio::io_context io;
  for (auto now = began; now < began + patience; now = std::chrono::steady_clock::now()) {
    const auto state = look(admin);
    if (state && state->process == before->process && state->reloads > before->reloads) {
      return state->last;
    }
    if (state) answered = now;
    if (now > answered + silence) {
      return std::unexpected(
          fmt::format("{} does not answer any more: weir has moved its admin "
                      "address, or ended; its log says which",
                      admin.text()));
    }
    asio::steady_timer(io, pause).wait();
  }
  return std::unexpected(fmt::format("no word of the reload within {} s", patience.count()));
}

}  // namespace weir::proxy
