#pragma once
// A TLS client of OpenSSL's at the far end of a socket pair. It keeps its records in memory and
// does at each pump() what can be done without waiting, so one thread plays it and turns the loop.

#include <gtest/gtest.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tests/support/socket_pair.hpp"

namespace weir::proxy {

class TlsPeer {
 public:
  using Context = std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)>;
  using Session = std::unique_ptr<SSL_SESSION, decltype(&SSL_SESSION_free)>;

  static Context make_context(int version) {
    Context context(SSL_CTX_new(TLS_client_method()), &SSL_CTX_free);
    SSL_CTX_set_min_proto_version(context.get(), version);
    SSL_CTX_set_max_proto_version(context.get(), version);
    SSL_CTX_set_session_cache_mode(context.get(), SSL_SESS_CACHE_CLIENT);
    SSL_CTX_sess_set_new_cb(context.get(), &TlsPeer::keep_session);
    SSL_CTX_set_msg_callback(context.get(), &TlsPeer::note_message);
    return context;
  }

  TlsPeer(SocketPair& pair, SSL_CTX* context, SSL_SESSION* session)
      : pair_(pair), ssl_(SSL_new(context), &SSL_free) {
    SSL_set_bio(ssl_.get(), in_, out_);
    SSL_set_app_data(ssl_.get(), this);
    SSL_set_msg_callback_arg(ssl_.get(), this);
    if (session != nullptr) SSL_set_session(ssl_.get(), session);
    SSL_set_connect_state(ssl_.get());
  }
  TlsPeer(const TlsPeer&) = delete;
  TlsPeer& operator=(const TlsPeer&) = delete;
  // Without a goodbye OpenSSL would not resume the session.
  ~TlsPeer() { SSL_set_shutdown(ssl(), SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN); }

  SSL* ssl() const { return ssl_.get(); }

  // What is to be done at the next pump().
  void say(std::string_view text) { to_say_ += text; }
  void finish() { finishes_ = true; }  // close_notify behind all that is to be said
  void update_key_each(std::size_t said) { update_each_ = said; }  // asking for one each other time
  void send_raw(std::string_view bytes) { unsent_ += bytes; }

  void pump(std::size_t most_sent = std::string::npos) {
    const std::string came = pair_.receive(&ended);
    if (!came.empty()) BIO_write(in_, came.data(), static_cast<int>(came.size()));
    ERR_clear_error();
    if (SSL_is_init_finished(ssl()) == 0) check(SSL_do_handshake(ssl()));
    if (SSL_is_init_finished(ssl()) == 1) {
      listen();
      speak();
    }
    flush(most_sent);
  }

  std::string heard;
  bool heard_end = false;            // close_notify
  bool ended = false;                // of the socket
  int error = 0;                     // SSL_R_*, e.g. of an alert
  std::vector<Session> sessions;     // of the tickets that came
  std::vector<std::size_t> records;  // payload sizes of the sealed records that came
  int key_updates_sent = 0;
  int key_updates_asked = 0;
  int key_updates_heard = 0;

 private:
  static TlsPeer* self(const SSL* ssl) { return static_cast<TlsPeer*>(SSL_get_app_data(ssl)); }

  static int keep_session(SSL* ssl, SSL_SESSION* session) {
    self(ssl)->sessions.emplace_back(session, &SSL_SESSION_free);
    return 1;
  }

  static void note_message(int sent, int, int type, const void* bytes, std::size_t size, SSL*,
                           void* peer) {
    if (sent != 0 || peer == nullptr) return;
    auto* const at = static_cast<const unsigned char*>(bytes);
    auto& me = *static_cast<TlsPeer*>(peer);
    if (type == SSL3_RT_HEADER && size == 5 && at[0] == SSL3_RT_APPLICATION_DATA) {
      me.records.push_back(static_cast<std::size_t>(at[3] << 8 | at[4]));
    }
    if (type == SSL3_RT_HANDSHAKE && at[0] == SSL3_MT_KEY_UPDATE) ++me.key_updates_heard;
  }

  void check(int result) {
    switch (SSL_get_error(ssl(), result)) {
      case SSL_ERROR_ZERO_RETURN:
        heard_end = true;
        break;
      case SSL_ERROR_SSL:
        if (error == 0) error = ERR_GET_REASON(ERR_peek_error());
        break;
      default:
        break;
    }
  }

  void listen() {
    std::array<char, 16384> buffer;
    std::size_t size = 0;
    int result = 1;
    while ((result = SSL_read_ex(ssl(), buffer.data(), buffer.size(), &size)) == 1) {
      heard.append(buffer.data(), size);
    }
    check(result);
  }

  void speak() {
    constexpr std::size_t most_waiting = 256 * 1024;
    while (!to_say_.empty() && BIO_ctrl_pending(out_) + unsent_.size() < most_waiting) {
      std::size_t size = std::min<std::size_t>(to_say_.size(), 16384);
      if (SSL_write_ex(ssl(), to_say_.data(), size, &size) != 1) return;
      to_say_.erase(0, size);
      said_since_update_ += size;
      if (update_each_ > 0 && said_since_update_ >= update_each_) update_key();
    }
    if (to_say_.empty() && finishes_ && SSL_get_shutdown(ssl()) != SSL_SENT_SHUTDOWN) {
      SSL_shutdown(ssl());
    }
  }

  void update_key() {
    said_since_update_ = 0;
    const bool asks = key_updates_sent++ % 2 == 0;
    if (asks) ++key_updates_asked;
    EXPECT_EQ(SSL_key_update(ssl(), asks ? SSL_KEY_UPDATE_REQUESTED : SSL_KEY_UPDATE_NOT_REQUESTED),
              1);
    check(SSL_do_handshake(ssl()));
  }

  void flush(std::size_t most) {
    std::string made(BIO_ctrl_pending(out_), '\0');
    if (!made.empty()) BIO_read(out_, made.data(), static_cast<int>(made.size()));
    unsent_ += made;
    while (!unsent_.empty() && most > 0) {
      const ssize_t count =
          ::send(pair_.far, unsent_.data(), std::min(unsent_.size(), most), MSG_NOSIGNAL);
      if (count <= 0) return;
      most -= static_cast<std::size_t>(count);
      unsent_.erase(0, static_cast<std::size_t>(count));
    }
  }

  SocketPair& pair_;
  BIO* in_ = BIO_new(BIO_s_mem());
  BIO* out_ = BIO_new(BIO_s_mem());
  std::unique_ptr<SSL, decltype(&SSL_free)> ssl_;
  std::string to_say_;
  std::string unsent_;
  std::size_t update_each_ = 0;  // bytes
  std::size_t said_since_update_ = 0;
  bool finishes_ = false;
};

}  // namespace weir::proxy
