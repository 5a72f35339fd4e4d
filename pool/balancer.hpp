#pragma once
// Chooses an endpoint among those that may be used now. Pure: the caller says which may, and how
// loaded each is. Not thread-safe; the ledger holds one.

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

#include "config/config.hpp"
#include "pool/connection.hpp"

namespace weir::pool {

class Balancer {
 public:
  // What the balancer asks about an endpoint.
  class View {
   public:
    virtual bool usable(EndpointIndex endpoint) const = 0;
    virtual std::uint32_t load(EndpointIndex endpoint) const = 0;  // sessions on it, now

   protected:
    ~View() = default;
  };

  virtual ~Balancer() = default;
  // One of the usable endpoints with a weight above 0; nothing when there is none.
  virtual std::optional<EndpointIndex> pick(const View& view) = 0;
  // The load of this endpoint has fallen to that. (That one has risen shows when its turn comes.)
  virtual void eased(EndpointIndex endpoint, std::uint32_t load) = 0;

  static std::unique_ptr<Balancer> make(config::Balance balance,
                                        std::vector<std::uint32_t> weights);
};

}  // namespace weir::pool
