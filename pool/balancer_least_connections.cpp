// `balance: least_connections`.

#include <boost/intrusive/list.hpp>
#include <iterator>
#include <map>
#include <vector>

#include "pool/assert.hpp"
#include "pool/balancer_algorithms.hpp"

namespace weir::pool {
namespace {

// The lowest (sessions + 1) / weight. The endpoints of a tier stand in levels of the same such
// value, by the sessions that were last seen: none has fewer than it was seen with, so the first
// one that is as it was seen is the least loaded. Within a level whoever is picked or comes goes to
// the end. O(levels), and one step more for each endpoint that is passed over.
class LeastConnections final : public Balancer {
 public:
  explicit LeastConnections(std::span<const Member> members) : entries_(members.size()) {
    for (const auto& [tier, endpoints] : by_tier(members)) {
      Ranking& ranking = rankings_[tier];
      for (const EndpointIndex endpoint : endpoints) {
        Entry& entry = entries_[endpoint];
        entry.endpoint = endpoint;
        entry.weight = members[endpoint].weight;
        entry.ranking = &ranking;
        place(entry, 0);
      }
    }
  }

  std::optional<EndpointIndex> pick(const View& view, std::uint64_t) override {
    const auto tier = rankings_.find(view.tier());
    if (tier == rankings_.end()) return std::nullopt;
    Ranking& ranking = tier->second;
    for (auto level = ranking.begin(); level != ranking.end();) {
      if (const auto picked = pick(view, level->second)) return picked;
      level = level->second.empty() ? ranking.erase(level) : std::next(level);
    }
    return std::nullopt;
  }

  void eased(EndpointIndex endpoint, std::uint32_t load) override {
    Entry& entry = entries_[endpoint];
    if (entry.ranking != nullptr && entry.seen != load) replace(entry, load);
  }

  void set_weight(EndpointIndex endpoint, double weight) override {
    Entry& entry = entries_[endpoint];
    WEIR_ASSERT(entry.ranking != nullptr && weight > 0, "only what has a weight may have another");
    entry.weight = weight;
    replace(entry, entry.seen);
  }

 private:
  struct Entry;
  using Level = boost::intrusive::list<Entry, boost::intrusive::constant_time_size<false>>;
  using Ranking = std::map<double, Level>;
  struct Entry : boost::intrusive::list_base_hook<
                     boost::intrusive::link_mode<boost::intrusive::auto_unlink>> {
    EndpointIndex endpoint = 0;
    double weight = 0;
    double level = 0;
    std::uint32_t seen = 0;      // sessions, when it was placed
    Ranking* ranking = nullptr;  // of its tier; null = has no weight
  };

  std::optional<EndpointIndex> pick(const View& view, Level& level) {
    for (auto next = level.begin(); next != level.end();) {
      Entry& entry = *next++;
      const std::uint32_t load = view.load(entry.endpoint);
      if (load > entry.seen) {
        place(entry, load);  // into a later level
      } else if (view.usable(entry.endpoint)) {
        level.splice(level.end(), level, level.iterator_to(entry));
        return entry.endpoint;
      }
    }
    return std::nullopt;
  }

  static void place(Entry& entry, std::uint32_t load) {
    entry.unlink();
    entry.seen = load;
    entry.level = (load + 1.0) / entry.weight;
    (*entry.ranking)[entry.level].push_back(entry);
  }
  // Not while its level is being looked through.
  static void replace(Entry& entry, std::uint32_t load) {
    const auto before = entry.ranking->find(entry.level);
    place(entry, load);
    if (before->second.empty()) entry.ranking->erase(before);
  }

  std::map<std::uint32_t, Ranking> rankings_;
  std::vector<Entry> entries_;  // by endpoint; they unlink themselves from the rankings
};

}  // namespace

std::unique_ptr<Balancer> make_least_connections(std::span<const Balancer::Member> members) {
  return std::make_unique<LeastConnections>(members);
}

}  // namespace weir::pool
