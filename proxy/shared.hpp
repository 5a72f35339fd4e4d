#pragma once
// What the workers share beside the pools: the process-wide limits, as atomics, and the ids of
// connections. Thread-safe.

#include <atomic>
#include <cstdint>

#include "proxy/growing_table.hpp"

namespace weir::proxy {

// A strict limit over all workers. A limit of 0 means none.
class Seats {
 public:
  bool take(std::uint32_t limit) {
    const std::uint32_t before = taken_.fetch_add(1, std::memory_order_relaxed);
    if (limit == 0 || before < limit) return true;
    give_back();
    return false;
  }
  void add() { taken_.fetch_add(1, std::memory_order_relaxed); }
  // In one order with all else, because the end of a drain is decided by what these say.
  void give_back() { taken_.fetch_sub(1); }
  std::uint32_t count() const { return taken_.load(); }

 private:
  alignas(64) std::atomic<std::uint32_t> taken_{0};
};

struct ListenerSeats {
  Seats connections;
};

struct Shared {
  std::uint32_t worker_count = 1;
  std::atomic<std::uint32_t> connection_limit{0};
  std::atomic<std::uint32_t> handshake_limit{0};
  Seats connections;
  Seats handshakes;
  GrowingTable<ListenerSeats> listeners;  // by number
};

}  // namespace weir::proxy
