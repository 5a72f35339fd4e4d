#include "proxy/connection_facts.hpp"

#include <array>
#include <cstddef>

namespace weir::proxy {

std::string_view word(Stage stage) {
  static constexpr std::array<std::string_view, 7> words{
      "accepted", "header", "handshake", "acquiring", "open", "client_done", "server_done"};
  return words[static_cast<std::size_t>(stage)];
}

std::string_view word(Source source) {
  static constexpr std::array<std::string_view, 4> words{"", "idle", "other_worker", "opened"};
  return words[static_cast<std::size_t>(source)];
}

}  // namespace weir::proxy
