#include "proxy/tls_channel.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace weir::proxy {
namespace {

// What may wait in user space for a peer that makes us answer (key updates, alerts) but never
// reads.
constexpr std::size_t most_unsent_bytes = 1024 * 1024;

// The largest record (RFC 8446, 5.2) and more: what is read ahead of a handshake has to be kept.
constexpr std::size_t one_record = 16 * 1024 + 512;

// How many receives without a byte of data one read may take: a peer that sends nothing but key
// updates must not hold the loop.
constexpr int most_empty_rounds = 4;

// An empty queue, which is nearly always, costs one look instead of sixteen entries to clear.
void forget_errors() {
  if (ERR_peek_error() != 0) ERR_clear_error();
}

}  // namespace

TlsChannel::TlsChannel(ssl_st* ssl, Stream& stream) : ssl_(ssl), stream_(&stream) {
  BIO* bio = BIO_new(method());
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
}

TlsChannel::~TlsChannel() {
  // Neither side is asked whether it said goodbye: a session that ended in order may be resumed.
  SSL_set_shutdown(ssl_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(ssl_);
}

Stream::Handshake TlsChannel::handshake() {
  for (;;) {
    fill(one_record);
    forget_errors();
    const int result = SSL_do_handshake(ssl_);
    const bool sent = send_outgoing();
    keep_input();
    if (result == 1) return sent ? Stream::Handshake::done : Stream::Handshake::failed;
    const bool wants_input = SSL_get_error(ssl_, result) == SSL_ERROR_WANT_READ;
    if (!wants_input || !sent || ending_ != Read::again) break;
    if (!stream_->readable_) return Stream::Handshake::wait;
  }
  failed_ = true;
  return Stream::Handshake::failed;
}

Read TlsChannel::read(std::span<std::byte> to, std::size_t& size) {
  size = 0;
  if (failed_) return Read::failed;
  Read why = Read::data;
  int rounds = 0;
  do {
    fill(to.size());
    forget_errors();
    why = decrypt(to, size);
    keep_input();
    // A full receive without a whole record in it: the rest is there already.
  } while (size == 0 && why == Read::again && stream_->readable_ && ending_ == Read::again &&
           ++rounds < most_empty_rounds);
  if (!send_outgoing()) return Read::reset;
  if (size == 0) return why;
  // An end or an error behind this data comes again with the next read.
  const bool full = why == Read::data;
  if (full ? SSL_pending(ssl_) > 0 || ending_ != Read::again : why != Read::again) {
    stream_->has_input_ = true;
  }
  return Read::data;
}

Read TlsChannel::decrypt(std::span<std::byte> to, std::size_t& size) {
  while (size < to.size()) {
    std::size_t count = 0;
    const int result = SSL_read_ex(ssl_, to.data() + size, to.size() - size, &count);
    if (result != 1) return explain(result);
    size += count;
    // Nothing is left to decrypt: asking OpenSSL again would cost it a buffer to find that out.
    if (input_.empty() && ending_ == Read::again && SSL_has_pending(ssl_) == 0) return Read::again;
  }
  return Read::data;
}

bool TlsChannel::write(std::span<const std::byte> bytes) {
  forget_errors();
  while (!bytes.empty()) {
    std::size_t count = 0;
    if (SSL_write_ex(ssl_, bytes.data(), bytes.size(), &count) != 1) {
      failed_ = true;
      send_outgoing();
      return false;
    }
    bytes = bytes.subspan(count);
  }
  return send_outgoing();
}

bool TlsChannel::close_notify() {
  if (failed_ || (SSL_get_shutdown(ssl_) & SSL_SENT_SHUTDOWN) != 0) return true;
  forget_errors();
  SSL_shutdown(ssl_);
  forget_errors();
  return send_outgoing();
}

// Takes no more from the socket than `most`, so that what it decrypts to fits one read().
void TlsChannel::fill(std::size_t most) {
  if (!kept_input_.empty()) {
    input_ = kept_input_;
    return;
  }
  if (!stream_->readable_ || ending_ != Read::again) return;
  std::size_t size = 0;
  const std::span<std::byte> scratch = stream_->loop_->cipher_scratch();
  const Read result = stream_->receive(scratch.first(std::min(most, scratch.size())), size);
  if (result == Read::data) {
    input_ = scratch.first(size);
  } else {
    ending_ = result;
  }
}

bool TlsChannel::send_outgoing() {
  std::vector<std::byte>& outgoing = stream_->loop_->outgoing();
  if (outgoing.empty()) return true;
  const bool sent = stream_->unsent_size() + outgoing.size() <= most_unsent_bytes &&
                    stream_->send_or_keep(outgoing);
  outgoing.clear();
  return sent;
}

// The loop's scratch is somebody else's in a moment: what OpenSSL has not taken is copied.
void TlsChannel::keep_input() {
  if (input_.empty()) {
    if (!kept_input_.empty()) std::vector<std::byte>().swap(kept_input_);
  } else if (kept_input_.empty() || input_.size() != kept_input_.size()) {
    kept_input_ = std::vector<std::byte>(input_.begin(), input_.end());
  }
  input_ = {};
  stream_->has_input_ = !kept_input_.empty();
}

// TCP that ended without close_notify is an end all the same: many peers never say goodbye.
Read TlsChannel::explain(int result) {
  switch (SSL_get_error(ssl_, result)) {
    case SSL_ERROR_WANT_READ:
      return ending_;
    case SSL_ERROR_ZERO_RETURN:
      return Read::end;
    default:
      failed_ = true;
      stream_->error_ = EPROTO;
      return Read::failed;
  }
}

int TlsChannel::bio_read(bio_st* bio, char* to, int size) {
  auto* channel = static_cast<TlsChannel*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  if (channel->input_.empty()) {
    BIO_set_retry_read(bio);
    return -1;
  }
  const std::size_t count = std::min(static_cast<std::size_t>(size), channel->input_.size());
  std::memcpy(to, channel->input_.data(), count);
  channel->input_ = channel->input_.subspan(count);
  return static_cast<int>(count);
}

int TlsChannel::bio_write(bio_st* bio, const char* from, int size) {
  auto* channel = static_cast<TlsChannel*>(BIO_get_data(bio));
  BIO_clear_retry_flags(bio);
  std::vector<std::byte>& outgoing = channel->stream_->loop_->outgoing();
  const auto* bytes = reinterpret_cast<const std::byte*>(from);
  outgoing.insert(outgoing.end(), bytes, bytes + size);
  return size;
}

long TlsChannel::bio_control(bio_st*, int command, long, void*) {
  return command == BIO_CTRL_FLUSH ? 1 : 0;
}

bio_method_st* TlsChannel::method() {
  static BIO_METHOD* const made = [] {
    BIO_METHOD* fresh = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "weir stream");
    BIO_meth_set_read(fresh, &TlsChannel::bio_read);
    BIO_meth_set_write(fresh, &TlsChannel::bio_write);
    BIO_meth_set_ctrl(fresh, &TlsChannel::bio_control);
    return fresh;
  }();
  return made;
}

}  // namespace weir::proxy
