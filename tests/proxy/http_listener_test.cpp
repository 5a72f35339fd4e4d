#include "proxy/http_listener.hpp"

#include <arpa/inet.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <future>
#include <thread>
#include <vector>

namespace weir::proxy {
namespace {

namespace http = boost::beast::http;
using namespace std::chrono_literals;

const config::Address any_port{config::Address::Kind::ipv4, "127.0.0.1", 0};

HttpResponse good() {
  return HttpResponse{http::status::ok, 11};
}

int dial(std::uint16_t port) {
  const int socket = ::socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(port);
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  EXPECT_EQ(::connect(socket, reinterpret_cast<const sockaddr*>(&address), sizeof address), 0);
  return socket;
}

void say(int socket, const std::string& text) {
  EXPECT_EQ(::send(socket, text.data(), text.size(), MSG_NOSIGNAL), std::ssize(text));
}

std::string receive_all(int socket) {
  std::string all;
  char buffer[4096];
  for (ssize_t count; (count = ::recv(socket, buffer, sizeof buffer, 0)) > 0;) {
    all.append(buffer, static_cast<std::size_t>(count));
  }
  ::close(socket);
  return all;
}

TEST(HttpListener, ClosesASilentClient) {
  HttpListener listener("test", any_port, [](const HttpRequest&) { return good(); }, 20ms);
  listener.start();
  const int silent = dial(listener.local_address().port);
  say(silent, "GET /he");
  EXPECT_EQ(receive_all(silent), "");
}

// The clients' time runs out and they go, both while the thread is busy with another one: it then
// finds the ends and the timers in one turn.
TEST(HttpListener, OutlivesClientsThatGoAsTheirTimeRunsOut) {
  constexpr auto patience = 300ms;
  std::promise<void> busy;
  std::promise<void> resume;
  HttpListener listener(
      "test", any_port,
      [&](const HttpRequest& request) {
        if (request.target() == "/slow") {
          busy.set_value();
          resume.get_future().wait();
        }
        return good();
      },
      patience);
  listener.start();
  const std::uint16_t port = listener.local_address().port;
  std::vector<int> clients(10);
  for (int& client : clients) {
    client = dial(port);
    say(client, "GET / HTTP/1.1\r\n\r\n");
    char answer[512];
    ASSERT_GT(::recv(client, answer, sizeof answer, 0), 0);  // it waits for the next request now
  }
  const int slow = dial(port);
  say(slow, "GET /slow HTTP/1.0\r\n\r\n");
  busy.get_future().wait();
  const auto all_late = std::chrono::steady_clock::now() + patience;
  for (const int client : clients) ::close(client);
  while (std::chrono::steady_clock::now() <= all_late) std::this_thread::yield();
  resume.set_value();
  EXPECT_THAT(receive_all(slow), testing::HasSubstr("200"));
  const int later = dial(port);
  say(later, "GET / HTTP/1.0\r\n\r\n");
  EXPECT_THAT(receive_all(later), testing::HasSubstr("200"));
}

TEST(HttpListener, SendsItsClientsToTheProcessThatFollows) {
  HttpListener listener("test", any_port, [](const HttpRequest&) { return good(); });
  const int queue = ::dup(listener.descriptor());  // as another process has it
  listener.start();
  const std::uint16_t port = listener.local_address().port;
  const int client = dial(port);
  say(client, "GET / HTTP/1.1\r\n\r\n");
  char answer[512];
  ASSERT_GT(::recv(client, answer, sizeof answer, 0), 0);
  listener.hand_over();
  say(client, "GET / HTTP/1.1\r\n\r\n");
  EXPECT_THAT(receive_all(client), testing::HasSubstr("Connection: close"));
  const int later = dial(port);  // waits in the queue
  const int accepted = ::accept4(queue, nullptr, nullptr, SOCK_CLOEXEC);
  EXPECT_GE(accepted, 0);
  for (const int each : {accepted, later, queue}) ::close(each);
}

class UnixHttpListenerTest : public testing::Test {
 protected:
  UnixHttpListenerTest() {
    std::string name = (std::filesystem::temp_directory_path() / "weir-http-XXXXXX").string();
    folder_ = ::mkdtemp(name.data());
    address_ = {config::Address::Kind::unix_socket, (folder_ / "socket").string(), 0};
  }
  ~UnixHttpListenerTest() override { std::filesystem::remove_all(folder_); }

  HttpListener listener() const {
    return HttpListener("test", address_, [](const HttpRequest&) { return good(); });
  }

  std::filesystem::path folder_;
  config::Address address_;
};

TEST_F(UnixHttpListenerTest, IsForItsOwnerAloneWhateverTheUmask) {
  const mode_t before = ::umask(0);
  {
    const HttpListener open = listener();
    EXPECT_EQ(std::filesystem::status(address_.host).permissions(), std::filesystem::perms(0600));
  }
  ::umask(before);
  EXPECT_FALSE(std::filesystem::exists(address_.host));
}

TEST_F(UnixHttpListenerTest, LeavesItsFileToTheProcessThatFollows) {
  {
    HttpListener open = listener();
    open.hand_over();
  }
  EXPECT_TRUE(std::filesystem::exists(address_.host));
}

TEST_F(UnixHttpListenerTest, TakesTheFileOfOneWhoIsGone) {
  const int gone = ::socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
  sockaddr_un name{};
  name.sun_family = AF_UNIX;
  address_.host.copy(name.sun_path, sizeof name.sun_path - 1);
  ASSERT_EQ(::bind(gone, reinterpret_cast<const sockaddr*>(&name), sizeof name), 0);
  ::close(gone);
  EXPECT_NO_THROW(listener());
}

TEST_F(UnixHttpListenerTest, LeavesALiveSocketAndARegularFileAlone) {
  {
    const HttpListener live = listener();
    EXPECT_THROW(listener(), std::runtime_error);
    EXPECT_TRUE(std::filesystem::is_socket(address_.host));
  }
  std::ofstream(address_.host) << "kept";
  EXPECT_THROW(listener(), std::runtime_error);
  EXPECT_TRUE(std::filesystem::is_regular_file(address_.host));
}

}  // namespace
}  // namespace weir::proxy
