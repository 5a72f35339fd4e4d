#pragma once
// The process that is to take this one's place, from its start to its word that it serves, or to
// its failure: then it is ended, and this process is as before. Main thread.

#include <sys/types.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <boost/asio/steady_timer.hpp>
#include <expected>
#include <functional>
#include <string>
#include <vector>

#include "proxy/launch.hpp"

namespace weir::proxy {

namespace asio = boost::asio;

class Successor {
 public:
  explicit Successor(asio::io_context& io) : pipe_(io), timer_(io) {}

  // `why` says in words why it does not serve; empty: it does.
  using Ended = std::function<void(pid_t process, const std::string& why)>;
  // One at a time. Returns its process; the error says why there is none.
  std::expected<pid_t, std::string> start(const Invocation& invocation,
                                          const std::vector<GivenDescriptor>& sockets, Ended ended);
  bool is_pending() const { return process_ != 0; }
  // Ends it, unless it has just given its word: then `ended` is called with that.
  void give_up();

 private:
  void wait();
  bool has_word();
  void finish(std::string why);
  // SIGKILL for one that still runs; how it ended.
  std::string reap() const;

  asio::posix::stream_descriptor pipe_;
  asio::steady_timer timer_;
  pid_t process_ = 0;
  Ended ended_;
};

}  // namespace weir::proxy
