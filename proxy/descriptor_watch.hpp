#pragma once
// Looks now and then how many descriptors the process has left. When they get few, pools stop
// warming; when they get very few, idle connections are closed, the oldest of all pools first, so
// that clients are served as long as possible. Lives on the main thread.

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <cstdint>
#include <memory>
#include <optional>

#include "pool/upstream.hpp"
#include "proxy/growing_table.hpp"

namespace weir::proxy {

// What is to be done with so many descriptors in use. Pure.
struct DescriptorPlan {
  pool::Pressure pressure = pool::Pressure::none;
  std::uint64_t to_close = 0;  // idle connections
};
DescriptorPlan plan_descriptors(std::uint64_t used, std::uint64_t limit);

class DescriptorWatch {
 public:
  using Upstreams = GrowingTable<std::unique_ptr<pool::Upstream>>;
  DescriptorWatch(boost::asio::io_context& io, const Upstreams& upstreams);

  // Again whenever upstreams have changed. Nothing to do where no pool keeps connections.
  void start();
  void stop();

 private:
  void look();
  void tell_pressure();
  void close_oldest(std::uint64_t count);

  boost::asio::steady_timer timer_;
  const Upstreams& upstreams_;
  bool looks_ = false;
  bool stopped_ = false;
  pool::Pressure pressure_ = pool::Pressure::none;
};

}  // namespace weir::proxy
