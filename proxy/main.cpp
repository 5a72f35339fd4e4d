// The way in. Read on in programs.cpp (what each command does), server.hpp (what runs), worker.hpp
// (one thread of it), session.hpp (one connection), tunnel.hpp (its bytes).

#include "proxy/command_line.hpp"
#include "proxy/programs.hpp"
#include "proxy/tls_memory.hpp"

int main(int argc, char** argv) {
  weir::proxy::pool_tls_buffers();
  const auto command = weir::proxy::parse_command_line(argc, argv);
  return command ? weir::proxy::run_program(*command) : weir::proxy::answer(command.error());
}
