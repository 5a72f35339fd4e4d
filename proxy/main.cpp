// The composition root: the command line, then one of a few programs. Start here, then read
// server.hpp (what runs), worker.hpp (one thread of it), session.hpp (one connection), tunnel.hpp
// (its bytes).

#include <spdlog/spdlog.h>

#include <exception>

#include "proxy/command_line.hpp"
#include "proxy/programs.hpp"

int main(int argc, char** argv) {
  try {
    const auto command = weir::proxy::parse_command_line(argc, argv);
    if (!command) return weir::proxy::answer(command.error());
    return weir::proxy::run_program(*command);
  } catch (const std::exception& error) {
    spdlog::error("{}", error.what());
    return 1;
  }
}
