#include "proxy/dial.hpp"

#include <cerrno>
#include <cstring>
#include <span>
#include <utility>

#include "proxy/check_exchange.hpp"
#include "proxy/proxy_protocol.hpp"
#include "proxy/sockets.hpp"
#include "proxy/tls_peer.hpp"

namespace weir::proxy {
namespace {

constexpr std::size_t most_answer = 16 * 1024;

// A shortage of this machine. (EAGAIN: a unix socket's backlog is full, so somebody listens.)
bool is_ours(int error) {
  return error == EADDRNOTAVAIL || error == ENOBUFS || error == ENOMEM || error == EAGAIN;
}

}  // namespace

void Dial::begin(EventLoop& loop, DialOrder order) {
  stream_ = Stream();
  order_ = std::move(order);
  answer_.clear();
  has_spoken_ = false;
  step_ = Step::connecting;
  const KernelAddress address(order_.address);
  const int descriptor = open_socket(address.family());
  if (descriptor < 0) return end(End::ours, std::strerror(errno));
  const int result = ::connect(descriptor, address.data(), address.size());
  const int error = errno;
  if (result != 0 && error != EINPROGRESS) {
    close_descriptor(descriptor);
    const bool is_full = error == EAGAIN && address.family() == AF_UNIX;
    return end(is_ours(error) ? End::ours : End::bad,
               is_full ? "its queue of new connections is full" : std::strerror(error));
  }
  if (!stream_.open(loop, descriptor, address.transport(), *this, result != 0)) {
    return end(End::ours, std::strerror(stream_.last_error()));
  }
  if (result == 0) connected();
}

// A reset instead of a goodbye where nothing was said: a server that only saw a connection has
// nothing to clean up, and we keep no TIME_WAIT.
void Dial::close() {
  step_ = Step::none;
  if (has_spoken_) {
    stream_.hang_up();
  } else {
    stream_.abort();
  }
}

void Dial::stream_ready(Stream&) {
  switch (step_) {
    case Step::none:
      return;
    case Step::connecting: {
      if (!stream_.writable()) return;
      const int error = stream_.broken() ? pending_error(stream_.descriptor()) : 0;
      if (error != 0) return end(End::bad, std::strerror(error));
      return connected();
    }
    case Step::handshake:
      return shake_hands();
    case Step::settling:
      return settle();
    case Step::talking:
      return listen();
  }
}

// Some servers refuse the UNKNOWN of version 1: they are told our address.
std::string Dial::own_header() const {
  if (order_.proxy_protocol == config::SendProxy::v2) {
    return local_proxy_header(order_.proxy_protocol);
  }
  ProxyFacts facts;
  facts.source = local_address(stream_.descriptor());
  facts.destination = SocketAddress::from(KernelAddress(order_.address).data());
  return proxy_header(order_.proxy_protocol, facts);
}

void Dial::connected() {
  if (order_.proxy_protocol != config::SendProxy::off && !send(own_header())) return;
  if (order_.tls == nullptr) return talk();
  ssl_st* ssl = order_.tls->connect(order_.tls_host, order_.tls_sessions);
  if (ssl == nullptr) return end(End::ours, "out of memory");
  if (order_.tls_peer != nullptr) order_.tls_peer->watch(ssl);
  stream_.start_tls(ssl);
  has_spoken_ = true;
  enter(Step::handshake);
  shake_hands();
}

void Dial::shake_hands() {
  if (stream_.has_unsent() && !stream_.flush()) return end(End::bad, failure());
  switch (stream_.handshake()) {
    case Stream::Handshake::wait:
      return;
    case Stream::Handshake::failed: {
      TlsFailure failure = tls_failure(stream_);
      order_.tls->forget_sessions(order_.tls_sessions);
      return end(End::bad, std::move(failure.words));
    }
    case Stream::Handshake::done:
      break;
  }
  const bool may_refuse =
      order_.tls_peer != nullptr && order_.tls_peer->may_refuse_later(stream_.ssl());
  if (asks() || !may_refuse) return talk();
  enter(Step::settling);
  settle();
}

// Until the server has said something, be it only a ticket: what it refuses gets none.
void Dial::settle() {
  if (stream_.has_unsent() && !stream_.flush()) return end(End::bad, failure());
  while (stream_.may_read()) {
    std::size_t size = 0;
    const Read result = stream_.read(stream_.loop().plain_scratch(), size);
    if (result == Read::end) return end(End::bad, "closed right after the TLS handshake");
    if (result == Read::reset || result == Read::failed) return end(End::bad, failure());
    if (result == Read::data || has_ticket(stream_.ssl())) return talk();
  }
}

bool Dial::asks() const {
  if (order_.check == nullptr) return false;
  return order_.check->type != config::CheckType::tcp &&
         order_.check->type != config::CheckType::tls;
}

void Dial::talk() {
  if (!asks()) return end(End::good, {});
  enter(Step::talking);
  const std::string asked = question(*order_.check, order_.name);
  if (!asked.empty() && !send(asked)) return;
  listen();
}

void Dial::listen() {
  if (stream_.has_unsent() && !stream_.flush()) return end(End::bad, failure());
  for (;;) {
    Judgement judgement = judge(*order_.check, answer_);
    if (judgement.verdict != Verdict::incomplete) {
      const bool good = judgement.verdict == Verdict::good;
      return end(good ? End::good : End::bad, std::move(judgement.why));
    }
    if (answer_.size() >= most_answer) return end(End::bad, "the answer is too long");
    if (!stream_.may_read()) return;
    std::size_t size = 0;
    const std::span<std::byte> room = stream_.loop().plain_scratch();
    switch (stream_.read(room, size)) {
      case Read::again:
        if (!stream_.may_read()) return;
        continue;
      case Read::data:
        answer_.append(reinterpret_cast<const char*>(room.data()), size);
        continue;
      case Read::end:
        return end(End::bad, "closed before it had answered");
      case Read::reset:
      case Read::failed:
        return end(End::bad, failure());
    }
  }
}

// False: it has ended.
bool Dial::send(const std::string& bytes) {
  has_spoken_ = true;
  if (stream_.write(std::as_bytes(std::span(bytes)))) return true;
  end(End::bad, failure());
  return false;
}

// Why the stream is broken; to be called right after it was.
std::string Dial::failure() {
  if (stream_.is_tls() && stream_.last_error() == EPROTO) return tls_failure(stream_).words;
  return std::strerror(stream_.last_error());
}

void Dial::enter(Step step) {
  step_ = step;
  owner_.dial_stepped(*this);
}

void Dial::end(End end, std::string why) {
  step_ = Step::none;
  owner_.dial_ended(*this, end, std::move(why));
}

}  // namespace weir::proxy
