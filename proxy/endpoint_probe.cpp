#include "proxy/endpoint_probe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace weir::proxy {
namespace {

using namespace std::chrono_literals;

// How long a server may think about a client's certificate before it is taken to be content.
constexpr config::Duration most_settling = 1s;

double milliseconds(Nanoseconds time) {
  return std::chrono::duration<double, std::milli>(time).count();
}

std::string_view word(config::CheckType type) {
  switch (type) {
    case config::CheckType::tcp:
      return "tcp";
    case config::CheckType::tls:
      return "tls";
    case config::CheckType::http:
      return "http";
    case config::CheckType::exchange:
      return "exchange";
    case config::CheckType::redis:
      break;
  }
  return "redis";
}

}  // namespace

EndpointProbe::EndpointProbe(const config::Upstream& upstream, const TlsClient* tls,
                             pool::EndpointPointer endpoint, std::size_t number,
                             ProbeResult& result)
    : upstream_(upstream),
      tls_(tls),
      endpoint_(std::move(endpoint)),
      number_(number),
      result_(result) {}

const config::HealthCheck* EndpointProbe::check() const {
  return upstream_.health_check ? &*upstream_.health_check : nullptr;
}

bool EndpointProbe::check_has_own_port() const {
  return check() != nullptr && check()->port != 0 && check()->port != endpoint_->address.port &&
         endpoint_->address.kind != config::Address::Kind::unix_socket;
}

DialOrder EndpointProbe::order() {
  DialOrder order;
  order.address = endpoint_->address;
  order.proxy_protocol = upstream_.proxy_protocol;
  order.tls = tls_;
  order.tls_host = endpoint_->host;
  order.tls_sessions = number_;
  order.tls_peer = &peer_;
  order.name = endpoint_->name;
  return order;
}

void EndpointProbe::start(EventLoop& loop, std::function<void()> done) {
  loop_ = &loop;
  done_ = std::move(done);
  DialOrder reach = order();
  if (!check_has_own_port()) reach.check = check();
  loop.refresh_now();
  began_ = loop.now();
  step_ = Dial::Step::connecting;
  limit(upstream_.connect_timeout);
  dial_.begin(loop, std::move(reach));
}

// As the health checker does it: one limit for all of it.
void EndpointProbe::begin_check() {
  look_at_certificate();
  phase_ = Phase::checking;
  dial_.close();
  DialOrder order = this->order();
  order.address.port = check()->port;
  if (check()->type == config::CheckType::tcp) {
    order.proxy_protocol = config::SendProxy::off;
    order.tls = nullptr;
  }
  order.check = check();
  check_began_ = std::chrono::steady_clock::now();
  step_ = Dial::Step::connecting;
  limit(check()->timeout);
  dial_.begin(*loop_, std::move(order));
}

void EndpointProbe::limit(config::Duration most) {
  set(loop_->deadlines(), loop_->now() + most);
}

void EndpointProbe::dial_stepped(Dial& dial) {
  step_ = dial.step();
  if (phase_ == Phase::checking) return;
  note_connected();
  switch (step_) {
    case Dial::Step::handshake:
      return limit(upstream_.tls_timeout);
    case Dial::Step::settling:
      note_tls();
      return limit(std::min(upstream_.tls_timeout, most_settling));
    case Dial::Step::talking:
      note_tls();
      check_began_ = std::chrono::steady_clock::now();
      return limit(check()->timeout);
    case Dial::Step::none:
    case Dial::Step::connecting:
      return;
  }
}

void EndpointProbe::note_connected() {
  if (result_.connected_milliseconds) return;
  result_.connected_milliseconds = milliseconds(std::chrono::steady_clock::now() - began_);
}

void EndpointProbe::note_tls() {
  ssl_st* const ssl = dial_.ssl();
  if (result_.tls || ssl == nullptr) return;
  const TlsFacts facts = tls_facts(ssl);
  result_.tls = {std::string(facts.version), std::string(facts.cipher), facts.alpn};
  result_.verified = upstream_.tls->verify && peer_.fault() == 0;
  if (result_.verified) result_.matched = matched_name(ssl);
}

