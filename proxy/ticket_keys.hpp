#pragma once
// The keys that seal TLS session tickets. Either they live in memory, are replaced after each
// `rotate`, and the one before is still accepted, so that a ticket lives at least one period; or
// they were read from a file (ticket_key_file.hpp) and stay. One set serves all certificates of a
// TlsServer. Called by OpenSSL from any worker.

#include <array>
#include <chrono>
#include <mutex>
#include <vector>

struct ssl_ctx_st;

namespace weir::proxy {

class TicketKeys {
 public:
  // Leaves nothing behind in memory.
  struct Key {
    Key() = default;
    Key(const Key&) = default;
    Key& operator=(const Key&) = default;
    ~Key();

    std::array<unsigned char, 16> name{};
    std::array<unsigned char, 32> mac{};
    std::array<unsigned char, 32> cipher{};
    bool valid = false;
  };

  explicit TicketKeys(std::chrono::milliseconds rotate);
  // Keys that stay, the oldest first, at least one. All of them open tickets. The last but one
  // seals: when another key is appended to a file that a fleet shares, whoever reads it first seals
  // with what all others can open already.
  explicit TicketKeys(std::vector<Key> keys);
  TicketKeys(const TicketKeys&) = delete;
  TicketKeys& operator=(const TicketKeys&) = delete;

  // Makes this context use these keys; they must outlive it.
  void serve(ssl_ctx_st* context);

  // The key to seal with now.
  Key current();
  // The key of that name; invalid when there is none, or none any more.
  struct Found {
    Key key;
    bool is_current = false;  // else it will go: the ticket is renewed
  };
  Found find(const unsigned char* name);

 private:
  void rotate_if_due();

  std::mutex mutex_;
  std::chrono::milliseconds rotate_{0};
  std::chrono::steady_clock::time_point made_;
  std::vector<Key> keys_;  // the oldest first
  std::size_t sealing_;    // its position in keys_
};

}  // namespace weir::proxy
