#pragma once
// A table that only grows, and whose elements never move: one thread makes it longer while others
// use what is there. They must have learned of an element from that thread (by a posted function,
// under a lock); then reading it takes no lock.

#include <array>
#include <bit>
#include <cstddef>
#include <memory>

namespace weir::proxy {

template <class T>
class GrowingTable {
 public:
  explicit GrowingTable(std::size_t size = 0) { grow_to(size); }

  // New elements are value-initialised.
  void grow_to(std::size_t size) {
    while (capacity_ < size) {
      const std::size_t block = block_of(capacity_);
      blocks_[block] = std::make_unique<T[]>(first_block << block);
      capacity_ += first_block << block;
    }
    if (size > size_) size_ = size;
  }
  // For the thread that makes it grow.
  std::size_t size() const { return size_; }

  T& operator[](std::size_t index) {
    const std::size_t block = block_of(index);
    return blocks_[block][index - start_of(block)];
  }
  const T& operator[](std::size_t index) const {
    const std::size_t block = block_of(index);
    return blocks_[block][index - start_of(block)];
  }

 private:
  // Each block is twice as long as the one before: 8, 16, 32 ...
  static constexpr std::size_t first_block = 8;
  static constexpr std::size_t most_blocks = 32;
  static std::size_t block_of(std::size_t index) {
    return static_cast<std::size_t>(std::bit_width(index / first_block + 1)) - 1;
  }
  static std::size_t start_of(std::size_t block) {
    return first_block * ((std::size_t{1} << block) - 1);
  }

  std::array<std::unique_ptr<T[]>, most_blocks> blocks_;
  std::size_t capacity_ = 0;
  std::size_t size_ = 0;
};

}  // namespace weir::proxy
