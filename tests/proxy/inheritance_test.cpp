#include "proxy/inheritance.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cstdlib>
#include <filesystem>
#include <functional>

#include "proxy/sockets.hpp"

namespace weir::proxy {
namespace {

using Kind = config::Address::Kind;

const config::Address any_port{Kind::ipv4, "127.0.0.1", 0};

bool is_open(int descriptor) {
  return ::fcntl(descriptor, F_GETFD) >= 0;
}

class InheritanceTest : public testing::Test {
 protected:
  InheritanceTest() {
    std::string name = (std::filesystem::temp_directory_path() / "weir-given-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
  }
  ~InheritanceTest() override {
    for (const int each : sockets_) ::close(each);
    std::filesystem::remove_all(folder_);
  }

  config::Address give(const config::Address& address) {
    const auto descriptor = listen_on(address, true);
    EXPECT_TRUE(descriptor) << descriptor.error();
    sockets_.push_back(*descriptor);
    return bound_address(*descriptor, address);
  }
  config::Address give_file() {
    return give({Kind::unix_socket, (folder_ / "socket").string(), 0});
  }

  // In a process of its own, whose descriptors they are from 3 on; and after them its word's pipe.
  void in_child(const std::string& names, const std::function<void()>& check) {
    const pid_t process = ::fork();
    if (process == 0) {
      const int least = 3 + static_cast<int>(sockets_.size()) + 1;
      for (int& each : sockets_) each = ::fcntl(each, F_DUPFD, least);
      int next = 3;
      for (const int each : sockets_) ::dup2(each, next++);
      ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
      ::setenv("LISTEN_FDS", std::to_string(sockets_.size()).c_str(), 1);
      ::setenv("LISTEN_FDNAMES", names.c_str(), 1);
      check();
      std::fflush(nullptr);
      ::_exit(HasFailure() ? 1 : 0);
    }
    int status = 0;
    ::waitpid(process, &status, 0);
    EXPECT_EQ(status, 0);
  }

  std::filesystem::path folder_;
  std::vector<int> sockets_;
};

TEST_F(InheritanceTest, HasOneBindingForEachAddress) {
  const config::Address one = give(any_port);
  give(one);
  const config::Address other = give({Kind::ipv6, "::1", 0});
  in_child("", [&] {
    const Inheritance inheritance = Inheritance::take();
    const auto bindings = inheritance.bindings();
    ASSERT_EQ(bindings.size(), 2U);
    EXPECT_EQ(bindings[0]->asked, one);
    EXPECT_EQ(hold(bindings[0]).sockets.size(), 2U);
    EXPECT_EQ(bindings[1]->bound, other);
    for (const char* each : {"LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES"}) {
      EXPECT_EQ(std::getenv(each), nullptr);
    }
    for (const int each : {3, 4, 5}) EXPECT_EQ(::fcntl(each, F_GETFD), FD_CLOEXEC);
  });
}

TEST_F(InheritanceTest, FindsByNameForAnyPort) {
  const config::Address one = give(any_port);
  const config::Address two = give(any_port);
  const config::Address three = give(any_port);
  in_child("weir.listener.web:web:weir.admin", [&] {
    const Inheritance inheritance = Inheritance::take();
    const auto web = inheritance.named("web");
    ASSERT_EQ(web.size(), 2U);
    EXPECT_EQ(web[0]->asked, any_port);
    EXPECT_EQ(web[0]->bound, one);
    EXPECT_EQ(web[1]->bound, two);
    EXPECT_TRUE(inheritance.named("admin").empty());  // that is a listener's name
    EXPECT_EQ(inheritance.admin(any_port).binding->bound, three);
    EXPECT_EQ(inheritance.admin(two).binding->bound, two);
    EXPECT_EQ(inheritance.admin({Kind::ipv4, "0.0.0.0", 0}).binding, nullptr);
  });
}

TEST_F(InheritanceTest, ClosesWhatNobodyHasTaken) {
  give(any_port);
  give(any_port);
  in_child("", [&] {
    Inheritance inheritance = Inheritance::take();
    const auto taken = hold(inheritance.bindings().front());
    inheritance.enter();
    EXPECT_TRUE(inheritance.bindings().empty());
    EXPECT_TRUE(is_open(3));
    EXPECT_FALSE(is_open(4));
  });
}

TEST_F(InheritanceTest, LeavesTheFileAloneUntilItServes) {
  const std::string path = give_file().host;
  in_child("weir.listener.web", [&] { Inheritance::take(); });
  EXPECT_TRUE(std::filesystem::exists(path));
  in_child("web", [&] { Inheritance::take().enter(); });
  EXPECT_TRUE(std::filesystem::exists(path));  // a service manager's
  in_child("weir.listener.web", [&] { Inheritance::take().enter(); });
  EXPECT_FALSE(std::filesystem::exists(path));
}

TEST_F(InheritanceTest, GivesItsWordOnce) {
  std::array<int, 2> ends{};
  ASSERT_EQ(::pipe2(ends.data(), O_NONBLOCK), 0);
  // Away from where the given sockets go.
  for (int& end : ends) {
    const int low = end;
    end = ::fcntl(low, F_DUPFD, 100);
    ::close(low);
  }
  give(any_port);
  in_child("", [&] {
    ::setenv(ready_variable, std::to_string(ends[1]).c_str(), 1);
    Inheritance inheritance = Inheritance::take();
    char word = 0;
    EXPECT_EQ(::read(ends[0], &word, 1), -1);
    inheritance.enter();
    EXPECT_EQ(::read(ends[0], &word, 1), 1);
    EXPECT_FALSE(is_open(ends[1]));
    inheritance.enter();
  });
  for (const int each : ends) ::close(each);
}

TEST_F(InheritanceTest, TakesNothingThatIsForAnotherProcess) {
  give(any_port);
  in_child("", [&] {
    for (const char* process : {"1", "", "x", "-1", "99999999999999"}) {
      ::setenv("LISTEN_PID", process, 1);
      ::setenv("LISTEN_FDS", "1", 1);
      EXPECT_TRUE(Inheritance::take().bindings().empty());
      EXPECT_TRUE(is_open(3));
    }
  });
}

TEST_F(InheritanceTest, OutlivesNonsense) {
  give(any_port);
  in_child("a:b:c", [&] {
    ::close(4);
    for (const char* count : {"2000000000", "", "x", "-1", "0", "1 "}) {
      ::setenv("LISTEN_PID", std::to_string(::getpid()).c_str(), 1);
      ::setenv("LISTEN_FDS", count, 1);
      const std::size_t found = Inheritance::take().bindings().size();
      EXPECT_EQ(found, std::string_view(count) == "2000000000" ? 1U : 0U);
    }
  });
}

}  // namespace
}  // namespace weir::proxy
