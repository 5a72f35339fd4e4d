#include "proxy/tls_memory.hpp"

#include <malloc.h>
#include <openssl/crypto.h>

#include <array>
#include <cstddef>
#include <cstdlib>

namespace weir::proxy {
namespace {

// Blocks of one size that this thread keeps. Constant-initialised and without a destructor, so that
// OpenSSL may still use it while a thread ends.
template <std::size_t smallest, std::size_t block_size>
struct Shelf {
  static bool fits(std::size_t size) { return size >= smallest && size <= block_size; }

  void* take() { return count > 0 ? blocks[--count] : std::malloc(block_size); }
  // False: no block of this shelf's, or no room for it. `usable` is what the allocator made of it,
  // which may be a little more than was asked for.
  bool keep(void* block, std::size_t usable) {
    if (usable < block_size || usable >= block_size + 16 || closed || count == blocks.size()) {
      return false;
    }
    blocks[count++] = block;
    return true;
  }
  void close() {
    closed = true;
    while (count > 0) std::free(blocks[--count]);
  }

  std::array<void*, 8> blocks;
  std::size_t count;
  bool closed;
};

struct Shelves {
  // A record of 16 KiB with header, padding and tag, read or written. Of OpenSSL's other blocks
  // only a few that are made at the start are as large.
  Shelf<16 * 1024, 20 * 1024> records;
  Shelf<40, 40> nodes;
};
thread_local constinit Shelves shelves{};

void close_at_thread_end() {
  struct Closing {
    ~Closing() {
      shelves.records.close();
      shelves.nodes.close();
    }
  };
  [[maybe_unused]] static thread_local const Closing closing;
}

void* allocate(std::size_t size, const char*, int) {
  if (shelves.nodes.fits(size)) return shelves.nodes.take();
  if (shelves.records.fits(size)) return shelves.records.take();
  return std::malloc(size);
}

void release(void* block, const char*, int) {
  if (block == nullptr) return;
  const std::size_t usable = ::malloc_usable_size(block);
  if (!shelves.nodes.keep(block, usable) && !shelves.records.keep(block, usable)) {
    std::free(block);
    return;
  }
  close_at_thread_end();
}

void* reallocate(void* block, std::size_t size, const char*, int) {
  return std::realloc(block, size);
}

}  // namespace

void pool_tls_buffers() {
  CRYPTO_set_mem_functions(&allocate, &reallocate, &release);
}

}  // namespace weir::proxy
