#include "proxy/http_listener.hpp"

#include <fcntl.h>

#include <boost/asio/as_tuple.hpp>
#include <boost/asio/basic_waitable_timer.hpp>
#include <boost/asio/deferred.hpp>
#include <boost/asio/post.hpp>
#include <boost/beast/core/flat_buffer.hpp>
#include <boost/beast/http/parser.hpp>
#include <boost/beast/http/read.hpp>
#include <boost/beast/http/write.hpp>
#include <cerrno>
#include <cstring>
#include <stdexcept>
#include <tuple>

#include "proxy/sockets.hpp"

namespace weir::proxy {
namespace {

namespace beast = boost::beast;
namespace http = beast::http;
using namespace std::chrono_literals;

constexpr std::uint32_t most_header_bytes = 8 * 1024;
constexpr std::uint64_t most_body_bytes = 4 * 1024;
constexpr std::uint64_t most_clients = 64;
constexpr auto accept_pause = 100ms;  // when there is no descriptor

constexpr auto as_result = asio::as_tuple(asio::deferred);

using Timer = asio::basic_waitable_timer<std::chrono::steady_clock,
                                         asio::wait_traits<std::chrono::steady_clock>,
                                         asio::io_context::executor_type>;

BindingPointer listen_at(const std::string& name, const config::Address& address, int& descriptor) {
  const auto opened = listen_on(address, false, true);
  if (!opened) throw std::runtime_error(name + ": " + opened.error());
  descriptor = *opened;
  const auto binding = std::make_shared<Binding>();
  binding->asked = address;
  binding->bound = bound_address(descriptor, address);
  if (binding->is_unix()) binding->file = std::make_shared<SocketFile>(address.host);
  return binding;
}

HttpResponse refusal(http::status status, std::string text) {
  HttpResponse response{status, 11};
  response.set(http::field::content_type, "text/plain; charset=utf-8");
  response.body() = std::move(text);
  return response;
}

}  // namespace

// Closes the socket when its time is up. A timer that has run out may find its handler queued
// behind the end of the session: cancelling does not call it back, so it holds no reference to
// either.
class HttpListener::Guard {
 public:
  Guard(Socket& socket, std::chrono::milliseconds patience)
      : watched_(std::make_shared<Watched>(&socket)),
        timer_(socket.get_executor()),
        patience_(patience) {}
  Guard(const Guard&) = delete;
  Guard& operator=(const Guard&) = delete;
  ~Guard() { watched_->socket = nullptr; }

  void restart() {
    timer_.expires_after(patience_);
    const std::uint64_t round = ++watched_->round;
    timer_.async_wait([watched = watched_, round](const boost::system::error_code& error) {
      if (error || watched->socket == nullptr || watched->round != round) return;
      boost::system::error_code ignored;
      watched->socket->close(ignored);
    });
  }

 private:
  struct Watched {
    explicit Watched(Socket* guarded) : socket(guarded) {}
    Socket* socket;
    std::uint64_t round = 0;  // a restart makes the handlers of earlier ones void
  };

  std::shared_ptr<Watched> watched_;
  Timer timer_;
  std::chrono::milliseconds patience_;
};

HttpListener::HttpListener(const std::string& name, const config::Address& bind, Answer answer,
                           std::chrono::milliseconds patience, OpenBinding given)
    : binding_(std::move(given.binding)),
      given_(std::move(given.sockets)),
      answer_(std::move(answer)),
      patience_(patience),
      acceptor_(io_),
      tasks_(io_) {
  int descriptor = -1;
  if (binding_ == nullptr) {
    binding_ = listen_at(name, bind, descriptor);
  } else {
    descriptor = ::fcntl(given_.front()->descriptor(), F_DUPFD_CLOEXEC, 0);
    if (descriptor < 0) throw std::runtime_error(name + ": " + std::strerror(errno));
  }
  acceptor_.assign(Protocol(KernelAddress(bind).family(), 0), descriptor);
}

HttpListener::~HttpListener() {
  stop();
}

void HttpListener::start() {
  tasks_.spawn("http accept", accept_clients());
  thread_ = std::thread([this] { io_.run(); });
}

void HttpListener::stop() {
  if (!thread_.joinable()) return;
  io_.stop();
  thread_.join();
}

// Its queue is the other process's as well, and outlives this socket.
void HttpListener::hand_over() {
  if (binding_->file) binding_->file->hand_over();
  asio::post(io_, [this] {
    handed_over_ = true;
    boost::system::error_code ignored;
    acceptor_.close(ignored);
  });
}

Task<> HttpListener::accept_clients() {
  Timer pause(io_.get_executor());
  while (acceptor_.is_open()) {
    Socket socket(io_);
    auto [error] = co_await acceptor_.async_accept(socket, as_result);
    if (error == asio::error::operation_aborted) co_return;
    if (error) {
      pause.expires_after(accept_pause);
      co_await pause.async_wait(as_result);
      continue;
    }
    // One for this loop itself.
    if (tasks_.running() <= most_clients) tasks_.spawn("http client", serve(std::move(socket)));
  }
}

Task<> HttpListener::serve(Socket socket) {
  beast::flat_buffer buffer{most_header_bytes + most_body_bytes};
  Guard guard(socket, patience_);
  for (;;) {
    guard.restart();
    http::request_parser<http::string_body> parser;
    parser.header_limit(most_header_bytes);
    parser.body_limit(most_body_bytes);
    auto [read_error, read_size] = co_await http::async_read(socket, buffer, parser, as_result);
    HttpResponse response;
    bool keep = false;
    if (!read_error) {
      const HttpRequest& request = parser.get();
      keep = request.keep_alive() && !handed_over_;
      response = answer_(request);
      response.version(request.version());
    } else if (read_error == http::error::header_limit ||
               read_error == http::error::buffer_overflow) {
      response = refusal(http::status::request_header_fields_too_large, "header too large\n");
    } else if (read_error == http::error::body_limit) {
      response = refusal(http::status::payload_too_large, "body too large\n");
    } else if (read_error.category() ==
                   beast::http::make_error_code(http::error::bad_method).category() &&
               read_error != http::error::end_of_stream &&
               read_error != http::error::partial_message) {
      response = refusal(http::status::bad_request, "bad request\n");
    } else {
      co_return;
    }
    response.keep_alive(keep);
    response.set(http::field::server, "weir");
    const std::size_t body_size = response.body().size();
    if (!read_error && parser.get().method() == http::verb::head) {
      response.body().clear();
      response.content_length(body_size);
    } else {
      response.prepare_payload();
    }
    guard.restart();
    http::response_serializer<http::string_body> serializer(response);
    auto [write_error, write_size] = co_await http::async_write(socket, serializer, as_result);
    if (write_error || !keep) {
      boost::system::error_code ignored;
      socket.shutdown(asio::socket_base::shutdown_send, ignored);
      co_return;
    }
  }
}

}  // namespace weir::proxy
