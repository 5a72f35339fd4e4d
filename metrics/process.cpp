#include "metrics/process.hpp"

#include <dirent.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cstdint>
#include <fstream>
#include <iterator>
#include <limits>
#include <optional>
#include <sstream>
#include <string>
#include <vector>

namespace weir::metrics {
namespace {

// No limit is +Inf: what an alert subtracts from it or divides by it then never fires.
double as_double(rlim_t limit) {
  return limit == RLIM_INFINITY ? std::numeric_limits<double>::infinity()
                                : static_cast<double>(limit);
}

void add_limits(Scrape& scrape) {
  rlimit limit{};
  if (::getrlimit(RLIMIT_NOFILE, &limit) == 0) {
    scrape.gauge(Family::process_max_fds, {}, as_double(limit.rlim_cur));
  }
  if (::getrlimit(RLIMIT_AS, &limit) == 0) {
    scrape.gauge(Family::process_virtual_memory_max_bytes, {}, as_double(limit.rlim_cur));
  }
}

void add_descriptors(Scrape& scrape) {
  if (const auto count = open_descriptors()) {
    scrape.gauge(Family::process_open_fds, {}, static_cast<double>(*count));
  }
}

std::optional<double> boot_time() {
  std::ifstream file("/proc/stat");
  std::string word;
  double time = 0;
  while (file >> word) {
    if (word == "btime" && file >> time) return time;
  }
  return std::nullopt;
}

// proc(5): after the name in parentheses come the fields from 3 (state) on.
void add_stat(Scrape& scrape) {
  std::ifstream file("/proc/self/stat");
  std::string line;
  if (!std::getline(file, line) || line.rfind(')') == std::string::npos) return;
  std::istringstream rest(line.substr(line.rfind(')') + 2));
  const std::vector<std::string> fields{std::istream_iterator<std::string>(rest), {}};
  if (fields.size() < 22) return;
  const auto field = [&](std::size_t number) { return std::stod(fields[number - 3]); };
  const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
  const auto page = static_cast<double>(::sysconf(_SC_PAGESIZE));
  scrape.counter(Family::process_cpu_seconds_total, {}, (field(14) + field(15)) / ticks);
  scrape.gauge(Family::process_threads, {}, field(20));
  if (const std::optional<double> boot = boot_time()) {
    scrape.gauge(Family::process_start_time_seconds, {}, *boot + field(22) / ticks);
  }
  scrape.gauge(Family::process_virtual_memory_bytes, {}, field(23));
  scrape.gauge(Family::process_resident_memory_bytes, {}, field(24) * page);
}

}  // namespace

std::optional<std::uint64_t> open_descriptors() {
  DIR* folder = ::opendir("/proc/self/fd");
  if (folder == nullptr) return std::nullopt;
  std::uint64_t count = 0;
  while (const dirent* entry = ::readdir(folder)) {
    if (entry->d_name[0] != '.') ++count;
  }
  ::closedir(folder);
  return count - 1;  // without the folder's own
}

void add_process_figures(Scrape& scrape) {
  add_stat(scrape);
  add_descriptors(scrape);
  add_limits(scrape);
}

}  // namespace weir::metrics
