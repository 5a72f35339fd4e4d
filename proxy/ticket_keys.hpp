#pragma once
// The keys that seal TLS session tickets. They live in memory, are replaced after each `rotate`,
// and the one before is still accepted, so that a ticket lives at least one period. One set serves
// all certificates of a TlsServer. Called by OpenSSL from any worker.

#include <array>
#include <chrono>
#include <mutex>

struct ssl_ctx_st;

namespace weir::proxy {

class TicketKeys {
 public:
  explicit TicketKeys(std::chrono::milliseconds rotate);
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;
  ~TicketKeys();

  // Makes this context use these keys; they must outlive it.
  void serve(ssl_ctx_st* context);

  struct Key {
    std::array<unsigned char, 16> name{};
    std::array<unsigned char, 32> cipher{};
    std::array<unsigned char, 32> mac{};
    bool valid = false;
  };

  // The key to seal with now.
  Key current();
  // The key of that name; invalid when it is neither the current nor the previous one.
  struct Found {
    Key key;
    bool is_current = false;
  };
  Found find(const unsigned char* name);

 private:
  void rotate_if_due();

  std::mutex mutex_;
  std::chrono::milliseconds rotate_;
  std::chrono::steady_clock::time_point made_;
  Key current_;
  Key previous_;
};

}  // namespace weir::proxy
