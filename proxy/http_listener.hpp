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
#include <vector>

#include "config/config.hpp"
#include "proxy/listening.hpp"
#include "proxy/task_group.hpp"

namespace weir::proxy {

using HttpRequest = boost::beast::http::request<boost::beast::http::string_body>;
using HttpResponse = boost::beast::http::response<boost::beast::http::string_body>;

class HttpListener {
 public:
  using Answer = std::function<HttpResponse(const HttpRequest&)>;

  // Binds and listens; throws std::runtime_error that names the address and the cause. A unix
  // socket is for its owner alone. `patience`: for a whole request, and for a whole answer.
  // `given`: the socket for `bind` that the process was given, if there is one.
  HttpListener(const std::string& name, const config::Address& bind, Answer answer,
               std::chrono::milliseconds patience = std::chrono::seconds(10),
               OpenBinding given = {});
  HttpListener(const HttpListener&) = delete;
  HttpListener& operator=(const HttpListener&) = delete;
  ~HttpListener();

  void start();
  void stop();  // ends every connection and the thread
  // Another process answers at the address from now on; whoever is connected gets one more answer.
  void hand_over();
  const config::Address& local_address() const { return binding_->bound; }
  const Binding& binding() const { return *binding_; }
  int descriptor() { return acceptor_.native_handle(); }

 private:
  using Protocol = asio::generic::stream_protocol;
  using Acceptor = asio::basic_socket_acceptor<Protocol, asio::io_context::executor_type>;
  using Socket = asio::basic_stream_socket<Protocol, asio::io_context::executor_type>;
  class Guard;

  Task<> accept_clients();
  Task<> serve(Socket socket);

  BindingPointer binding_;
  std::vector<ListeningSocketPointer> given_;
  Answer answer_;
  std::chrono::milliseconds patience_;
  asio::io_context io_{1};
  Acceptor acceptor_;
  TaskGroup tasks_;
  bool handed_over_ = false;  // on its thread
  std::thread thread_;
};

}  // namespace weir::proxy
