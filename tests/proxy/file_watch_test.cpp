#include "proxy/file_watch.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <filesystem>
#include <fstream>
#include <memory>

#include "tests/support/scratch_directory.hpp"

namespace weir::proxy {
namespace {

namespace fs = std::filesystem;
using namespace std::chrono_literals;
using testing::ElementsAre;
using testing::IsEmpty;

constexpr auto settling = 20ms;
constexpr WatchPace only_events{settling, 1h};

class FileWatching : public testing::Test {
 protected:
  FileWatching() { make(only_events); }

  void make(WatchPace pace) {
    watch_ = std::make_unique<FileWatch>(
        io_,
        [this](std::vector<std::string> changed) {
          for (std::string& path : changed) path.erase(0, at_.path("").size());
          reports_.push_back(std::move(changed));
          if (on_report_) on_report_();
        },
        pace);
  }

  void follow(const std::vector<std::string>& names) {
    std::vector<std::string> paths;
    for (const std::string& name : names) paths.push_back(at_.path(name));
    watch_->follow(contents_now(paths));
  }

  // The next report; empty when none comes.
  std::vector<std::string> report() {
    const auto deadline = std::chrono::steady_clock::now() + 20s;
    while (reports_.empty() && std::chrono::steady_clock::now() < deadline) io_.run_one_for(100ms);
    if (reports_.empty()) return {};
    std::vector<std::string> first = std::move(reports_.front());
    reports_.erase(reports_.begin());
    return first;
  }

  // True when nothing that happened until now is a change: one that comes now comes alone.
  bool nothing_else_has_changed() {
    at_.write("witness", "changed " + std::to_string(++changes_));
    const auto alone = report();
    EXPECT_THAT(alone, ElementsAre("witness"));
    return alone.size() == 1 && reports_.empty();
  }

