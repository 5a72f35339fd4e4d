#pragma once
// What stands behind Balancer::make(): one file for each algorithm, and the little they share. For
// those files only.

#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <vector>

#include "pool/balancer.hpp"

namespace weir::pool {

std::unique_ptr<Balancer> make_round_robin(std::span<const Balancer::Member> members);
std::unique_ptr<Balancer> make_least_connections(std::span<const Balancer::Member> members);
std::unique_ptr<Balancer> make_random_two(std::span<const Balancer::Member> members,
                                          std::uint64_t seed);
std::unique_ptr<Balancer> make_hash(std::span<const Balancer::Member> members);

// By tier, those with a weight, ascending.
std::map<std::uint32_t, std::vector<EndpointIndex>> by_tier(
    std::span<const Balancer::Member> members);
std::vector<double> weights_of(std::span<const Balancer::Member> members);

// A bijection in which every bit of the result depends on every bit of the argument: the finalizer
// of SplitMix64 (Steele, Lea, Flood, "Fast Splittable Pseudorandom Number Generators", OOPSLA
// 2014).
constexpr std::uint64_t mix(std::uint64_t bits) {
  bits = (bits ^ (bits >> 30)) * 0xbf58476d1ce4e5b9;
  bits = (bits ^ (bits >> 27)) * 0x94d049bb133111eb;
  return bits ^ (bits >> 31);
}

}  // namespace weir::pool
