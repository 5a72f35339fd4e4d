#include "proxy/descriptor_watch.hpp"

#include <spdlog/spdlog.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <algorithm>

#include "metrics/process.hpp"

namespace weir::proxy {
namespace {

using namespace std::chrono_literals;

constexpr auto interval = 200ms;
constexpr std::uint64_t warming_percent = 10;  // free descriptors below which pools stop warming
constexpr std::uint64_t most_descriptors = 1ULL << 40;
constexpr std::uint64_t closing_percent = 5;  // and below which idle connections close

bool keeps_connections(const pool::Upstream& upstream) {
  return upstream.look([](const pool::Ledger& ledger) {
    return ledger.config().pool.mode != config::PoolMode::off;
  });
}

// Since Linux 6.2 the folder's size says it; before, its entries have to be counted.
std::uint64_t used_descriptors() {
  struct stat folder{};
  if (::stat("/proc/self/fd", &folder) == 0 && folder.st_size > 0) {
    return static_cast<std::uint64_t>(folder.st_size);
  }
  return metrics::open_descriptors().value_or(0);
}

// As it is now: it can be changed from outside.
std::uint64_t descriptor_limit() {
  rlimit limit{};
  return ::getrlimit(RLIMIT_NOFILE, &limit) == 0 ? limit.rlim_cur : RLIM_INFINITY;
}

}  // namespace

DescriptorPlan plan_descriptors(std::uint64_t used, std::uint64_t limit) {
  DescriptorPlan plan;
  // A limit beyond all bounds is none, and its percentages would not fit.
  if (limit > most_descriptors) return plan;
  const std::uint64_t available = limit > used ? limit - used : 0;
  if (available * 100 < limit * warming_percent) plan.pressure = pool::Pressure::no_warming;
  const std::uint64_t least = (limit * closing_percent + 99) / 100;
  if (available < least) plan.to_close = least - available;
  return plan;
}

DescriptorWatch::DescriptorWatch(boost::asio::io_context& io, const Upstreams& upstreams)
    : timer_(io), upstreams_(upstreams) {}

void DescriptorWatch::start() {
  tell_pressure();
  for (std::size_t i = 0; i < upstreams_.size() && !looks_; ++i) {
    looks_ = keeps_connections(*upstreams_[i]);
    if (looks_) look();
  }
}

void DescriptorWatch::stop() {
  stopped_ = true;
  timer_.cancel();
}

void DescriptorWatch::look() {
  const std::uint64_t limit = descriptor_limit();
  const DescriptorPlan plan = plan_descriptors(used_descriptors(), limit);
  if (plan.pressure != pressure_) {
    pressure_ = plan.pressure;
    if (pressure_ == pool::Pressure::none) {
      spdlog::info("there are enough descriptors again: pools are warmed");
    } else {
      spdlog::warn("less than {} % of {} descriptors are free: pools are not warmed",
                   warming_percent, limit);
    }
    tell_pressure();
  }
  close_oldest(plan.to_close);
  timer_.expires_after(interval);
  timer_.async_wait([this](const boost::system::error_code& error) {
    if (!error && !stopped_) look();
  });
}

void DescriptorWatch::tell_pressure() {
  const auto now = std::chrono::steady_clock::now();
  for (std::size_t i = 0; i < upstreams_.size(); ++i) {
    upstreams_[i]->decide([&](pool::Ledger& ledger, pool::Actions& actions) {
      ledger.set_pressure(pressure_, now, actions);
    });
  }
}

void DescriptorWatch::close_oldest(std::uint64_t count) {
  for (; count > 0; --count) {
    pool::Upstream* first = nullptr;
    pool::TimePoint oldest = pool::TimePoint::max();
    for (std::size_t i = 0; i < upstreams_.size(); ++i) {
      const auto since =
          upstreams_[i]->look([](const pool::Ledger& ledger) { return ledger.oldest_idle(); });
      if (since < oldest) {
        oldest = since;
        first = upstreams_[i].get();
      }
    }
    if (first == nullptr) return;
    first->decide(
        [](pool::Ledger& ledger, pool::Actions& actions) { return ledger.shed(1, actions); });
  }
}

}  // namespace weir::proxy
