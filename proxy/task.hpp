#pragma once
// Coroutines of a worker. Task is Asio's awaitable, bound to the worker's io_context; Wakeup is the
// one thing a coroutine here waits on: somebody calls wake(), and the coroutine looks again at what
// it waits for (as with a condition variable). Confined to one worker. Nothing is ever cancelled by
// a signal: to end a coroutine, change what it looks at and wake it.

#include <boost/asio/async_result.hpp>
#include <boost/asio/awaitable.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/io_context.hpp>
#include <cstddef>
#include <new>
#include <utility>

#include "pool/assert.hpp"

namespace weir::proxy {

namespace asio = boost::asio;

template <class T = void>
using Task = asio::awaitable<T, asio::io_context::executor_type>;

class Wakeup {
 public:
  Wakeup() = default;
  Wakeup(const Wakeup&) = delete;
  Wakeup& operator=(const Wakeup&) = delete;
  ~Wakeup() {
    if (destroy_ != nullptr) destroy_(storage_);
  }

  bool waiting() const { return resume_ != nullptr; }

  // Resumes the coroutine that waits, inside this call; nothing happens when none does.
  void wake() {
    if (resume_ == nullptr) return;
    const auto resume = std::exchange(resume_, nullptr);
    destroy_ = nullptr;
    resume(storage_);
  }

  // co_await wakeup.wait(): until the next wake(). One coroutine at a time.
  auto wait() {
    return asio::async_initiate<const asio::deferred_t, void()>(
        [](auto handler, Wakeup* self) { self->store(std::move(handler)); }, asio::deferred, this);
  }

 private:
  template <class Handler>
  void store(Handler handler) {
    static_assert(sizeof(Handler) <= sizeof(storage_), "make Wakeup::storage_ larger");
    WEIR_ASSERT(resume_ == nullptr, "two coroutines wait on one Wakeup");
    ::new (static_cast<void*>(storage_)) Handler(std::move(handler));
    resume_ = [](std::byte* storage) {
      auto* stored = std::launder(reinterpret_cast<Handler*>(storage));
      Handler local(std::move(*stored));
      stored->~Handler();
      std::move(local)();
    };
    destroy_ = [](std::byte* storage) {
      std::launder(reinterpret_cast<Handler*>(storage))->~Handler();
    };
  }

  void (*resume_)(std::byte*) = nullptr;
  void (*destroy_)(std::byte*) = nullptr;
  alignas(std::max_align_t) std::byte storage_[64];
};

}  // namespace weir::proxy
