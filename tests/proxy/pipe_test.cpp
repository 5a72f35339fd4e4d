#include "proxy/pipe.hpp"

#include <gtest/gtest.h>
#include <unistd.h>

namespace weir::proxy {
namespace {

TEST(PipePool, LendsTheSamePipeAgain) {
  PipePool pool;
  auto pipe = pool.take();
  ASSERT_NE(pipe, nullptr);
  const Pipe* const first = pipe.get();
  pool.give_back(std::move(pipe));
  EXPECT_EQ(pool.idle_count(), 1U);
  EXPECT_EQ(pool.take().get(), first);
}

TEST(PipePool, LendsNoMoreThanItsCap) {
  PipePool pool;
  std::vector<std::unique_ptr<Pipe>> lent;
  for (std::size_t i = 0; i < PipePool::most_pipes; ++i) {
    lent.push_back(pool.take());
    // An unprivileged user has 64 MiB of pipes: whoever runs this may have less left.
    if (lent.back() == nullptr) GTEST_SKIP() << "the kernel makes no more pipes";
  }
  EXPECT_EQ(pool.take(), nullptr);
  pool.give_back(std::move(lent.back()));
  EXPECT_NE(pool.take(), nullptr);
}

TEST(PipePool, DoesNotLendWhatStillHoldsBytes) {
  PipePool pool;
  auto pipe = pool.take();
  ASSERT_NE(pipe, nullptr);
  ASSERT_EQ(::write(pipe->write_end(), "x", 1), 1);
  pipe->filled(1);
  pool.give_back(std::move(pipe));
  EXPECT_EQ(pool.idle_count(), 0U);
  EXPECT_EQ(pool.lent_count(), 0U);
}

}  // namespace
}  // namespace weir::proxy
