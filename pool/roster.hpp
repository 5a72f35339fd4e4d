#pragma once
// The endpoints of an upstream as its configuration names them and DNS finds them: one list, each
// address once. Pure; whoever hears of an answer holds it.

#include <cstddef>
#include <vector>

#include "config/config.hpp"
#include "pool/connection.hpp"
#include "pool/discovery.hpp"

namespace weir::pool {

class Roster {
 public:
  explicit Roster(const config::Upstream& upstream);

  // Seats that a ledger needs: for those that leave while others come, too.
  static std::size_t capacity(const config::Upstream& upstream);

  // The look-ups, in the order of the entries that need one.
  const std::vector<Discovery::Query>& queries() const { return queries_; }
  // Knows what another one, of the same upstream in another configuration, has heard of the names
  // that both have.
  void adopt(const Roster& before);
  // An answer to one of the queries. False: it changes nothing.
  bool found(std::size_t query, std::vector<Found> answer);
  // Have all queries been answered once?
  bool is_complete() const { return unanswered_ == 0; }

  // What is written as an address comes first, then the others in the order of the entries; an
  // address that several entries lead to belongs to the first.
  std::vector<EndpointPointer> endpoints() const;

 private:
  struct Entry {
    config::Endpoint written;
    std::vector<Found> answer;
    bool answered = false;
  };

  std::vector<Entry> entries_;            // addresses first
  std::vector<std::size_t> query_entry_;  // by query: its entry
  std::vector<Discovery::Query> queries_;
  std::size_t unanswered_ = 0;
};

}  // namespace weir::pool
