// What passing TLS through adds to setting a session up: the client's first message is read, not
// answered, and goes on to the server as the first bytes of the tunnel.

#include <algorithm>
#include <span>

#include "proxy/session.hpp"
#include "proxy/worker.hpp"

namespace weir::proxy {
namespace {

// A line of the log has to stay one.
constexpr std::size_t most_shown = 255;

TlsOffer offer_of(const ClientHelloReader& hello) {
  TlsOffer offer;
  offer.server_name = hello.server_name();
  const auto protocols = hello.protocols();
  offer.is_one_protocol = protocols.size() == 1;
  for (const std::string_view protocol : protocols) {
    if (!offer.protocols.empty()) offer.protocols += ',';
    if (offer.protocols.size() + protocol.size() > most_shown) {
      offer.protocols += "...";
      break;
    }
    offer.protocols += protocol;
  }
  return offer;
}

}  // namespace

Task<bool> Session::read_hello() {
  stage_ = Stage::header;
  hello_ = std::make_unique<ClientHelloReader>();
  // A PROXY header before it has used up some of this time: one client, one time.
  setup_due_ = accepted_at_ + rules_->config.timeouts.header;
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
    if (state == ClientHelloReader::State::complete) {
      offer_ = std::make_unique<TlsOffer>(offer_of(*hello_));
      return true;
    }
    if (state == ClientHelloReader::State::malformed) return fail(hello_->why());
  }
  if (const auto reason = verdict()) {
    end(*reason, true);
    return false;
  }
  return std::nullopt;
}

// The name that the client asks for, as whoever has read its ClientHello says: this session, or the
// sender of the PROXY header.
std::string_view Session::server_name() const {
  if (tls_) return tls_->server_name;
  if (offer_) return offer_->server_name;
  return header_ ? std::string_view(header_->authority) : std::string_view();
}

// The one that was agreed on, or all that are offered to the server.
std::vector<std::string_view> Session::protocols() const {
  if (hello_) return hello_->protocols();
  const std::string* agreed = tls_ ? &tls_->alpn : header_ ? &header_->alpn : nullptr;
  if (agreed == nullptr || agreed->empty()) return {};
  return {*agreed};
}

}  // namespace weir::proxy
