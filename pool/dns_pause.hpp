#pragma once
// How long a name is left alone between two look-ups. Each pause is up to a tenth shorter, at
// random, so that many proxies do not ask in step. Pure; `chance` is in [0, 1).

#include <algorithm>
#include <chrono>
#include <cstdint>

#include "config/config.hpp"

namespace weir::pool {

inline config::Duration dns_pause_with_jitter(config::Duration pause, double chance) {
  return pause - std::chrono::duration_cast<config::Duration>(pause * (chance / 10));
}

// After an answer. `ttl` in seconds, the smallest of what the answer rests on.
inline config::Duration dns_renewal_pause(const config::Dns& dns, std::uint32_t ttl,
                                          double chance) {
  if (dns.refresh) return dns_pause_with_jitter(*dns.refresh, chance);
  const config::Duration pause = std::max<config::Duration>(
      dns.min, std::min<config::Duration>(std::chrono::seconds(ttl), dns.max));
  return std::max(dns.min, dns_pause_with_jitter(pause, chance));
}

// After the `failures`th failure in a row: `min`, doubled with each more, at most `max`.
inline config::Duration dns_retry_pause(const config::Dns& dns, std::uint32_t failures,
                                        double chance) {
  const std::uint32_t doublings = std::min(failures > 0 ? failures - 1 : 0U, 20U);
  const config::Duration pause = std::min(dns.min * (1L << doublings), std::max(dns.min, dns.max));
  return std::max(dns.min, dns_pause_with_jitter(pause, chance));
}

}  // namespace weir::pool