void EndpointProbe::dial_ended(Dial&, DialEnd end, std::string why) {
  if (end != DialEnd::good) return failed(explained(std::move(why)));
  if (phase_ == Phase::reaching) {
    note_connected();
    note_tls();
  }
  passed();
}

void EndpointProbe::passed() {
  if (phase_ == Phase::reaching && check_has_own_port()) return begin_check();
  if (check() != nullptr) note_check(true);
  finish();
}

std::string EndpointProbe::expected_name() const {
  const std::string& name = upstream_.tls->server_name;
  return name.empty() ? endpoint_->host : name;
}

// With what is known of the step at which it happened.
std::string EndpointProbe::explained(std::string why) const {
  const bool in_handshake = step_ == Dial::Step::handshake || step_ == Dial::Step::settling;
  const CertificateFacts* const shown = peer_.certificate();
  if (step_ == Dial::Step::handshake && upstream_.tls->verify && peer_.fault() != 0 && shown) {
    why = fault_in_words(peer_.fault(), *shown, expected_name());
  } else if (step_ != Dial::Step::connecting && peer_.asked_for_certificate()) {
    why += upstream_.tls->certificate
               ? " (it asked for a client certificate, and was given that of `tls.certificate`)"
               : " (it asked for a client certificate, and there is no `tls.certificate`)";
  }
  if (in_handshake) why = "the TLS handshake failed: " + why;
  if (!is_checking()) return why;
  const std::string port =
      phase_ == Phase::checking ? fmt::format(" on port {}", check()->port) : std::string();
  return fmt::format("the {} check{} failed: {}", word(check()->type), port, why);
}

std::string EndpointProbe::out_of_time(Dial::Step step) const {
  const auto within = [](std::string_view key, config::Duration limit) {
    return fmt::format("within {} ({} ms)", key, limit.count());
  };
  const bool is_check = phase_ == Phase::checking;
  const std::string check_limit =
      check() == nullptr ? std::string() : within("health_check.timeout", check()->timeout);
  switch (step) {
    case Dial::Step::none:
    case Dial::Step::connecting:
      return "no connection " +
             (is_check ? check_limit : within("connect_timeout", upstream_.connect_timeout));
    case Dial::Step::handshake:
    case Dial::Step::settling:
      return "not done " + (is_check ? check_limit : within("tls_timeout", upstream_.tls_timeout));
    case Dial::Step::talking:
      break;
  }
  return "no answer " + check_limit;
}

void EndpointProbe::expired(TimePoint) {
  // It had the time to refuse our certificate.
  if (dial_.step() == Dial::Step::settling && phase_ == Phase::reaching) return passed();
  failed(explained(out_of_time(dial_.step())));
}

void EndpointProbe::failed(const std::string& why) {
  result_.fault = why;
  if (is_checking()) note_check(false);
  finish();
}

bool EndpointProbe::is_checking() const {
  return phase_ == Phase::checking || step_ == Dial::Step::talking;
}

// What asks for no answer is passed with the connection.
void EndpointProbe::note_check(bool passed) {
  const Nanoseconds took =
      std::chrono::steady_clock::now() - (is_checking() ? check_began_ : began_);
  result_.check = {std::string(word(check()->type)), passed, milliseconds(took)};
}

void EndpointProbe::look_at_certificate() {
  const CertificateFacts* shown = peer_.certificate();
  if (shown == nullptr) return;
  result_.certificate = *shown;
  if (!result_.tls) return;  // refused: the fault says why
  const auto now = std::chrono::system_clock::now();
  if (ends_soon(shown->not_after, now)) {
    result_.warnings.push_back("the server's certificate " +
                               expiry_in_words(shown->not_after, now));
  }
  if (peer_.fault() != 0) {
    result_.notes.push_back("`verify` would refuse it: " +
                            fault_in_words(peer_.fault(), *shown, expected_name()));
  }
  if (peer_.asked_for_certificate() && !upstream_.tls->certificate) {
    result_.notes.push_back("the server asked for a client certificate, and went on without");
  }
}

void EndpointProbe::finish() {
  if (phase_ == Phase::reaching) look_at_certificate();
  clear();
  dial_.close();
  done_();
}

}  // namespace weir::proxy
