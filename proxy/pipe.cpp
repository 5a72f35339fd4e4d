#include "proxy/pipe.hpp"

#include <fcntl.h>
#include <unistd.h>

#include <array>

#include "pool/assert.hpp"

namespace weir::proxy {

std::unique_ptr<Pipe> Pipe::open() {
  std::array<int, 2> ends{};
  if (::pipe2(ends.data(), O_NONBLOCK | O_CLOEXEC) != 0) return nullptr;
  std::unique_ptr<Pipe> pipe(new Pipe(ends[0], ends[1]));
  if (::fcntl(ends[1], F_SETPIPE_SZ, static_cast<int>(capacity)) < 0) return nullptr;
  return pipe;
}

Pipe::~Pipe() {
  ::close(read_end_);
  ::close(write_end_);
}

std::unique_ptr<Pipe> PipePool::take() {
  if (lent_ >= most_pipes) return nullptr;
  std::unique_ptr<Pipe> pipe;
  if (idle_.empty()) {
    pipe = Pipe::open();
    if (!pipe) return nullptr;
  } else {
    pipe = std::move(idle_.back());
    idle_.pop_back();
  }
  ++lent_;
  return pipe;
}

void PipePool::give_back(std::unique_ptr<Pipe> pipe) {
  if (!pipe) return;
  WEIR_ASSERT(lent_ > 0, "only a lent pipe comes back");
  --lent_;
  if (pipe->empty()) idle_.push_back(std::move(pipe));
}

}  // namespace weir::proxy
