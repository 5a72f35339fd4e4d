// Whatever a client sends, the reader of its ClientHello decides within its bound, and the pieces
// in which the bytes come make no difference.

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

#include "proxy/client_hello_reader.hpp"

namespace {

using weir::proxy::ClientHelloReader;
using State = ClientHelloReader::State;

void require(bool condition, const char* what) {
  if (condition) return;
  std::fprintf(stderr, "not so: %s\n", what);
  std::abort();
}

// In pieces of 1, 2, ... up to `most` bytes, and so on.
State read(ClientHelloReader& reader, std::span<const std::byte> bytes, std::size_t most) {
  State state = State::incomplete;
  std::size_t size = 0;
  while (!bytes.empty() && state == State::incomplete) {
    size = std::min({size % most + 1, bytes.size(), reader.room()});
    require(size > 0, "it decides while it has room");
    state = reader.add(bytes.first(size));
    bytes = bytes.subspan(size);
  }
  return state;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const auto bytes = std::as_bytes(std::span(data, size));
  ClientHelloReader whole;
  State state = State::incomplete;
  if (size > 0) state = whole.add(bytes.first(std::min(size, whole.room())));
  ClientHelloReader pieces;
  require(read(pieces, bytes, 1 + size % 61) == state, "pieces decide the same");
  require(pieces.why() == whole.why(), "for the same reason");
  require(pieces.server_name() == whole.server_name(), "with the same name");
  require(pieces.protocols() == whole.protocols(), "and the same protocols");
  require((state == State::malformed) == !whole.why().empty(), "what is malformed has a reason");
  const auto seen = pieces.seen();
  require(seen.size() <= size && std::equal(seen.begin(), seen.end(), bytes.begin()),
          "the bytes are kept as they are");
  if (state != State::complete) return 0;
  require(!whole.server_name().contains('\0'), "a name has no zero in it");
  for (const auto& protocol : whole.protocols())
    require(!protocol.empty(), "a protocol has a name");
  return 0;
}
