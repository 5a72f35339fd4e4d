#pragma once
// Finds the endpoints behind names: one thread with c-ares looks A, AAAA and SRV records up, again
// when their time to live is over, and reports each answer. A failure, NXDOMAIN included, is
// reported as such and changes nothing that was reported before; where only a part of a look-up
// fails (one family, one target of a service), that part stays as it was. It holds no endpoints
// itself.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "config/config.hpp"

namespace weir::pool {

// One address behind a name.
struct Found {
  config::Address address;
  std::uint32_t weight = 1;  // of an SRV record, scaled to at most 256, at least 1; else 1
  std::uint32_t tier = 0;    // the rank of an SRV record's priority, the lowest first; else 0
  bool operator==(const Found&) const = default;
};

class Discovery {
 public:
  struct Query {
    std::string name;
    bool is_service = false;  // an SRV record's name; `port` is then of no meaning
    std::uint16_t port = 0;
    config::Dns dns;
    bool operator==(const Query&) const = default;
  };

  class Audience {
   public:
    // On the discovery thread. `query` is the position in the list of queries. Sorted by address,
    // without duplicates, at most most_addresses.
    virtual void found(std::size_t query, std::vector<Found> endpoints) = 0;
    // `why` is for people: "db.internal: no such name".
    virtual void not_found(std::size_t query, std::string why) = 0;

   protected:
    ~Audience() = default;
  };

  static constexpr std::size_t most_addresses = 256;

  // Starts the thread; the first look-ups begin at once, all of them. Throws std::runtime_error
  // when the resolver cannot be set up.
  Discovery(std::vector<Query> queries, Audience& audience);
  Discovery(const Discovery&) = delete;
  Discovery& operator=(const Discovery&) = delete;
  // Ends the thread, whatever is on its way; the audience hears nothing after it.
  ~Discovery();

 private:
  class Resolver;
  std::unique_ptr<Resolver> resolver_;
};

}  // namespace weir::pool
