// The client of the admin address, with real sockets.

#include "proxy/admin_client.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include "proxy/http_listener.hpp"
#include "proxy/sockets.hpp"

namespace weir::proxy {
namespace {

using testing::HasSubstr;
using testing::StartsWith;
using namespace std::chrono_literals;

config::Address loopback(std::uint16_t port = 0) {
  return {config::Address::Kind::ipv4, "127.0.0.1", port};
}

config::Address unix_address(const std::string& name) {
  return {config::Address::Kind::unix_socket,
          testing::TempDir() + "weir_" + std::to_string(::getpid()) + name, 0};
}

// Answers with what it was asked, much of it where asked for.
HttpResponse answer(const HttpRequest& request) {
  HttpResponse response{boost::beast::http::status::ok, 11};
  if (request.target() == "/none") response.result(boost::beast::http::status::not_found);
  response.body() = std::string(request.method_string()) + " " + std::string(request.target());
  if (request.target() == "/much") response.body().assign(5'000'000, 'x');
  return response;
}

TEST(AdminClient, AsksOverEveryKindOfAddress) {
  for (const config::Address& bind : {loopback(), unix_address("asks.sock")}) {
    HttpListener server("test", bind, answer);
    server.start();
    const auto answered = ask_admin(server.local_address(), "DELETE", "/connections/7");
    ASSERT_TRUE(answered) << answered.error();
    EXPECT_EQ(answered->status, 200U);
    EXPECT_EQ(answered->body, "DELETE /connections/7");
    EXPECT_EQ(read_admin(server.local_address(), "/much").value().size(), 5'000'000U);
  }
}

TEST(AdminClient, SaysWhatItWasAnsweredInsteadOfWhatItAskedFor) {
  HttpListener server("test", loopback(), answer);
  server.start();
  const config::Address& address = server.local_address();
  EXPECT_EQ(read_admin(address, "/none").error(),
            "weir at " + address.text() + " answers 404 to /none");
  EXPECT_EQ(ask_admin(address, "GET", "/none").value().status, 404U);
}

TEST(AdminClient, NamesTheAddressThatNobodyListensOn) {
  const config::Address nobody = unix_address("nobody.sock");
  EXPECT_EQ(ask_admin(nobody, "GET", "/").error(),
            "cannot reach weir at " + nobody.text() + ": No such file or directory");
  const int descriptor = *listen_on(loopback(), false);
  const config::Address address = bound_address(descriptor, loopback());
  close_descriptor(descriptor);
  EXPECT_EQ(ask_admin(address, "GET", "/").error(),
            "cannot reach weir at " + address.text() + ": Connection refused");
}

TEST(AdminClient, DoesNotWaitForever) {
  const int descriptor = *listen_on(loopback(), false);  // and nobody accepts
  const config::Address address = bound_address(descriptor, loopback());
  const auto answered = ask_admin(address, "GET", "/", 50ms);
  EXPECT_THAT(answered.error(), StartsWith("weir at " + address.text() + " does not answer: "));
  EXPECT_THAT(answered.error(), HasSubstr("timed out"));
  close_descriptor(descriptor);
}

}  // namespace
}  // namespace weir::proxy