  ScratchDirectory at_;
  boost::asio::io_context io_;
  std::vector<std::vector<std::string>> reports_;
  std::function<void()> on_report_;
  std::unique_ptr<FileWatch> watch_;
  int changes_ = 0;
};

TEST_F(FileWatching, SeesAFileWrittenInPlace) {
  at_.write("a", "1");
  at_.write("b", "1");
  follow({"a", "b"});
  at_.write("a", "2");
  EXPECT_THAT(report(), ElementsAre("a"));
  at_.write("a", "3");
  EXPECT_THAT(report(), ElementsAre("a"));
}

TEST_F(FileWatching, SeesAFileRenamedOver) {
  at_.write("a", "1");
  follow({"a"});
  at_.replace("a", "2");
  EXPECT_THAT(report(), ElementsAre("a"));
  at_.write("a", "3");
  EXPECT_THAT(report(), ElementsAre("a"));
}

TEST_F(FileWatching, SaysNothingWhereTheContentIsTheSame) {
  at_.write("a", "1");
  at_.write("witness", "");
  follow({"a", "witness"});
  fs::last_write_time(at_.path("a"), fs::file_time_type::clock::now() + 1h);
  EXPECT_TRUE(nothing_else_has_changed());
  fs::permissions(at_.path("a"), fs::perms::owner_read);
  EXPECT_TRUE(nothing_else_has_changed());
  at_.replace("a", "1");
  EXPECT_TRUE(nothing_else_has_changed());
  at_.write("a", "2");
  at_.write("a", "1");
  at_.write("beside", "1");
  EXPECT_TRUE(nothing_else_has_changed());
}

TEST_F(FileWatching, SeesTheDataOfAMountSwapped) {
  at_.write("mount/..1/a", "1");
  at_.write("mount/..1/b", "1");
  at_.write("mount/..2/a", "2");
  at_.write("mount/..2/b", "1");
  at_.link("..1", "mount/..data");
  at_.link("..data/a", "mount/a");
  at_.link("..data/b", "mount/b");
  at_.link("../mount", "etc/certs");
  at_.write("witness", "");
  follow({"etc/certs/a", "etc/certs/b", "witness"});
  at_.link("..2", "mount/..data");
  fs::remove_all(at_.path("mount/..1"));
  EXPECT_THAT(report(), ElementsAre("etc/certs/a"));
  // What it is now is watched as well.
  at_.write("mount/..2/b", "2");
  EXPECT_THAT(report(), ElementsAre("etc/certs/b"));
  at_.write("mount/..3/a", "2");
  at_.write("mount/..3/b", "2");
  at_.link("..3", "mount/..data");
  EXPECT_TRUE(nothing_else_has_changed());
}

TEST_F(FileWatching, SeesEveryLinkOnTheWayChange) {
  at_.write("one/a", "1");
  at_.write("two/a", "2");
  at_.write("three/a", "3");
  at_.link("one", "middle");
  at_.link(at_.path("middle"), "first");
  follow({"first/a"});
  at_.link("two", "middle");
  EXPECT_THAT(report(), ElementsAre("first/a"));
  at_.link("three", "first");
  EXPECT_THAT(report(), ElementsAre("first/a"));
  at_.replace("three/a", "4");
  EXPECT_THAT(report(), ElementsAre("first/a"));
}

TEST_F(FileWatching, SeesAFileGoAndComeBack) {
  at_.write("a", "1");
  follow({"a"});
  fs::remove(at_.path("a"));
  EXPECT_THAT(report(), ElementsAre("a"));
  at_.write("a", "1");
  EXPECT_THAT(report(), ElementsAre("a"));
}

TEST_F(FileWatching, SeesADirectoryGoAndComeBack) {
  at_.write("x/y/a", "1");
  follow({"x/y/a"});
  fs::remove_all(at_.path("x"));
  EXPECT_THAT(report(), ElementsAre("x/y/a"));
  at_.write("x/y/a", "1");
  EXPECT_THAT(report(), ElementsAre("x/y/a"));
  fs::rename(at_.path("x"), at_.path("old"));
  at_.write("x/y/a", "2");
  EXPECT_THAT(report(), ElementsAre("x/y/a"));
  at_.write("x/y/a", "3");
  EXPECT_THAT(report(), ElementsAre("x/y/a"));
}

TEST_F(FileWatching, WaitsForAFileThatIsBeingWritten) {
  at_.write("a", "");
  follow({"a"});
  std::ofstream file(at_.path("a"));
  for (int i = 0; i < 40; ++i) {
    file << "a line\n" << std::flush;
    io_.run_for(settling / 4);
    ASSERT_THAT(reports_, IsEmpty());
  }
  std::uintmax_t size = 0;
  on_report_ = [&] { size = fs::file_size(at_.path("a")); };
  file << "the end\n" << std::flush;
  EXPECT_THAT(report(), ElementsAre("a"));
  EXPECT_EQ(size, 40U * 7 + 8);
}

TEST_F(FileWatching, ReportsOthersThoughAFileIsNeverQuiet) {
  at_.write("a", "");
  at_.write("busy", "");
  follow({"a", "busy"});
  boost::asio::steady_timer timer(io_);
  int count = 0;
  const std::function<void()> write = [&] {
    at_.write("busy", std::to_string(++count));
    timer.expires_after(settling / 4);
    timer.async_wait([&](const boost::system::error_code& error) {
      if (!error) write();
    });
  };
  write();
  at_.write("a", "1");
  EXPECT_THAT(report(), ElementsAre("a"));
}

TEST_F(FileWatching, ReportsManyFilesAtOnce) {
  make({5 * settling, 1h});
  std::vector<std::string> names;
  for (int i = 100; i < 300; ++i) names.push_back("directory/" + std::to_string(i));
  for (const std::string& name : names) at_.write(name, "1");
  at_.write("witness", "");
  names.emplace_back("witness");
  follow(names);
  names.pop_back();
  for (const std::string& name : names) {
    at_.replace(name, "2");
    io_.poll();
  }
  EXPECT_EQ(report(), names);
  EXPECT_TRUE(nothing_else_has_changed());
}

TEST_F(FileWatching, ReportsWhatChangedBetweenLoadingAndFollowing) {
  at_.write("a", "1");
  at_.write("b", "1");
  at_.write("c", "1");
  at_.write("witness", "");
  auto loaded = contents_now({at_.path("a"), at_.path("b"), at_.path("c"), at_.path("witness")});
  at_.write("a", "2");
  // Nobody knows whether its reader has seen the content that is gone again.
  at_.replace("b", "2");
  at_.replace("b", "1");
  watch_->follow(std::move(loaded));
  EXPECT_THAT(report(), ElementsAre("a", "b"));
  EXPECT_TRUE(nothing_else_has_changed());
}

TEST_F(FileWatching, FollowsOthersWhileSomethingIsPending) {
  at_.write("a", "1");
  at_.write("witness", "1");
  follow({"a", "witness"});
  at_.write("a", "2");
  io_.run_for(settling / 2);
  follow({"witness"});
  EXPECT_TRUE(nothing_else_has_changed());
  at_.write("a", "3");
  EXPECT_TRUE(nothing_else_has_changed());
}

TEST_F(FileWatching, MayFollowOthersWhenItReports) {
  at_.write("a", "1");
  at_.write("b", "1");
  follow({"a"});
  on_report_ = [&] {
    on_report_ = nullptr;
    follow({"b"});
    at_.write("b", "2");
  };
  at_.write("a", "2");
  EXPECT_THAT(report(), ElementsAre("a"));
  EXPECT_THAT(report(), ElementsAre("b"));
}

TEST_F(FileWatching, EndsWithEventsPending) {
  at_.write("a", "1");
  for (const auto time : {0ms, settling / 2}) {
    make(only_events);
    follow({"a"});
    at_.replace("a", "2");
    io_.run_for(time);
    watch_.reset();
    io_.restart();
    io_.run();  // nothing is left that keeps it
    io_.restart();
  }
  EXPECT_THAT(reports_, IsEmpty());
}

TEST_F(FileWatching, MayBeEndedByItsReport) {
  at_.write("a", "1");
  follow({"a"});
  on_report_ = [&] { watch_.reset(); };
  at_.write("a", "2");
  EXPECT_THAT(report(), ElementsAre("a"));
  io_.run();
}

TEST_F(FileWatching, SaysNothingOnceStopped) {
  at_.write("a", "1");
  follow({"a"});
  at_.write("a", "2");
  io_.run_for(settling / 2);
  watch_->stop();
  io_.run();
  EXPECT_THAT(reports_, IsEmpty());
}

TEST_F(FileWatching, FindsWhatNobodyAnnounces) {
  make({settling, 20ms});
  at_.write("a", "1");
  follow({"a"});
  // A write to mapped memory makes no event; closing the file would.
  const int file = ::open(at_.path("a").c_str(), O_RDWR | O_CLOEXEC);
  void* memory = ::mmap(nullptr, 1, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
  ASSERT_NE(memory, MAP_FAILED);
  *static_cast<char*>(memory) = '2';
  ::msync(memory, 1, MS_SYNC);
  EXPECT_THAT(report(), ElementsAre("a"));
  ::munmap(memory, 1);
  ::close(file);
}

TEST_F(FileWatching, SurvivesAShortageOfDescriptors) {
  make({settling, 20ms});
  at_.write("a", "1");
  rlimit before{};
  ::getrlimit(RLIMIT_NOFILE, &before);
  std::vector<FollowedContent> loaded = contents_now({at_.path("a")});
  const rlimit none{0, before.rlim_max};
  ::setrlimit(RLIMIT_NOFILE, &none);
  watch_->follow(std::move(loaded));
  io_.run_for(100ms);  // looks at everything, in vain
  ::setrlimit(RLIMIT_NOFILE, &before);
  EXPECT_THAT(reports_, IsEmpty());
  at_.write("a", "2");
  EXPECT_THAT(report(), ElementsAre("a"));
}

TEST_F(FileWatching, LooksAtEverythingWhenEventsAreLost) {
  int most = 0;
  std::ifstream("/proc/sys/fs/inotify/max_queued_events") >> most;
  if (most == 0 || most > 200'000) GTEST_SKIP() << "the kernel keeps " << most << " events";
  at_.write("x", "");
  at_.write("y", "");
  at_.write("a", "1");
  follow({"a"});
  // Of equal events in a row the kernel keeps one.
  for (int i = 0; i < most; ++i) {
    ::utimensat(AT_FDCWD, at_.path(i % 2 == 0 ? "x" : "y").c_str(), nullptr, 0);
  }
  at_.write("a", "2");
  EXPECT_THAT(report(), ElementsAre("a"));
}

TEST_F(FileWatching, LeavesPipesAlone) {
  ::mkfifo(at_.path("pipe").c_str(), 0600);
  at_.write("witness", "");
  auto contents = contents_now({at_.path("witness")});
  contents.push_back({at_.path("pipe"), digest_of("what came out of it")});
  watch_->follow(std::move(contents));
  EXPECT_TRUE(nothing_else_has_changed());
}

class ConfigurationWatching : public FileWatching {
 protected:
  std::vector<FollowedContent> load(const std::string& include) {
    at_.write("witness", "");
    at_.write("weir.yaml", "version: 1\ninclude: [" + include + ", witness]\n");
    return contents_of(config::load_file(at_.path("weir.yaml")));
  }
};

TEST_F(ConfigurationWatching, SeesFilesOfAPatternComeAndGo) {
  at_.write("conf.d/a.yaml", "{}");
  watch_->follow(load("\"conf.d/*.yaml\""));
  EXPECT_TRUE(nothing_else_has_changed());
  at_.write("conf.d/b.yaml", "{}");
  EXPECT_THAT(report(), ElementsAre("conf.d/*.yaml"));
  at_.write("conf.d/.c.yaml.swp", "{}");
  at_.write("conf.d/c.yaml~", "{}");
  EXPECT_TRUE(nothing_else_has_changed());
  fs::remove(at_.path("conf.d/a.yaml"));
  EXPECT_THAT(report(), ElementsAre("conf.d/*.yaml", "conf.d/a.yaml"));
}

TEST_F(ConfigurationWatching, SeesFilesOfDirectoriesThatAPatternFinds) {
  fs::create_directories(at_.path("teams/x"));
  watch_->follow(load("\"teams/*/weir.yaml\""));
  at_.write("teams/x/weir.yaml", "{}");
  EXPECT_THAT(report(), ElementsAre("teams/*/weir.yaml"));
  at_.write("teams/y/weir.yaml", "{}");
  EXPECT_THAT(report(), ElementsAre("teams/*/weir.yaml"));
  fs::remove_all(at_.path("teams"));
  EXPECT_THAT(report(), ElementsAre("teams/*/weir.yaml"));
}

TEST_F(ConfigurationWatching, SeesTheFileItselfAndAllThatItIncludes) {
  at_.write("a.yaml", "include: [b.yaml]\n");
  watch_->follow(load("a.yaml"));
  at_.write("b.yaml", "{}");
  EXPECT_THAT(report(), ElementsAre("b.yaml"));
  at_.write("a.yaml", "{}");
  EXPECT_THAT(report(), ElementsAre("a.yaml"));
  at_.replace("weir.yaml", "");
  EXPECT_THAT(report(), ElementsAre("weir.yaml"));
}

TEST_F(ConfigurationWatching, SeesWhatChangedSinceItWasRead) {
  at_.write("a.yaml", "{}");
  auto loaded = load("a.yaml, b.yaml, \"*.conf\"");
  at_.write("a.yaml", "# changed");
  at_.write("b.yaml", "{}");
  at_.write("c.conf", "{}");
  watch_->follow(std::move(loaded));
  EXPECT_THAT(report(), ElementsAre("*.conf", "a.yaml", "b.yaml"));
  EXPECT_TRUE(nothing_else_has_changed());
}

TEST_F(ConfigurationWatching, TakesNothingForAChangeThatIsAMistake) {
  at_.write("a.yaml", "include: [weir.yaml, b.yaml, b.yaml, /dev/null, \"/\"]\n");
  at_.write("b.yaml", std::string(5 << 20, '#'));
  at_.link("a.yaml", "same.yaml");
  watch_->follow(load("a.yaml, same.yaml, absent.yaml"));
  EXPECT_TRUE(nothing_else_has_changed());
}

TEST(TlsFiles, AreThoseTheConfigurationNames) {
  config::Config config;
  config::TlsSettings& settings = config.tls["public"];
  settings.certificates.resize(3);
  settings.certificates[0].cert = "b.pem";
  settings.certificates[0].key = "b.key";
  settings.certificates[1].cert = "a.pem";
  settings.certificates[1].key = "b.key";
  settings.certificates[2].cert_pem = "";
  settings.certificates[2].key_pem = "";
  settings.client_certificate.ca = "clients.pem";
  settings.client_certificate.crl = "revoked.pem";
  settings.session_tickets.key_file = "tickets.key";
  config.upstreams.resize(3);
  config.upstreams[1].tls.emplace();
  config.upstreams[2].tls.emplace().ca = "ca.pem";
  config::Certificate& own = config.upstreams[2].tls->certificate.emplace();
  own.cert = "own.pem";
  own.key = "own.key";
  EXPECT_THAT(tls_files(config), ElementsAre("a.pem", "b.key", "b.pem", "ca.pem", "clients.pem",
                                             "own.key", "own.pem", "revoked.pem", "tickets.key"));
}

}  // namespace
}  // namespace weir::proxy
