#pragma once
// Two connected unix stream sockets, and a loop that a test turns by hand until something holds.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <unistd.h>

#include <chrono>
#include <functional>
#include <string>
#include <utility>

#include "proxy/event_loop.hpp"

namespace weir::proxy {

// `near` is non-blocking and goes to the code under test; `far` is the test's own end.
struct SocketPair {
  SocketPair() {
    int ends[2] = {-1, -1};
    if (::socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) != 0) ADD_FAILURE();
    near = ends[0];
    far = ends[1];
    ::fcntl(near, F_SETFL, O_NONBLOCK);
    ::fcntl(far, F_SETFL, O_NONBLOCK);
  }
  SocketPair(const SocketPair&) = delete;
  SocketPair& operator=(const SocketPair&) = delete;
  ~SocketPair() {
    if (near >= 0) ::close(near);
    close_far();
  }

  int take_near() { return std::exchange(near, -1); }
  void close_far() {
    if (far >= 0) ::close(std::exchange(far, -1));
  }
  bool send(const std::string& text) {
    return ::send(far, text.data(), text.size(), MSG_NOSIGNAL) == static_cast<ssize_t>(text.size());
  }
  // What is there now; `ended` when the stream has ended behind it.
  std::string receive(bool* ended = nullptr) {
    std::string all;
    for (;;) {
      char buffer[65536];
      const ssize_t count = ::recv(far, buffer, sizeof buffer, 0);
      if (count <= 0) {
        if (ended != nullptr && count == 0) *ended = true;
        return all;
      }
      all.append(buffer, static_cast<std::size_t>(count));
    }
  }

  int near = -1;
  int far = -1;
};

// Turns the loop until `done`; fails the test when that takes 10 s.
class HandTurned {
 public:
  EventLoop loop;

  void until(const std::function<bool()>& done) {
    Limit limit;
    limit.set(loop.deadlines(), std::chrono::steady_clock::now() + std::chrono::seconds(10));
    while (!done()) {
      loop.turn();
      if (limit.over) {
        ADD_FAILURE() << "it did not happen within 10 s";
        return;
      }
    }
  }

 private:
  struct Limit final : Deadline {
    bool over = false;
    void expired(TimePoint) override { over = true; }
  };
};

}  // namespace weir::proxy
