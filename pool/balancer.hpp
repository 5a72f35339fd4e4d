#pragma once
// Chooses an endpoint among those that may be used now. Pure: the caller says which may, and how
// loaded each is. Not thread-safe; the ledger holds one. When the endpoints change, a new one is
// made, outside the ledger's lock.

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "config/config.hpp"
#include "pool/connection.hpp"

namespace weir::pool {

class Balancer {
 public:
  // What the balancer asks about endpoints.
  class View {
   public:
    virtual bool usable(EndpointIndex endpoint) const = 0;
    virtual std::uint32_t load(EndpointIndex endpoint) const = 0;  // sessions on it, now
    // The tier that sessions go to now: no endpoint of another one is asked about. And what its
    // healthy endpoints have together, which `hash` holds them to: their weights, as set_weight()
    // has left them, and their loads.
    virtual std::uint32_t tier() const = 0;
    virtual double tier_weight() const = 0;
    virtual std::uint32_t tier_load() const = 0;

   protected:
    ~View() = default;
  };

  struct Member {
    std::string name;          // "ip:port": what `hash` orders and hashes, the same everywhere
    std::uint32_t weight = 1;  // 0 = is never picked
    std::uint32_t tier = 0;
  };

  virtual ~Balancer() = default;
  // One of the usable endpoints of the tier with a weight above 0; nothing when there is none.
  // `key` is a stable_hash() of what `hash` is to keep together. Expected cost, of n endpoints in
  // the tier: O(log n) round_robin and least_connections, O(1) the others; O(n) when few are
  // usable.
  virtual std::optional<EndpointIndex> pick(const View& view, std::uint64_t key) = 0;
  // The load of this endpoint has fallen to that. (That one has risen shows when its turn comes.)
  virtual void eased(EndpointIndex endpoint, std::uint32_t load) = 0;
  // From now on (round_robin: from its next turn on) its share is that of this weight, above 0:
  // slow_start. Not for a Member that has none.
  virtual void set_weight(EndpointIndex endpoint, double weight) = 0;

  // The index of a member is its EndpointIndex. The seed is for chance alone (random_two). With
  // `hash`, whoever has the same members (names, weights, tiers) in whatever order sends a key to
  // the same one; the loads apart, an endpoint that comes or leaves moves its share of the keys and
  // few others. That takes milliseconds and 256 KiB for each tier (beyond 4,096 endpoints in one
  // tier: ten times that).
  static std::unique_ptr<Balancer> make(config::Balance balance, std::span<const Member> members,
                                        std::uint64_t seed);
};

// The same number for the same bytes in every process and on every machine. Not for what must not
// be foreseen.
std::uint64_t stable_hash(std::string_view bytes);

}  // namespace weir::pool
