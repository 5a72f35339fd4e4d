#include "proxy/successor.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <csignal>
#include <cstdlib>
#include <optional>
#include <string>

namespace weir::proxy {
namespace {

using testing::HasSubstr;

Invocation shell(const std::string& script) {
  return {"/bin/sh", {"sh", "-c", script}};
}

// What a script writes, with these descriptors.
std::string output_of(const std::string& script, const std::vector<GivenDescriptor>& given) {
  std::array<int, 2> ends{};
  EXPECT_EQ(::pipe2(ends.data(), O_CLOEXEC), 0);
  const auto process = launch(shell(script), given, ends[1], "THE_WORD");
  ::close(ends[1]);
  EXPECT_TRUE(process) << process.error();
  std::string all;
  std::array<char, 512> buffer{};
  for (ssize_t size; (size = ::read(ends[0], buffer.data(), buffer.size())) > 0;) {
    all.append(buffer.data(), static_cast<std::size_t>(size));
  }
  ::close(ends[0]);
  int status = 0;
  EXPECT_EQ(::waitpid(*process, &status, 0), *process);
  return all;
}

TEST(Launch, NamesWhatItGivesAndGivesNothingElse) {
  const int kept_to_us = ::open("/dev/zero", O_RDONLY);  // not even close-on-exec
  const int one = ::open("/dev/null", O_RDONLY | O_CLOEXEC);
  const int other = ::open("/dev/full", O_RDONLY | O_CLOEXEC);
  // The order is the other way round than that of the numbers.
  const std::string said = output_of(
      "[ $LISTEN_PID = $$ ] && echo good >&5; echo $LISTEN_FDS $LISTEN_FDNAMES $THE_WORD >&5;"
      "readlink /proc/$$/fd/3 /proc/$$/fd/4 >&5; ls /proc/$$/fd | grep -v '^255$' | wc -w >&5",
      {{other, "first"}, {one, "second"}});
  // Three ordinary ones, two given, the pipe; bash keeps a copy of one of them, numbered 255.
  EXPECT_EQ(said, "good\n2 first:second 5\n/dev/full\n/dev/null\n6\n");
  for (const int each : {kept_to_us, one, other}) ::close(each);
}

TEST(Launch, ReplacesWhatTheEnvironmentSaysAlready) {
  ::setenv("LISTEN_FDS", "77", 1);
  ::setenv("LISTEN_PID", "1", 1);
  ::setenv("THE_WORD", "88", 1);
  const std::string said = output_of("env | grep -c -e ^LISTEN_ -e ^THE_WORD >&3", {});
  for (const char* each : {"LISTEN_FDS", "LISTEN_PID", "THE_WORD"}) ::unsetenv(each);
  EXPECT_EQ(said, "4\n");
}

TEST(Launch, SaysWhyThereIsNone) {
  const auto process = launch({"/nowhere/weir", {"weir"}}, {}, STDERR_FILENO, "THE_WORD");
  ASSERT_FALSE(process);
  EXPECT_EQ(process.error(), "/nowhere/weir: No such file or directory");
}

TEST(Invocation, IsHowThisProgramWasStarted) {
  const Invocation invocation = Invocation::current();
  struct stat named{};
  struct stat running{};
  ASSERT_EQ(::stat(invocation.path.c_str(), &named), 0);
  ASSERT_EQ(::stat("/proc/self/exe", &running), 0);
  EXPECT_EQ(named.st_ino, running.st_ino);
  EXPECT_EQ(invocation.path.front(), '/');
  EXPECT_THAT(invocation.arguments.front(), HasSubstr("test_proxy"));
}

class SuccessorTest : public testing::Test {
 protected:
  void start(const std::string& script) {
    const auto process = successor_.start(shell(script), {}, [this](pid_t, const std::string& why) {
      EXPECT_FALSE(successor_.is_pending());
      why_ = why;
    });
    ASSERT_TRUE(process) << process.error();
    process_ = *process;
  }
  bool is_gone() const { return ::kill(process_, 0) != 0 && errno == ESRCH; }

  asio::io_context io_;
  Successor successor_{io_};
  std::optional<std::string> why_;
  pid_t process_ = 0;
};

TEST_F(SuccessorTest, GivesItsWordAndGoesOn) {
  start("printf r >&3; exec 3>&-; exec sleep 60");
  io_.run();
  EXPECT_EQ(why_, "");
  EXPECT_FALSE(is_gone());
  ::kill(process_, SIGKILL);
  ::waitpid(process_, nullptr, 0);
}

TEST_F(SuccessorTest, EndsWithAStatus) {
  start("exit 2");
  io_.run();
  EXPECT_EQ(why_, "it ended with exit status 2");
  EXPECT_TRUE(is_gone());
}

TEST_F(SuccessorTest, EndsByASignal) {
  start("kill -SEGV $$");
  io_.run();
  EXPECT_EQ(why_, "it ended by signal 11");
}

TEST_F(SuccessorTest, IsEndedWhenItIsGivenUp) {
  start("exec sleep 60");
  EXPECT_TRUE(successor_.is_pending());
  successor_.give_up();
  EXPECT_EQ(why_, "it was given up");
  EXPECT_TRUE(is_gone());
  why_.reset();
  io_.run();  // what was waited for says nothing any more
  EXPECT_EQ(why_, std::nullopt);
}

TEST_F(SuccessorTest, IsNotEndedOnceItHasGivenItsWord) {
  // It says so, by its own end, when the word is in the pipe.
  start("printf r >&3");
  siginfo_t ended{};
  ASSERT_EQ(::waitid(P_PID, static_cast<id_t>(process_), &ended, WEXITED | WNOWAIT), 0);
  successor_.give_up();
  EXPECT_EQ(why_, "");
  ::waitpid(process_, nullptr, 0);
}

TEST_F(SuccessorTest, MayBeFollowedByAnother) {
  start("exit 1");
  successor_.give_up();
  start("exit 3");
  io_.run();
  EXPECT_EQ(why_, "it ended with exit status 3");
}

}  // namespace
}  // namespace weir::proxy
