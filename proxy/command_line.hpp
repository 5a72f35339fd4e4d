#pragma once
// What the operator typed: a command with its options, or an answer to print. Pure.

#include <cstdint>
#include <expected>
#include <optional>
#include <string>

#include "config/config.hpp"
#include "proxy/explain.hpp"

namespace weir::proxy {

struct CommandLine {
  enum class Command {
    run,
    check,
    show_config,
    explain,
    plan,
    reload,
    schema,
    demo,
    version,
    help
  };
  Command command = Command::help;
  std::string config_path = "/etc/weir/weir.yaml";
  std::string check_format = "text";  // or "json"
  bool show_defaults = false;
  std::string plan_path;                 // the configuration that a reload would take
  std::optional<config::Address> admin;  // of the running weir; else that of `config_path`
  std::string plan_format = "text";      // or "json"
  bool exit_code = false;                // says by its exit status whether anything would change
  ExplainQuestion question;
  bool as_reference = false;  // schema: as a page for people
  std::uint16_t demo_tls_port = 8443;
  std::uint16_t demo_plain_port = 8080;
  std::uint16_t demo_admin_port = 9180;
};

// A text to print instead of running, and the exit status: 0 for help, 2 for a mistake.
struct Answer {
  std::string text;
  int status = 0;
};

std::expected<CommandLine, Answer> parse_command_line(int argc, const char* const* argv);

// Prints it (mistakes go to stderr) and returns its status.
int answer(const Answer& answer);

}  // namespace weir::proxy
