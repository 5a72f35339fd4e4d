#include "proxy/log.hpp"

#include <spdlog/formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <array>
#include <cstdlib>
#include <memory>
#include <string>

#include "proxy/access_log_format.hpp"

namespace weir::proxy {
namespace {

// One JSON object a line.
class JsonFormatter final : public spdlog::formatter {
 public:
  void format(const spdlog::details::log_msg& message, spdlog::memory_buf_t& to) override {
    std::string line = R"({"time":")" + timestamp(message.time) + R"(","level":)";
    const auto level = spdlog::level::to_string_view(message.level);
    append_json_text(line, {level.data(), level.size()});
    line += R"(,"message":)";
    append_json_text(line, {message.payload.data(), message.payload.size()});
    line += "}\n";
    to.append(line.data(), line.data() + line.size());
  }
  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<JsonFormatter>();
  }
};

}  // namespace

void start_log(const config::Log& log) {
  spdlog::drop("weir");
  spdlog::set_default_logger(spdlog::stderr_color_mt("weir"));
  if (std::getenv("NO_COLOR") != nullptr) {
    auto* sink = static_cast<spdlog::sinks::stderr_color_sink_mt*>(
        spdlog::default_logger()->sinks().front().get());
    sink->set_color_mode(spdlog::color_mode::never);
  }
  follow_log(log);
}

void follow_log(const config::Log& log) {
  static constexpr std::array levels{spdlog::level::trace, spdlog::level::debug,
                                     spdlog::level::info, spdlog::level::warn, spdlog::level::err};
  spdlog::set_level(levels[static_cast<std::size_t>(log.level)]);
  if (log.format == config::LogFormat::json) {
    spdlog::set_formatter(std::make_unique<JsonFormatter>());
  } else {
    spdlog::set_pattern("%Y-%m-%dT%H:%M:%S.%e%z %^%l%$ %v");
  }
}

}  // namespace weir::proxy
