#include "pool/balancer.hpp"

#include "pool/assert.hpp"
#include "pool/balancer_algorithms.hpp"

namespace weir::pool {

std::unique_ptr<Balancer> Balancer::make(config::Balance balance, std::span<const Member> members,
                                         std::uint64_t seed) {
  switch (balance) {
    case config::Balance::round_robin:
      return make_round_robin(members);
    case config::Balance::least_connections:
      return make_least_connections(members);
    case config::Balance::random_two:
      return make_random_two(members, seed);
    case config::Balance::hash:
      return make_hash(members);
  }
  WEIR_ASSERT(false, "every kind of balance has its algorithm");
}

std::map<std::uint32_t, std::vector<EndpointIndex>> by_tier(
    std::span<const Balancer::Member> members) {
  std::map<std::uint32_t, std::vector<EndpointIndex>> result;
  for (EndpointIndex i = 0; i < members.size(); ++i) {
    if (members[i].weight > 0) result[members[i].tier].push_back(i);
  }
  return result;
}

std::vector<double> weights_of(std::span<const Balancer::Member> members) {
  std::vector<double> result;
  result.reserve(members.size());
  for (const Balancer::Member& member : members) result.push_back(member.weight);
  return result;
}

}  // namespace weir::pool
