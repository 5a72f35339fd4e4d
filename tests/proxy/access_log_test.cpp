#include "proxy/access_log.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <boost/json/parse.hpp>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <thread>

#include "proxy/access_log_format.hpp"

namespace weir::proxy {
namespace {

ConnectionFacts facts(std::uint64_t id) {
  ConnectionFacts result;
  result.id = id;
  result.listener = "web";
  result.outcome = outcome(Reason::client_closed);
  return result;
}

class AccessLogTest : public testing::Test {
 protected:
  AccessLogTest() {
    std::string name = (std::filesystem::temp_directory_path() / "weir-log-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~AccessLogTest() override { std::filesystem::remove_all(folder_); }

  config::AccessLog to(const std::string& name) const {
    return {.path = (folder_ / name).string(), .format = config::LogFormat::json};
  }
  std::vector<std::string> lines(const std::string& name) const {
    std::ifstream file(folder_ / name);
    std::vector<std::string> all;
    for (std::string line; std::getline(file, line);) all.push_back(line);
    return all;
  }

  std::filesystem::path folder_;
};

TEST_F(AccessLogTest, WritesALineForEachConnectionOfEachWorker) {
  {
    AccessLog log(to("log"), 2);
    for (std::uint64_t i = 0; i < 1000; ++i) log.write(i % 2, facts(i));
    EXPECT_EQ(log.dropped(), 0U);
  }
  const auto all = lines("log");
  ASSERT_EQ(all.size(), 1000U);
  for (const std::string& line : all) {
    EXPECT_EQ(boost::json::parse(line).at("reason").as_string(), "client_closed");
  }
}

TEST_F(AccessLogTest, CountsWhatItCannotWrite) {
  AccessLog log({.path = "/dev/full", .format = config::LogFormat::json}, 1);
  for (std::uint64_t i = 0; i < 100; ++i) log.write(0, facts(i));
  for (int i = 0; i < 10'000 && log.dropped() < 100; ++i) {
    log.reopen();  // it wakes the writer; /dev/full stays full
    ::usleep(1000);
  }
  EXPECT_EQ(log.dropped(), 100U);
}

TEST_F(AccessLogTest, NeverBlocksAndLosesNoCountWhenTheReaderStalls) {
  const std::string pipe = (folder_ / "pipe").string();
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  // A reader that never reads: the pipe fills, then the ring, then lines are dropped.
  std::FILE* const reader = ::fopen(pipe.c_str(), "r+");
  constexpr std::uint64_t count = 20'000;
  std::uint64_t dropped = 0;
  std::string text;
  {
    AccessLog log({.path = pipe, .format = config::LogFormat::json}, 1);
    for (std::uint64_t i = 0; i < count; ++i) log.write(0, facts(i));
    EXPECT_GT(log.dropped(), 0U);
    // Read on so that the writer comes to an end.
    std::thread drain([&] {
      char buffer[65536];
      while (text.find("\"id\":999999,") == std::string::npos) {
        const ssize_t size = ::read(::fileno(reader), buffer, sizeof buffer);
        if (size <= 0) return;
        text.append(buffer, static_cast<std::size_t>(size));
      }
    });
    // The last line is repeated until there was room for it.
    const std::uint64_t before = log.dropped();
    std::uint64_t tries = 0;
    do {
      ++tries;
      log.write(0, facts(999'999));
    } while (log.dropped() >= before + tries);
    drain.join();
    dropped = log.dropped() - (tries - 1);
  }
  std::fclose(reader);
  const auto written = static_cast<std::uint64_t>(std::ranges::count(text, '\n'));
  EXPECT_EQ(written - 1 + dropped, count);
}

TEST_F(AccessLogTest, OpensTheFileAnew) {
  {
    AccessLog log(to("log"), 1);
    log.write(0, facts(1));
    while (lines("log").empty()) std::this_thread::yield();
    std::filesystem::rename(folder_ / "log", folder_ / "old");
    log.reopen();
    while (!std::filesystem::exists(folder_ / "log")) std::this_thread::yield();
    log.write(0, facts(2));
  }
  EXPECT_EQ(lines("old").size(), 1U);
  EXPECT_EQ(lines("log").size(), 1U);
}

// A file may grow to a limit only: the line that meets it is half written. The file is then opened
// anew, as SIGHUP does, without having been moved away.
TEST_F(AccessLogTest, FinishesAHalfLineBeforeTheNextOneInTheSameFile) {
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit limit{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &limit), 0);
  const rlimit small{.rlim_cur = 1000, .rlim_max = limit.rlim_max};
  std::string one;
  append_line(one, facts(0), config::LogFormat::json);
  ASSERT_NE(small.rlim_cur % one.size(), 0U);
  const std::uint64_t whole = small.rlim_cur / one.size();
  std::uint64_t dropped = 0;
  {
    AccessLog log(to("log"), 1);
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &small), 0);
    for (int i = 0; i < 9; ++i) log.write(0, facts(0));
    // All are written or dropped, but for the one that was begun.
    while (log.dropped() < 9 - whole - 1) std::this_thread::yield();
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
    const int watch = ::inotify_init1(IN_CLOEXEC);
    ASSERT_GE(::inotify_add_watch(watch, (folder_ / "log").c_str(), IN_OPEN), 0);
    log.reopen();
    std::array<char, 4096> event{};
    ASSERT_GT(::read(watch, event.data(), event.size()), 0);  // the writer has opened the file
    ::close(watch);
    log.write(0, facts(1));
    dropped = log.dropped();
  }
  const auto all = lines("log");
  EXPECT_EQ(all.size() + dropped, 10U);
  for (const std::string& line : all) EXPECT_NO_THROW(boost::json::parse(line)) << line;
}

TEST_F(AccessLogTest, EndsThoughNobodyReads) {
  const std::string pipe = (folder_ / "pipe").string();
  ASSERT_EQ(::mkfifo(pipe.c_str(), 0600), 0);
  const int reader = ::open(pipe.c_str(), O_RDWR | O_CLOEXEC);
  {
    AccessLog log({.path = pipe, .format = config::LogFormat::json}, 1);
    for (std::uint64_t i = 0; i < 4000; ++i) log.write(0, facts(i));
  }
  ::close(reader);
}

TEST_F(AccessLogTest, GoesOnInAnotherFileAndFormat) {
  {
    AccessLog log(to("first"), 1);
    log.write(0, facts(1));
    while (lines("first").empty()) std::this_thread::yield();
    config::AccessLog second = to("second");
    second.format = config::LogFormat::text;
    log.follow(AccessLog::Output(second));
    log.write(0, facts(2));
  }
  EXPECT_EQ(lines("first").size(), 1U);
  ASSERT_EQ(lines("second").size(), 1U);
  EXPECT_NE(lines("second").front().front(), '{');
}

TEST_F(AccessLogTest, IsSwitchedOnAndOff) {
  AccessLog log({.path = "off"}, 1);
  log.write(0, facts(1));
  log.follow(AccessLog::Output(to("log")));
  log.write(0, facts(2));
  while (lines("log").empty()) std::this_thread::yield();
  log.follow(AccessLog::Output({.path = "off"}));
  log.write(0, facts(3));
  log.follow(AccessLog::Output(to("log")));
  log.write(0, facts(4));
  while (lines("log").size() < 2) std::this_thread::yield();
  EXPECT_EQ(boost::json::parse(lines("log")[0]).at("id").as_int64(), 2);
  EXPECT_EQ(boost::json::parse(lines("log")[1]).at("id").as_int64(), 4);
  EXPECT_EQ(log.dropped(), 0U);
}

TEST_F(AccessLogTest, RefusesAFileThatCannotBeOpened) {
  EXPECT_THROW(AccessLog(to("missing/log"), 1), std::runtime_error);
}

TEST(AccessLogFormat, IsOneLineOfValidJsonWhateverThePeerSent) {
  ConnectionFacts hostile = facts(1);
  hostile.server_name = std::string("a\"b\\\n\0\xff\xc3\x28\xed\xa0\x80", 13);
  hostile.detail = "line\r\nbreak \x7f";
  std::string line;
  append_line(line, hostile, config::LogFormat::json);
  EXPECT_EQ(std::ranges::count(line, '\n'), 1);
  EXPECT_NO_THROW(boost::json::parse(line));
  line.clear();
  append_line(line, hostile, config::LogFormat::text);
  EXPECT_EQ(std::ranges::count(line, '\n'), 1);
  for (const char c : line) EXPECT_TRUE(c == '\n' || (c >= 0x20 && c < 0x7f));
}

TEST(AccessLogFormat, LeavesOutTimesThatWereNotTaken) {
  std::string line;
  append_line(line, facts(1), config::LogFormat::json);
  EXPECT_TRUE(boost::json::parse(line).at("handshake_seconds").is_null());
}

}  // namespace
}  // namespace weir::proxy
