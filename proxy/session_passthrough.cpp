// What passing TLS through adds to setting a session up: the client's first message is read, not
// answered, and goes on to the server as the first bytes of the tunnel.

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "proxy/session.hpp"
#include "proxy/worker.hpp"

namespace weir::proxy {

Task<bool> Session::read_hello() {
  stage_ = Stage::header;
  hello_ = std::make_unique<ClientHelloReader>();
  // A PROXY header before it has used up some of this time: one client, one time.
  setup_due_ = accepted_at_ + listener_.config().timeouts.header;
  set_deadline();
  for (;;) {
    const auto settled = judge_hello();
    if (settled) co_return *settled;
    co_await wakeup_.wait();
  }
}

// Nothing: more has to come. False: the session has ended.
std::optional<bool> Session::judge_hello() {
  const auto fail = [this](std::string_view why) {
    detail_ = why;
    end(Reason::client_tls_failed, false);
    return false;
  };
  const std::span<std::byte> scratch = worker_.loop().plain_scratch();
  while (client_.may_read()) {
    const auto room = scratch.first(std::min(scratch.size(), hello_->room()));
    std::size_t size = 0;
    const Read result = client_.read(room, size);
    if (result == Read::again) break;
    if (result == Read::end) {
      if (!hello_->seen().empty()) return fail("the ClientHello is cut off");
      end(Reason::client_closed, false);
      return false;
    }
    if (result != Read::data) {
      end(Reason::client_reset, true);
      return false;
    }
    last_byte_at_ = worker_.loop().now();
    const ClientHelloReader::State state = hello_->add(room.first(size));
    if (state == ClientHelloReader::State::complete) return true;
    if (state == ClientHelloReader::State::malformed) return fail(hello_->why());
  }
  if (const auto reason = verdict()) {
    end(*reason, true);
    return false;
  }
  return std::nullopt;
}

// What the client has asked for, as whoever has read its ClientHello says: this session, or the
// sender of the PROXY header.
std::string_view Session::server_name() const {
  if (tls_) return tls_->server_name;
  if (hello_) return hello_->server_name();
  return header_ ? std::string_view(header_->authority) : std::string_view();
}

// The one that was agreed on, or all that are offered to the server behind.
std::span<const std::string> Session::protocols() const {
  if (hello_) return hello_->protocols();
  const std::string* agreed = tls_ ? &tls_->alpn : header_ ? &header_->alpn : nullptr;
  if (agreed == nullptr || agreed->empty()) return {};
  return {agreed, 1};
}

void Session::add_hello(ConnectionFacts& facts) const {
  facts.server_name = hello_->server_name();
  facts.alpn = fmt::format("{}", fmt::join(hello_->protocols(), ","));
  if (!tunnel_) facts.client_received = hello_->seen().size();
}

}  // namespace weir::proxy
