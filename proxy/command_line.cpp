#include "proxy/command_line.hpp"

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cstdio>
#include <string_view>
#include <utility>
#include <vector>

#include "config/address.hpp"
#include "config/diagnostic.hpp"

namespace weir::proxy {
namespace {

constexpr int wrong = 2;

// Commands of the language that do not work yet: refused by name.
constexpr std::array<std::string_view, 5> later{"drain", "status", "top", "connections", "kill"};

// CLI11 reports an unknown command as an extra argument; a near one is worth naming.
Answer unknown(const std::string& word) {
  for (const std::string_view name : later) {
    if (word == name) return {"weir " + word + ": not supported yet\n", wrong};
  }
  const std::vector<std::string_view> commands{"run",     "check",  "show-config", "explain",
                                               "plan",    "reload", "schema",      "demo",
                                               "version", "help"};
  const std::string near = config::did_you_mean(word, commands);
  return {"weir: unknown command `" + word + "`" + (near.empty() ? "" : ", " + near) +
              "\nRun `weir help` for the commands.\n",
          wrong};
}

bool is_command(const CLI::App& app, const std::string& word) {
  const auto commands = app.get_subcommands([](const CLI::App*) { return true; });
  return std::ranges::any_of(commands, [&](const CLI::App* c) { return c->get_name() == word; });
}

// Where a command finds the running weir.
void add_running(CLI::App& command, CommandLine& line) {
  auto* running =
      command
          .add_option("-c,--config", line.config_path, "the running weir's, for its admin address")
          ->capture_default_str();
  const auto read_address = [&line](const std::string& text) {
    auto address = config::parse_address(text);
    if (!address) throw CLI::ValidationError("--admin", address.error());
    line.admin = std::move(*address);
  };
  command
      .add_option_function<std::string>("--admin", read_address,
                                        "the running weir's admin address itself")
      ->excludes(running);
}

const CLI::App* add_plan(CLI::App& app, CommandLine& line) {
  auto* plan =
      app.add_subcommand("plan", "say what a reload would change, and whom it would touch");
  plan->add_option("FILE", line.plan_path, "the configuration to go over to")->required();
  add_running(*plan, line);
  plan->add_flag("--exit-code", line.exit_code,
                 "exit with 0 when nothing changes, 1 when something does, 2 on any failure");
  plan->add_option("--format", line.plan_format, "text, or json for programs")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  return plan;
}

}  // namespace

std::expected<CommandLine, Answer> parse_command_line(int argc, const char* const* argv) {
  CommandLine line;
  CLI::App app("Weir: a TCP connection pool and reverse proxy", "weir");
  app.set_help_flag("-h,--help", "print this help");
  bool version_flag = false;
  app.add_flag("-V,--version", version_flag, "print the version");
  auto* run = app.add_subcommand("run", "serve by a configuration");
  auto* check = app.add_subcommand("check", "say whether a configuration is good");
  bool probe = false;
  check->add_option("--format", line.check_format, "text, or json for programs")
      ->check(CLI::IsMember({"text", "json"}))
      ->capture_default_str();
  check->add_flag("--probe", probe, "also dial the endpoints (not supported yet)");
  auto* explain = app.add_subcommand("explain", "say what a connection would get, and why");
  explain->add_option("--listener", line.question.listener, "where it comes in")->required();
  explain->add_option("--server-name", line.question.server_name, "the name it asks for");
  explain->add_option("--alpn", line.question.alpn, "the protocols it offers, such as h2,http/1.1")
      ->delimiter(',')
      ->expected(1)
      ->take_all();
  explain->add_option("--client", line.question.client, "the address it comes from");
  auto* show = app.add_subcommand("show-config", "print the configuration that is in force");
  show->add_flag("--defaults", line.show_defaults, "every key, and where its value comes from");
  for (CLI::App* command : {run, check, show, explain}) {
    command->add_option("-c,--config", line.config_path, "the configuration")
        ->capture_default_str();
  }
  const CLI::App* plan = add_plan(app, line);
  auto* reload = app.add_subcommand("reload", "have the running weir reload, and say how it went");
  add_running(*reload, line);
  auto* schema = app.add_subcommand("schema", "print the JSON Schema of the configuration");
  schema->add_flag("--reference", line.as_reference, "print the reference page instead");
  auto* demo = app.add_subcommand("demo", "serve a built-in example, without any file");
  demo->add_option("--tls-port", line.demo_tls_port, "port with TLS")->capture_default_str();
  demo->add_option("--plain-port", line.demo_plain_port, "port without")->capture_default_str();
  demo->add_option("--admin-port", line.demo_admin_port, "admin port")->capture_default_str();
  auto* version = app.add_subcommand("version", "print the version");
  auto* help = app.add_subcommand("help", "print this help");
  app.require_subcommand(0, 1);
  const std::string overview = app.help();

  if (argc > 1 && argv[1][0] != '-' && !is_command(app, argv[1])) {
    return std::unexpected(unknown(argv[1]));
  }
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp&) {
    return std::unexpected(Answer{app.help(), 0});
  } catch (const CLI::ParseError& error) {
    return std::unexpected(Answer{
        std::string("weir: ") + error.what() + "\nRun `weir help` for the commands.\n", wrong});
  }
  if (probe) return std::unexpected(Answer{"weir check --probe: not supported yet\n", wrong});
  if (run->parsed()) line.command = CommandLine::Command::run;
  if (check->parsed()) line.command = CommandLine::Command::check;
  if (explain->parsed()) line.command = CommandLine::Command::explain;
  if (schema->parsed()) line.command = CommandLine::Command::schema;
  if (show->parsed()) line.command = CommandLine::Command::show_config;
  if (plan->parsed()) line.command = CommandLine::Command::plan;
  if (reload->parsed()) line.command = CommandLine::Command::reload;
  if (demo->parsed()) line.command = CommandLine::Command::demo;
  if (version->parsed() || version_flag) line.command = CommandLine::Command::version;
  if (help->parsed() || line.command == CommandLine::Command::help) {
    return std::unexpected(Answer{overview, 0});
  }
  return line;
}

int answer(const Answer& answer) {
  std::fputs(answer.text.c_str(), answer.status == 0 ? stdout : stderr);
  return answer.status;
}

}  // namespace weir::proxy
