#pragma once
// WEIR_ASSERT states what our own code promises itself, in every build. It is never used on what a
// peer, a file or the kernel can cause.

#include <cstdio>
#include <cstdlib>

#define WEIR_ASSERT(condition, lesson)                                                  \
  do {                                                                                  \
    if (!(condition)) [[unlikely]] {                                                    \
      std::fprintf(stderr, "%s:%d: %s (%s)\n", __FILE__, __LINE__, lesson, #condition); \
      std::abort();                                                                     \
    }                                                                                   \
  } while (false)
