#include "proxy/programs.hpp"

#include <fmt/format.h>
#include <spdlog/spdlog.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "config/change.hpp"
#include "config/diagnostic.hpp"
#include "config/json_schema.hpp"
#include "config/reader.hpp"
#include "config/reference.hpp"
#include "proxy/demo.hpp"
#include "proxy/explain.hpp"
#include "proxy/loading.hpp"
#include "proxy/log.hpp"
#include "proxy/name_check.hpp"
#include "proxy/plan.hpp"
#include "proxy/probe.hpp"
#include "proxy/problem_list.hpp"
#include "proxy/reload_request.hpp"
#include "proxy/running.hpp"
#include "proxy/server.hpp"
#include "proxy/version.hpp"

namespace weir::proxy {
namespace {

using namespace std::chrono_literals;

constexpr int good = 0;
constexpr int failed = 1;
constexpr int wrong = 2;

bool colour_wanted() {
  return ::isatty(STDERR_FILENO) == 1 && std::getenv("NO_COLOR") == nullptr;
}

void print_problems(const std::vector<config::Problem>& problems) {
  std::fputs(config::render(problems, colour_wanted()).c_str(), stderr);
}

int run(const std::string& path) {
  Inheritance inheritance = Inheritance::take();
  Loaded loaded = load(path);
  print_problems(loaded.problems);
  if (loaded.config == nullptr) return wrong;
  start_log(loaded.config->log);
  const auto load_again = [path](const TlsStore& before) { return load(path, before); };
  return std::make_unique<Server>(std::move(loaded), load_again, std::move(inheritance),
                                  Invocation::current())
      ->run();
}

void add(std::vector<config::Problem>& problems, std::vector<config::Problem> more) {
  add_source_lines(more);
  problems.insert(problems.end(), more.begin(), more.end());
}

// All problems are in `loaded` then. None: the configuration is wrong.
std::optional<std::vector<ProbeResult>> try_out(Loaded& loaded, bool with_probes) {
  if (loaded.config == nullptr) return std::nullopt;
  const auto names = look_up_names(*loaded.config, with_probes ? 5s : 2s);
  std::vector<ProbeResult> probes;
  if (with_probes) {
    probes = probe(*loaded.config, loaded.tls, names);
    add(loaded.problems, problems_of(probes));
  } else {
    add(loaded.problems, names_not_found(names));
  }
  return probes;
}

int check(const CommandLine& command) {
  Loaded loaded = load(command.config_path);
  const auto probes = try_out(loaded, command.probe);
  const bool all_good = probes && std::ranges::all_of(*probes, is_good);
  const int status = !probes ? wrong : all_good ? good : failed;
  if (command.check_format == "json") {
    fmt::print("{}", problems_as_json(probes.has_value(), loaded.problems,
                                      probes && command.probe ? &*probes : nullptr));
    return status;
  }
  print_problems(loaded.problems);
  if (!probes) return status;
  fmt::print("{}: good ({} listener{}, {} upstream{})\n", command.config_path,
             loaded.config->listeners.size(), loaded.config->listeners.size() == 1 ? "" : "s",
             loaded.config->upstreams.size(), loaded.config->upstreams.size() == 1 ? "" : "s");
  if (command.probe) fmt::print("{}", probes_as_text(*probes));
  return status;
}

int show_config(const CommandLine& command) {
  const config::ShowResult shown = config::show_file(command.config_path, command.show_defaults);
  print_problems(shown.problems);
  if (!shown.text) return wrong;
  fmt::print("{}", *shown.text);
  return good;
}

int explain(const CommandLine& command) {
  const Loaded loaded = load(command.config_path);
  print_problems(loaded.problems);
  if (loaded.config == nullptr) return wrong;
  const auto explanation = proxy::explain(*loaded.config, loaded.tls, command.question);
  if (!explanation) {
    fmt::print(stderr, "weir: {}\n", explanation.error());
    return wrong;
  }
  fmt::print("{}", explanation->text);
  return explanation->has_upstream ? good : failed;
}

// Where the running weir is asked; or what is wrong, printed.
std::optional<config::Address> admin_of(const CommandLine& command) {
  if (command.admin) return command.admin;
  const config::LoadResult read = config::load_file(command.config_path);
  if (read.config && read.config->admin.bind) return read.config->admin.bind;
  if (read.config) {
    fmt::print(stderr, "weir: the admin address is off in {}\n", command.config_path);
  } else {
    print_problems(read.problems);
    fmt::print(stderr, "weir: the running weir is found by {}, or by --admin\n",
               command.config_path);
  }
  return std::nullopt;
}

int plan(const CommandLine& command) {
  const Loaded loaded = load(command.plan_path);
  print_problems(loaded.problems);
  if (loaded.config == nullptr) return wrong;
  const auto admin = admin_of(command);
  if (!admin) return wrong;
  const auto running = look_at_running(*admin);
  if (!running) {
    fmt::print(stderr, "weir: {}\n", running.error());
    return command.exit_code ? wrong : failed;
  }
  // Read again, as the running one has been: then paths are from the root in both.
  const auto wanted = config::load_checked(loaded.config->wording.yaml, command.plan_path).config;
  const Plan plan = make_plan(config::changes(running->config, wanted.value()), running->live);
  fmt::print("{}", command.plan_format == "json" ? plan_as_json(plan) : plan_as_text(plan));
  return command.exit_code && !plan.lines.empty() ? failed : good;
}

int reload(const CommandLine& command) {
  const auto admin = admin_of(command);
  if (!admin) return wrong;
  const auto result = request_reload(*admin);
  if (!result) {
    fmt::print(stderr, "weir: {}\n{}", result.error(),
               command.admin ? ""
                             : "Where it is the admin address that changes, name the present "
                               "one by --admin.\n");
    return failed;
  }
  if (result->is_good) {
    fmt::print("reloaded\n");
    return good;
  }
  fmt::print(stderr, "weir: not reloaded, the configuration in force stays\n{}\n", result->reason);
  return failed;
}

config::Address loopback(std::uint16_t port) {
  return {config::Address::Kind::ipv4, "127.0.0.1", port};
}

config::Config demo_config(const CommandLine& command, const DemoEndpoint& one,
                           const DemoEndpoint& two) {
  config::Config config;
  config.admin.bind = loopback(command.demo_admin_port);
  DemoCertificate made = make_demo_certificate();
  config::TlsSettings& tls = config.tls["demo"];
  tls.name = "demo";
  config::Certificate& certificate = tls.certificates.emplace_back();
  certificate.cert = "demo certificate";
  certificate.key = "demo key";
  certificate.cert_pem = std::move(made.cert_pem);
  certificate.key_pem = std::move(made.key_pem);
  for (const bool encrypted : {true, false}) {
    config::Listener& listener = config.listeners.emplace_back();
    listener.name = encrypted ? "secure" : "plain";
    listener.bind = {loopback(encrypted ? command.demo_tls_port : command.demo_plain_port)};
    listener.bind_places.resize(1);
    listener.tls = encrypted ? "demo" : "";
    listener.upstream = "demo";
  }
  config::Upstream& upstream = config.upstreams.emplace_back();
  upstream.name = "demo";
  upstream.pool.min_idle = 2;
  upstream.health_check.emplace();
  for (const DemoEndpoint* endpoint : {&one, &two}) {
    upstream.endpoints.emplace_back().address = loopback(endpoint->port());
  }
  return config;
}

int demo(const CommandLine& command) {
  start_log({.level = config::LogLevel::warn});
  DemoEndpoint one("endpoint one");
  DemoEndpoint two("endpoint two");
  Loaded loaded;
  loaded.config = std::make_shared<config::Config>(demo_config(command, one, two));
  loaded.tls = TlsStore::make(*loaded.config, loaded.problems);
  if (std::ranges::any_of(loaded.problems, is_error)) {
    print_problems(loaded.problems);
    return failed;
  }
  const auto server = std::make_unique<Server>(std::move(loaded));
  fmt::print("{}", demo_greeting(server->addresses(0).front().port,
                                 server->addresses(1).front().port, server->admin_address().port));
  std::fflush(stdout);
  return server->run();
}

int dispatch(const CommandLine& command) {
  switch (command.command) {
    case CommandLine::Command::run:
      return run(command.config_path);
    case CommandLine::Command::check:
      return check(command);
    case CommandLine::Command::show_config:
      return show_config(command);
    case CommandLine::Command::explain:
      return explain(command);
    case CommandLine::Command::plan:
      return plan(command);
    case CommandLine::Command::reload:
      return reload(command);
    case CommandLine::Command::schema:
      fmt::print("{}", command.as_reference ? config::reference_page() : config::json_schema());
      return good;
    case CommandLine::Command::demo:
      return demo(command);
    case CommandLine::Command::version:
      fmt::print("weir {} ({}), {}, {}, {}\n", version(), revision(), compiler(), openssl(),
                 boost());
      return good;
    case CommandLine::Command::help:
      break;
  }
  return good;
}

}  // namespace

int run_program(const CommandLine& command) {
  start_log({});
  try {
    return dispatch(command);
  } catch (const std::exception& error) {
    spdlog::error("{}", error.what());
    return failed;
  }
}

}  // namespace weir::proxy
