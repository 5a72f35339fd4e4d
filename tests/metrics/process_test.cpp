#include "metrics/process.hpp"

#include <fcntl.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <chrono>
#include <optional>
#include <string>
#include <thread>

namespace weir::metrics {
namespace {

// The value of a family without labels, as the scrape shows it.
std::optional<double> figure(const std::string& name) {
  const std::string text = render([](Scrape& scrape) { add_process_figures(scrape); });
  const std::size_t found = text.find("\n" + name + " ");
  if (found == std::string::npos) return std::nullopt;
  return std::stod(text.substr(found + name.size() + 2));
}

TEST(Process, ShowsTheStandardFigures) {
  for (const FamilyInfo& family : catalog()) {
    if (!family.name.starts_with("process_")) continue;
    const std::optional<double> value = figure(std::string(family.name));
    ASSERT_TRUE(value) << family.name;
    EXPECT_GE(*value, 0.0) << family.name;
  }
}

TEST(Process, CountsOpenDescriptors) {
  const double before = figure("process_open_fds").value();
  double open_now = 0;
  for (int i = 0; i < ::sysconf(_SC_OPEN_MAX) && i < 65536; ++i) {
    if (::fcntl(i, F_GETFD) >= 0) ++open_now;
  }
  EXPECT_EQ(before, open_now);
  const int one = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  ASSERT_GE(one, 0);
  EXPECT_EQ(figure("process_open_fds"), before + 1);
  ::close(one);
  EXPECT_EQ(figure("process_open_fds"), before);
}

TEST(Process, CountsThreads) {
  const double before = figure("process_threads").value();
  std::jthread other([](const std::stop_token& stop) {
    while (!stop.stop_requested()) std::this_thread::yield();
  });
  // A sanitizer may start a thread of its own beside ours.
  EXPECT_GE(figure("process_threads"), before + 1);
}

TEST(Process, StartedBeforeNowAndNotLongAgo) {
  const auto now =
      std::chrono::duration<double>(std::chrono::system_clock::now().time_since_epoch());
  const double start = figure("process_start_time_seconds").value();
  EXPECT_LE(start, now.count() + 2);
  EXPECT_GE(start, now.count() - 3600);
}

TEST(Process, HoldsLessMemoryThanItHasMapped) {
  EXPECT_GT(figure("process_resident_memory_bytes").value(), 0.0);
  EXPECT_LT(figure("process_resident_memory_bytes").value(),
            figure("process_virtual_memory_bytes").value());
}

}  // namespace
}  // namespace weir::metrics
