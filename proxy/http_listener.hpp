#pragma once
// A small HTTP/1.1 server on Beast with a thread of its own, for the admin address and the demo's
// endpoints: few clients, short answers. Requests are bounded in size and time; a slow or broken
// client never holds up another one. The answering function runs on the server's thread.

#include <atomic>
#include <boost/asio/basic_socket_acceptor.hpp>
#include <boost/asio/generic/stream_protocol.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/beast/http/message.hpp>
#include <boost/beast/http/string_body.hpp>
#include <chrono>
#include <functional>
#include <memory>
#include <string>
#include <thread>

#include "config/config.hpp"
#include "proxy/task_group.hpp"

namespace weir::proxy {

using HttpRequest = boost::beast::http::request<boost::beast::http::string_body>;
using HttpResponse = boost::beast::http::response<boost::beast::http::string_body>;

class HttpListener {
 public:
  using Answer = std::function<HttpResponse(const HttpRequest&)>;

  // Binds and listens; throws std::runtime_error that names the address and the cause. A unix
  // socket is for its owner alone. `patience`: for a whole request, and for a whole answer.
  HttpListener(const std::string& name, const config::Address& bind, Answer answer,
               std::chrono::milliseconds patience = std::chrono::seconds(10));
  HttpListener(const HttpListener&) = delete;
  HttpListener& operator=(const HttpListener&) = delete;
  ~HttpListener();

  void start();
  void stop();  // ends every connection and the thread
  const config::Address& local_address() const { return address_; }

 private:
  using Protocol = asio::generic::stream_protocol;
  using Acceptor = asio::basic_socket_acceptor<Protocol, asio::io_context::executor_type>;
  using Socket = asio::basic_stream_socket<Protocol, asio::io_context::executor_type>;
  class Guard;

  Task<> accept_clients();
  Task<> serve(Socket socket);

  config::Address address_;
  Answer answer_;
  std::chrono::milliseconds patience_;
  asio::io_context io_{1};
  Acceptor acceptor_;
  TaskGroup tasks_;
  std::thread thread_;
};

}  // namespace weir::proxy
