// `balance: hash`.

#include <algorithm>
#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <tuple>

#include "pool/assert.hpp"
#include "pool/balancer_algorithms.hpp"

namespace weir::pool {
namespace {

using Slots = std::vector<EndpointIndex>;

// How much more than its fair share of the sessions an endpoint may have.
constexpr double balance_factor = 1.25;

// When so many slots have led to nobody, it is found out first who is worth going on for.
constexpr int most_slots = 8;

// Primes. Another size moves every client, so there is one for all numbers of endpoints but those
// nobody has: with 1,000 endpoints of one weight each has 65 or 66 of 65,537 slots.
constexpr std::size_t slot_count(std::size_t endpoints) {
  return endpoints <= 4'096 ? 65'537 : endpoints <= 40'960 ? 655'373 : 6'553'577;
}

// The slots in the order in which an endpoint wants them: all of them, since their number is prime.
class Preference {
 public:
  Preference(std::string_view name, std::size_t slots) : slots_(slots) {
    const std::uint64_t hash = stable_hash(name);
    next_ = hash % slots;
    skip_ = mix(hash) % (slots - 1) + 1;
  }
  std::size_t next() {
    const std::size_t slot = next_;
    next_ += skip_;
    if (next_ >= slots_) next_ -= slots_;
    return slot;
  }

 private:
  std::size_t slots_;
  std::size_t next_;
  std::size_t skip_;
};

// The lookup table of Maglev (Eisenbud et al., NSDI 2016, 3.4): the endpoints, in the order of
// their names, take turns in choosing the free slot that each likes best. The turns of an endpoint
// are 1/weight apart; each has one at the beginning, so that each has a slot, and the next after
// 1.5/weight, so that the slots are its share rounded to the nearest (Webster's method). When
// turns come does not depend on who else there is: little moves when somebody leaves.
Slots fill(std::span<const Balancer::Member> members, std::vector<EndpointIndex> endpoints) {
  std::ranges::sort(endpoints, {},
                    [&](EndpointIndex i) -> const std::string& { return members[i].name; });
  constexpr EndpointIndex nobody = std::numeric_limits<EndpointIndex>::max();
  Slots slots(slot_count(endpoints.size()), nobody);
  struct Turn {
    double due;
    std::uint32_t rank;    // among the names
    std::uint32_t number;  // how many this endpoint has had
  };
  const auto later = [](const Turn& a, const Turn& b) {
    return std::tie(a.due, a.rank) > std::tie(b.due, b.rank);
  };
  std::vector<Preference> preferences;
  std::vector<Turn> turns;  // a heap, the earliest first
  for (const EndpointIndex endpoint : endpoints) {
    turns.push_back({0, static_cast<std::uint32_t>(turns.size()), 0});
    preferences.emplace_back(members[endpoint].name, slots.size());
  }
  for (std::size_t taken = 0; taken < slots.size(); ++taken) {
    std::ranges::pop_heap(turns, later);
    Turn& turn = turns.back();
    const EndpointIndex endpoint = endpoints[turn.rank];
    std::size_t slot = preferences[turn.rank].next();
    while (slots[slot] != nobody) slot = preferences[turn.rank].next();
    slots[slot] = endpoint;
    ++turn.number;
    turn.due = (turn.number + 0.5) / members[endpoint].weight;
    std::ranges::push_heap(turns, later);
  }
  return slots;
}

// Each key has a slot, and its session goes to the endpoint of the first slot from there on that
// may be used and is not at its bound: no endpoint has more than 1.25 times its share, rounded up
// (consistent hashing with bounded loads: Mirrokni, Thorup, Zadimoghaddam, SODA 2018). That is one
// session at least, and little more while there are few: then those of one client are spread, too.
// A fifth of the weight is always below its bound, so few slots are looked at: O(1) a pick, O(n)
// when few may be used. A table has 256 KiB.
class Hash final : public Balancer {
 public:
  explicit Hash(std::span<const Member> members)
      : weights_(weights_of(members)), standings_(members.size()) {
    for (const auto& [tier, endpoints] : by_tier(members)) {
      tables_[tier] = {endpoints, fill(members, endpoints)};
    }
  }

  std::optional<EndpointIndex> pick(const View& view, std::uint64_t key) override {
    const auto found = tables_.find(view.tier());
    if (found == tables_.end()) return std::nullopt;
    const Table& table = found->second;
    const std::size_t home = key % table.slots.size();
    std::size_t slot = home;
    for (int i = 0; i < most_slots; ++i) {
      const EndpointIndex endpoint = table.slots[slot];
      if (view.usable(endpoint) && takes_another(endpoint, view)) return endpoint;
      slot = after(slot, table);
    }
    return search(table, home, view);
  }

  void eased(EndpointIndex, std::uint32_t) override {}

  // Of the bound: the slots stay as they are, so that who was sent elsewhere for a while comes
  // back.
  void set_weight(EndpointIndex endpoint, double weight) override {
    WEIR_ASSERT(weights_[endpoint] > 0 && weight > 0, "only what has a weight may have another");
    weights_[endpoint] = weight;
  }

 private:
  // Of one tier.
  struct Table {
    std::vector<EndpointIndex> endpoints;
    Slots slots;
  };
  enum class Standing : std::uint8_t { not_usable, above_bound, takes_another };

  static std::size_t after(std::size_t slot, const Table& table) {
    return slot + 1 == table.slots.size() ? 0 : slot + 1;
  }

  // Each endpoint is asked about once, however many slots there are on the way.
  std::optional<EndpointIndex> search(const Table& table, std::size_t home, const View& view) {
    Standing best = Standing::not_usable;
    for (const EndpointIndex endpoint : table.endpoints) {
      Standing& standing = standings_[endpoint];
      standing = !view.usable(endpoint)          ? Standing::not_usable
                 : takes_another(endpoint, view) ? Standing::takes_another
                                                 : Standing::above_bound;
      best = std::max(best, standing);
    }
    if (best == Standing::not_usable) return std::nullopt;
    std::size_t slot = home;
    do {
      if (standings_[table.slots[slot]] == best) return table.slots[slot];
      slot = after(slot, table);
    } while (slot != home);
    return std::nullopt;
  }

  // load + 1 <= ceil(bound) is load < bound, the load being whole; without a division it is exact,
  // too, for weights that are whole.
  bool takes_another(EndpointIndex endpoint, const View& view) const {
    return view.load(endpoint) * view.tier_weight() <
           balance_factor * (view.tier_load() + 1.0) * weights_[endpoint];
  }

  std::vector<double> weights_;  // by endpoint
  std::map<std::uint32_t, Table> tables_;
  std::vector<Standing> standings_;  // by endpoint, for search()
};

}  // namespace

std::unique_ptr<Balancer> make_hash(std::span<const Balancer::Member> members) {
  return std::make_unique<Hash>(members);
}

// FNV-1a (Fowler, Noll, Vo; RFC 9923), which takes the bytes one by one, and then mix(), since
// alone it leaves similar bytes with similar numbers.
std::uint64_t stable_hash(std::string_view bytes) {
  std::uint64_t hash = 0xcbf29ce484222325;
  for (const char byte : bytes) {
    hash ^= static_cast<unsigned char>(byte);
    hash *= 0x100000001b3;
  }
  return mix(hash);
}

}  // namespace weir::pool
