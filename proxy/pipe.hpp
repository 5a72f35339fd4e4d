#pragma once
// Kernel pipes for splice(2): bytes of a long plain transfer go from one socket to the other
// without passing through user space. A pipe holds what the other side has not taken yet. Pipes
// are lent for the time that bytes wait in them and kept for the next transfer; their number has a
// cap, and who gets none copies instead. Confined to one worker.

#include <cstddef>
#include <memory>
#include <vector>

namespace weir::proxy {

class Pipe {
 public:
  // Null when the kernel refuses: no descriptors, or the user's share of pipe memory is used up.
  static std::unique_ptr<Pipe> open();
  Pipe(const Pipe&) = delete;
  Pipe& operator=(const Pipe&) = delete;
  ~Pipe();

  // What one pipe may hold, in bytes.
  static constexpr std::size_t capacity = 1024 * 1024;

  int read_end() const { return read_end_; }
  int write_end() const { return write_end_; }
  std::size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  void filled(std::size_t size) { size_ += size; }
  void drained(std::size_t size) { size_ -= size; }

 private:
  Pipe(int read_end, int write_end) : read_end_(read_end), write_end_(write_end) {}

  int read_end_;
  int write_end_;
  std::size_t size_ = 0;
};

class PipePool {
 public:
  // Null when all are lent or none can be made.
  std::unique_ptr<Pipe> take();
  // A pipe that still holds bytes is closed: they belonged to somebody.
  void give_back(std::unique_ptr<Pipe> pipe);

  std::size_t idle_count() const { return idle_.size(); }
  std::size_t lent_count() const { return lent_; }

  // 32 MiB of pipes a worker: an unprivileged user may have 64 MiB (pipe(7)).
  static constexpr std::size_t most_pipes = 32;

 private:
  std::vector<std::unique_ptr<Pipe>> idle_;
  std::size_t lent_ = 0;
};

}  // namespace weir::proxy
