#pragma once
// What has been counted at one endpoint, summed over the workers. A seat keeps its counters when
// another endpoint takes it, so what the one before has left there is remembered and subtracted.
// Thread-safe.

#include <array>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "pool/upstream.hpp"
#include "proxy/worker.hpp"

namespace weir::proxy {

struct EndpointTotals {
  std::uint64_t received = 0;
  std::uint64_t sent = 0;
  std::uint64_t checks_passed = 0;
  std::uint64_t checks_failed = 0;
  std::array<std::uint64_t, pool::failure_count> open_failures{};

  EndpointTotals operator-(const EndpointTotals& before) const;
};

class EndpointBooks {
 public:
  explicit EndpointBooks(const std::vector<std::unique_ptr<Worker>>& workers) : workers_(workers) {}

  // A new upstream, the next in number.
  void open(const pool::Upstream& upstream);
  // Before anybody uses the seats: who sits on each now. Null seats keep whoever was there. Returns
  // the seats that somebody else has now, or that are known by another host name.
  std::vector<pool::EndpointIndex> seat(const pool::Upstream& upstream,
                                        const std::vector<pool::EndpointPointer>& seats);
  EndpointTotals totals(const pool::Upstream& upstream, pool::EndpointIndex index) const;

 private:
  struct Seat {
    std::string name;
    std::string host;
    EndpointTotals before;
  };
  EndpointTotals sum(const pool::Upstream& upstream, pool::EndpointIndex index) const;

  const std::vector<std::unique_ptr<Worker>>& workers_;
  mutable std::mutex mutex_;
  std::vector<std::vector<Seat>> seats_;  // by upstream
};

}  // namespace weir::proxy
