#pragma once
// The random numbers of one seed. Cheap to begin with, since a simulation draws a world of its own
// from each seed, and the same on every machine. Pure.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <initializer_list>

#include "pool/connection.hpp"

namespace weir::pool {

class Chance {
 public:
  explicit Chance(std::uint64_t seed) : state_(seed * 0xd1342543de82ef95) {}

  // SplitMix64 (Steele, Lea, Flood, OOPSLA 2014).
  std::uint64_t bits() {
    state_ += 0x9e3779b97f4a7c15;
    std::uint64_t mixed = state_;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    return mixed ^ (mixed >> 31);
  }

  // [0, 1)
  double real() { return static_cast<double>(bits() >> 11) * 0x1p-53; }
  std::size_t below(std::size_t count) { return (bits() >> 32) * count >> 32; }
  std::uint32_t between(std::uint32_t least, std::uint32_t most) {
    return least + static_cast<std::uint32_t>(below(most - least + 1));
  }
  bool percent(std::size_t share) { return below(100) < share; }

  // Each order of magnitude is as likely as the next.
  Nanoseconds between(Nanoseconds least, Nanoseconds most) {
    const double low = std::log(static_cast<double>(least.count()));
    const double high = std::log(static_cast<double>(most.count()));
    return Nanoseconds(static_cast<Nanoseconds::rep>(std::exp(low + real() * (high - low))));
  }
  config::Duration milliseconds(Nanoseconds least, Nanoseconds most) {
    return std::chrono::duration_cast<config::Duration>(between(least, most));
  }
  // Of events that come independently; the longest gaps are cut.
  Nanoseconds exponential(Nanoseconds mean) {
    const double gap = -std::log(1.0 - real()) * static_cast<double>(mean.count());
    return Nanoseconds(
        static_cast<Nanoseconds::rep>(std::min(gap, 20.0 * static_cast<double>(mean.count()))));
  }

  template <class T>
  T pick(std::initializer_list<T> from) {
    return from.begin()[below(from.size())];
  }

 private:
  std::uint64_t state_;
};

}  // namespace weir::pool
