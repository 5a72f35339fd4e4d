#include "proxy/service_notify.hpp"

#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdlib>
#include <string>
#include <string_view>

namespace weir::proxy {
namespace {

class ServiceNotifyTest : public testing::Test {
 protected:
  ~ServiceNotifyTest() override {
    ::unsetenv("NOTIFY_SOCKET");
    ::close(manager_);
    if (!path_.empty()) ::unlink(path_.c_str());
  }
  void listen(const std::string& name) {
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::ranges::copy(name, address.sun_path);
    if (name.front() == '@') {
      address.sun_path[0] = 0;
    } else {
      path_ = name;
    }
    const auto size = static_cast<socklen_t>(offsetof(sockaddr_un, sun_path) + name.size());
    ASSERT_EQ(::bind(manager_, reinterpret_cast<const sockaddr*>(&address), size), 0);
    ::setenv("NOTIFY_SOCKET", name.c_str(), 1);
  }
  std::string heard() const {
    std::array<char, 512> buffer{};
    const ssize_t size = ::recv(manager_, buffer.data(), buffer.size(), MSG_DONTWAIT);
    return size < 0 ? "nothing" : std::string(buffer.data(), static_cast<std::size_t>(size));
  }

  int manager_ = ::socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
  std::string path_;
};

TEST_F(ServiceNotifyTest, ReachesASocketFile) {
  listen(testing::TempDir() + "weir-notify-" + std::to_string(::getpid()));
  notify_service("READY=1");
  EXPECT_EQ(heard(), "READY=1");
}

TEST_F(ServiceNotifyTest, ReachesAnAbstractSocket) {
  listen("@weir-notify-" + std::to_string(::getpid()));
  notify_reloading();
  const std::string state = heard();
  constexpr std::string_view start = "RELOADING=1\nMONOTONIC_USEC=";
  ASSERT_TRUE(state.starts_with(start)) << state;
  EXPECT_GT(std::stoull(state.substr(start.size())), 0U);
}

TEST_F(ServiceNotifyTest, IsNothingWhereNobodyListens) {
  notify_service("READY=1");
  for (const std::string& each :
       {std::string(), std::string("/"), std::string("/nowhere/notify"), std::string(200, 'x')}) {
    ::setenv("NOTIFY_SOCKET", each.c_str(), 1);
    notify_service("READY=1");
  }
  EXPECT_EQ(heard(), "nothing");
}

}  // namespace
}  // namespace weir::proxy
