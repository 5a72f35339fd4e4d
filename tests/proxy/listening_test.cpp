// The addresses that are listened on, and the files of unix sockets.

#include "proxy/listening.hpp"

#include <fcntl.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <map>

#include "proxy/sockets.hpp"

namespace weir::proxy {
namespace {

TEST(SocketFile, LeavesWhateverIsThereOnceItIsRemoved) {
  const std::string path = testing::TempDir() + "listening_test.sock";
  std::ofstream(path) << "one";
  {
    SocketFile file(path);
    file.remove();
    EXPECT_FALSE(std::filesystem::exists(path));
    std::ofstream(path) << "another";
  }
  EXPECT_TRUE(std::filesystem::exists(path));
  std::filesystem::remove(path);
}

OpenBinding binding_with(std::size_t sockets) {
  OpenBinding open{std::make_shared<Binding>(), false, {}};
  for (std::size_t i = 0; i < sockets; ++i) {
    open.sockets.push_back(std::make_shared<ListeningSocket>(::dup(STDERR_FILENO)));
  }
  return open;
}

// How many workers look at each socket.
std::map<ListeningSocketPointer, std::size_t> watchers(const OpenBinding& open,
                                                       std::size_t workers) {
  std::map<ListeningSocketPointer, std::size_t> count;
  for (std::size_t worker = 0; worker < workers; ++worker) {
    const auto its = open.of_worker(worker, workers);
    EXPECT_FALSE(its.empty()) << "worker " << worker << " has nothing to do";
    for (const auto& socket : its) ++count[socket];
  }
  return count;
}

TEST(OpenBinding, HasEachOfManySocketsWatchedByOneWorker) {
  for (const auto& [sockets, workers] : {std::pair{4, 4}, {5, 2}, {7, 3}, {3, 1}, {1, 1}}) {
    const OpenBinding open = binding_with(static_cast<std::size_t>(sockets));
    const auto count = watchers(open, static_cast<std::size_t>(workers));
    EXPECT_EQ(count.size(), open.sockets.size());
    for (const auto& each : count) EXPECT_EQ(each.second, 1U);
    EXPECT_FALSE(open.is_shared(static_cast<std::size_t>(workers)));
  }
}

TEST(OpenBinding, HasFewSocketsSharedByAllWorkers) {
  for (const auto& [sockets, workers] : {std::pair{1, 4}, {2, 3}, {3, 8}}) {
    const OpenBinding open = binding_with(static_cast<std::size_t>(sockets));
    EXPECT_EQ(watchers(open, static_cast<std::size_t>(workers)).size(), open.sockets.size());
    EXPECT_TRUE(open.is_shared(static_cast<std::size_t>(workers)));
  }
}

TEST(SocketFile, IsRemovedByWhoHasItLast) {
  std::string name = (std::filesystem::temp_directory_path() / "weir-file-XXXXXX").string();
  ::close(::mkstemp(name.data()));
  {
    SocketFile file(name);
    file.hand_over();
  }
  EXPECT_TRUE(std::filesystem::exists(name));
  {
    SocketFile file(name);
    file.hand_over();
    file.take_over();
  }
  EXPECT_FALSE(std::filesystem::exists(name));
}

TEST(ListeningAddress, IsThatOfTheConfiguration) {
  using Kind = config::Address::Kind;
  std::string folder = (std::filesystem::temp_directory_path() / "weir-bind-XXXXXX").string();
  ASSERT_NE(::mkdtemp(folder.data()), nullptr);
  for (const config::Address& asked :
       {config::Address{Kind::ipv4, "127.0.0.1", 0}, config::Address{Kind::ipv6, "::1", 0},
        config::Address{Kind::unix_socket, folder + "/socket", 0}}) {
    const auto descriptor = listen_on(asked, false);
    ASSERT_TRUE(descriptor) << descriptor.error();
    const auto found = listening_address(*descriptor);
    ASSERT_TRUE(found);
    EXPECT_EQ(*found, bound_address(*descriptor, asked));
    ::close(*descriptor);
  }
  std::filesystem::remove_all(folder);
}

TEST(ListeningAddress, IsNoneWhereTheConfigurationHasNoWord) {
  const int none = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  EXPECT_FALSE(listening_address(none));
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  // Abstract: the kernel chooses a name that begins with a zero.
  ASSERT_EQ(::bind(none, reinterpret_cast<const sockaddr*>(&name), sizeof name.sun_family), 0);
  EXPECT_FALSE(listening_address(none));
  ::close(none);
  EXPECT_FALSE(listening_address(STDERR_FILENO));
}

}  // namespace
}  // namespace weir::proxy
