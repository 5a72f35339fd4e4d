#include "proxy/admin_client.hpp"

#include <fmt/format.h>

#include <boost/asio/basic_stream_socket.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/empty_body.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/string_body.hpp>
#include <boost/beast/http/write.hpp>
#include <optional>

#include "proxy/sockets.hpp"
#include "proxy/task.hpp"

namespace weir::proxy {
namespace {

namespace http = boost::beast::http;

// A hundred thousand connections.
constexpr std::uint64_t largest_answer = 256ULL << 20U;

using Clock = std::chrono::steady_clock;
using Protocol = asio::generic::stream_protocol;
using Error = boost::system::error_code;

class Exchange {
 public:
  Exchange(const config::Address& admin, Clock::time_point deadline)
      : address_(admin), socket_(io_), deadline_(deadline) {}

  Error connect() {
    return wait([this](auto done) {
      socket_.async_connect(Protocol::endpoint(address_.data(), address_.size()), done);
    });
  }
  Error send(std::string_view method, std::string_view target) {
    http::request<http::empty_body> request;
    request.version(11);
    request.method_string({method.data(), method.size()});
    request.target({target.data(), target.size()});
    request.set(http::field::host, "weir");
    request.set(http::field::connection, "close");
    return wait([&](auto done) { http::async_write(socket_, request, done); });
  }
  Error receive() {
    parser_.body_limit(largest_answer);
    return wait([this](auto done) { http::async_read(socket_, buffer_, parser_, done); });
  }
  AdminAnswer answer() { return {parser_.get().result_int(), std::move(parser_.get().body())}; }

 private:
  // Starts what is to be done and stays until it is, or until the time is up.
  template <class Start>
  Error wait(Start start) {
    std::optional<Error> result;
    start([&result](const Error& error, std::size_t = 0) { result = error; });
    io_.restart();
    io_.run_until(deadline_);
    if (result) return *result;
    Error ignored;
    socket_.close(ignored);
    io_.run();  // what was started ends before its buffers do
    return asio::error::timed_out;
  }

  KernelAddress address_;
  asio::io_context io_{1};
  asio::basic_stream_socket<Protocol, asio::io_context::executor_type> socket_;
  Clock::time_point deadline_;
  boost::beast::flat_buffer buffer_;
  http::response_parser<http::string_body> parser_;
};

}  // namespace

std::expected<AdminAnswer, std::string> ask_admin(const config::Address& admin,
                                                  std::string_view method, std::string_view target,
                                                  std::chrono::milliseconds patience) {
  Exchange exchange(admin, Clock::now() + patience);
  if (const Error error = exchange.connect()) {
    return std::unexpected(
        fmt::format("cannot reach weir at {}: {}", admin.text(), error.message()));
  }
  Error error = exchange.send(method, target);
  if (!error) error = exchange.receive();
  if (error) {
    return std::unexpected(
        fmt::format("weir at {} does not answer: {}", admin.text(), error.message()));
  }
  return exchange.answer();
}

std::expected<std::string, std::string> read_admin(const config::Address& admin,
                                                   std::string_view target) {
  auto answer = ask_admin(admin, "GET", target);
  if (!answer) return std::unexpected(answer.error());
  if (answer->status != 200) {
    return std::unexpected(
        fmt::format("weir at {} answers {} to {}", admin.text(), answer->status, target));
  }
  return std::move(answer->body);
}

}  // namespace weir::proxy
