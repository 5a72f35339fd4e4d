#pragma once
// What has happened in a simulation of late, for whoever has to find out why it failed. Events are
// kept as a text with gaps and the numbers for them; they become words only when they are read. An
// abort prints them, too, with the seed.

#include <array>
#include <csignal>
#include <cstdint>
#include <cstdio>
#include <span>
#include <string>
#include <string_view>

#include "pool/connection.hpp"

// There only with a sanitizer's runtime.
extern "C" __attribute__((weak)) void __sanitizer_set_death_callback(void (*callback)());

namespace weir::pool {

// Ends a simulation: a promise was not kept.
struct Broken {
  std::string what;
};

// Each % stands for the next number.
inline std::string filled_in(std::string_view words, std::span<const std::int64_t> numbers) {
  std::string text;
  std::size_t next = 0;
  for (const char letter : words) {
    if (letter == '%' && next < numbers.size()) {
      text += std::to_string(numbers[next++]);
    } else {
      text += letter;
    }
  }
  return text;
}

template <class... Numbers>
void demand(bool kept, std::string_view lesson, Numbers... numbers) {
  if (kept) [[likely]]
    return;
  const std::array<std::int64_t, sizeof...(Numbers)> all{static_cast<std::int64_t>(numbers)...};
  throw Broken{filled_in(lesson, all)};
}

class Trace {
 public:
  // Aloud: every event is printed as it happens.
  Trace(std::uint64_t seed, TimePoint start, bool aloud)
      : seed_(seed), start_(start), aloud_(aloud) {
    current_ = this;
  }
  Trace(const Trace&) = delete;
  Trace& operator=(const Trace&) = delete;
  ~Trace() { current_ = nullptr; }

  template <class... Numbers>
  void note(TimePoint now, std::string_view words, Numbers... numbers) {
    static_assert(sizeof...(Numbers) <= most_numbers);
    Event& event = events_[count_++ % events_.size()];
    event = {now, words, {static_cast<std::int64_t>(numbers)...}};
    if (aloud_) std::fprintf(stderr, "%s\n", line(event).c_str());
  }

  std::string text() const {
    std::string all = "seed " + std::to_string(seed_) + "; the last events:\n";
    const std::uint64_t first = count_ > events_.size() ? count_ - events_.size() : 0;
    for (std::uint64_t i = first; i < count_; ++i) {
      all += line(events_[i % events_.size()]) + '\n';
    }
    return all;
  }

  // For the whole process. A sanitizer that finds something ends it in its own way.
  static void print_on_abort() {
    const auto print = [](int number) {
      print_current();
      std::signal(number, SIG_DFL);
    };
    std::signal(SIGABRT, print);
    if (__sanitizer_set_death_callback != nullptr) {
      __sanitizer_set_death_callback(print_current);
    } else {
      std::signal(SIGSEGV, print);
    }
  }

 private:
  static constexpr std::size_t most_numbers = 4;
  struct Event {
    TimePoint at;
    std::string_view words;
    std::array<std::int64_t, most_numbers> numbers{};
  };

  std::string line(const Event& event) const {
    std::array<char, 32> time{};
    std::snprintf(time.data(), time.size(), "%14.6f  ",
                  std::chrono::duration<double>(event.at - start_).count());
    return time.data() + filled_in(event.words, event.numbers);
  }
  static void print_current() {
    if (current_ != nullptr) std::fprintf(stderr, "%s", current_->text().c_str());
  }

  static inline Trace* current_ = nullptr;

  std::uint64_t seed_;
  TimePoint start_;
  bool aloud_;
  std::uint64_t count_ = 0;
  std::array<Event, 40> events_{};
};

}  // namespace weir::pool
