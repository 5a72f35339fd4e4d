#include "proxy/tls_channel.hpp"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "pool/assert.hpp"

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

// What comes first after a silence travels in records of one segment each, so that the peer can
// use the first bytes before the last ones are there; what goes on is bulk, in full records.
constexpr std::size_t quick_record = 1369;
constexpr std::uint32_t quick_bytes = 40 * quick_record;
constexpr Nanoseconds silence = std::chrono::seconds(1);

// An empty queue, which is nearly always, costs one look instead of sixteen entries to clear.
void forget_errors() {
  if (ERR_peek_error() != 0) ERR_clear_error();
}

// How many records `bytes` are; none when there is one that is not sealed among them.
std::optional<std::uint32_t> count_sealed(std::span<const std::byte> bytes) {
  std::uint32_t count = 0;
  for (; !bytes.empty(); ++count) {
    if (!TlsRecords::holds_record(bytes)) return std::nullopt;
    if (bytes[0] != static_cast<std::byte>(TlsRecords::Content::application_data)) {
      return std::nullopt;
    }
    bytes = bytes.subspan(TlsRecords::record_size(bytes));
  }
  return count;
}

}  // namespace

TlsChannel::TlsChannel(ssl_st* ssl, Stream& stream) : ssl_(ssl), stream_(&stream) {
  BIO* bio = BIO_new(method());
  BIO_set_data(bio, this);
  BIO_set_init(bio, 1);
  SSL_set_bio(ssl_, bio, bio);
  if (SSL_is_server(ssl_) == 1) secrets_ = std::make_unique<TrafficSecrets>();
}

TlsChannel::~TlsChannel() {
  if (ssl_ == nullptr) return;
  // Neither side is asked whether it said goodbye: a session that ended in order may be resumed.
  SSL_set_shutdown(ssl_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(ssl_);
}

Stream::Handshake TlsChannel::handshake() {
  for (;;) {
    fill(one_record);
    forget_errors();
    int result = 0;
    {
      const TellSecrets telling(secrets_.get());
      result = SSL_do_handshake(ssl_);
    }
    // A server's last words are tickets, if anything, under the keys of the data.
    if (result == 1) sealed_ = count_sealed(stream_->loop_->outgoing());
    const bool sent = send_outgoing();
    keep_input();
    stream_->has_input_ = !kept_input_.empty();
    if (result == 1) return sent ? Stream::Handshake::done : Stream::Handshake::failed;
    const bool wants_input = SSL_get_error(ssl_, result) == SSL_ERROR_WANT_READ;
    if (!wants_input || !sent || ending_ != Read::again) break;
    if (!stream_->readable_) return Stream::Handshake::wait;
  }
  failed_ = true;
  return Stream::Handshake::failed;
}

// OpenSSL has read no further than the client's Finished: it asks for one record at a time, and
// refuses a Finished that does not end its record. So theirs begins with record 0.
void TlsChannel::leave_ssl() {
  const std::unique_ptr<TrafficSecrets> secrets = std::move(secrets_);
  if (!secrets || secrets->client.empty() || secrets->server.empty() || !sealed_) return;
  if (SSL_version(ssl_) != TLS1_3_VERSION || SSL_has_pending(ssl_) != 0) return;
  const auto suite = tls_suite(SSL_CIPHER_get_protocol_id(SSL_get_current_cipher(ssl_)));
  if (!suite || hash_of(*suite) != secrets->hash) return;
  records_ = std::make_unique<TlsRecords>(*suite, secrets->server, secrets->client, *sealed_);
  SSL_set_shutdown(ssl_, SSL_SENT_SHUTDOWN | SSL_RECEIVED_SHUTDOWN);
  SSL_free(std::exchange(ssl_, nullptr));
}

Read TlsChannel::read(std::span<std::byte> to, std::size_t& size) {
  size = 0;
  if (failed_) return Read::failed;
  Read why = Read::data;
  int rounds = 0;
  do {
    fill(to.size());
    why = records_ ? open_records(to, size) : decrypt(to, size);
    keep_input();
    // A full receive without a whole record in it: the rest is there already.
  } while (size == 0 && why == Read::again && stream_->readable_ && ending_ == Read::again &&
           ++rounds < most_empty_rounds);
  // Full: there is more to take. Else what OpenSSL has not consumed is for later, and what holds no
  // whole record waits for the rest of it.
  const bool full = why == Read::data;
  stream_->has_input_ = full ? !kept_input_.empty() || ending_ != Read::again ||
                                   (ssl_ != nullptr && SSL_pending(ssl_) > 0)
                             : ssl_ != nullptr && !kept_input_.empty();
  if (ssl_ != nullptr && !send_outgoing()) return Read::reset;
  if (size == 0) return why;
  // An end or an error behind this data comes again with the next read.
  if (!full && why != Read::again) stream_->has_input_ = true;
  return Read::data;
}

// `to` is filled, or the records are used up: then `again`, or how the input ended.
Read TlsChannel::open_records(std::span<std::byte> to, std::size_t& size) {
  WEIR_ASSERT(to.size() >= TlsRecords::largest_record, "a read has room for a record");
  if (said_end_) {
    input_ = {};
    return Read::end;
  }
  for (;;) {
    std::size_t count = 0;
    const TlsRecords::Opened opened = records_->open(input_, to.subspan(size), count);
    size += count;
    switch (opened) {
      case TlsRecords::Opened::data:
      case TlsRecords::Opened::nothing:
        break;
      case TlsRecords::Opened::full:
        return Read::data;
      case TlsRecords::Opened::partial:
        if (records_->key_is_wanted() && !said_goodbye_ && !update_key()) return Read::reset;
        // Half a record is never the end of what the peer had to say.
        return ending_ == Read::end && !input_.empty() ? Read::reset : ending_;
      case TlsRecords::Opened::end:
        // Whatever is behind it is not the peer's: RFC 8446, 6.1.
        input_ = {};
        said_end_ = true;
        return Read::end;
      case TlsRecords::Opened::broken:
        input_ = {};
        failed_ = true;
        if (records_->alert() && !said_goodbye_) send_alert(*records_->alert(), false);
        stream_->error_ = EPROTO;
        return Read::failed;
    }
  }
}

Read TlsChannel::decrypt(std::span<std::byte> to, std::size_t& size) {
  forget_errors();
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

// How long the next record may be.
std::size_t TlsChannel::record_limit() {
  return burst_ < quick_bytes ? quick_record : TlsRecords::most_plain;
}

bool TlsChannel::write(std::span<const std::byte> bytes, bool more) {
  // Nothing follows a fatal alert.
  if (failed_) return false;
  const TimePoint now = stream_->loop_->now();
  if (now - std::exchange(wrote_at_, now) >= silence) burst_ = 0;
  return records_ ? seal_records(bytes, more) : write_by_ssl(bytes, more);
}

bool TlsChannel::write_by_ssl(std::span<const std::byte> bytes, bool more) {
  forget_errors();
  while (!bytes.empty()) {
    std::size_t count = 0;
    const std::size_t size = std::min(bytes.size(), record_limit());
    if (SSL_write_ex(ssl_, bytes.data(), size, &count) != 1) {
      failed_ = true;
      send_outgoing();
      return false;
    }
    burst_ = std::min(burst_ + static_cast<std::uint32_t>(count), quick_bytes);
    bytes = bytes.subspan(count);
  }
  return send_outgoing(more);
}

bool TlsChannel::seal_records(std::span<const std::byte> bytes, bool more) {
  const std::span<std::byte> scratch = stream_->loop_->cipher_scratch();
  while (!bytes.empty()) {
    if ((records_->key_is_worn() || records_->key_is_wanted()) && !update_key()) return false;
    std::size_t used = 0;
    while (!bytes.empty() && scratch.size() - used >= TlsRecords::largest_record) {
      const auto plain = bytes.first(std::min(bytes.size(), record_limit()));
      const std::size_t size =
          records_->seal(TlsRecords::Content::application_data, plain, scratch.data() + used);
      if (size == 0) {
        failed_ = true;
        return false;
      }
      used += size;
      burst_ = std::min(burst_ + static_cast<std::uint32_t>(plain.size()), quick_bytes);
      bytes = bytes.subspan(plain.size());
    }
    if (!stream_->send_or_keep(scratch.first(used), more && bytes.empty())) return false;
  }
  return true;
}

bool TlsChannel::update_key() {
  std::array<std::byte, 2 * TlsRecords::overhead> record;
  const std::size_t size = records_->update_key(record.data());
  failed_ = size == 0 || stream_->unsent_size() + size > most_unsent_bytes ||
            !stream_->send_or_keep(std::span(record).first(size), false);
  return !failed_;
}

bool TlsChannel::send_alert(TlsAlert alert, bool more) {
  constexpr std::byte warning{1};
  constexpr std::byte fatal{2};
  const std::array message{alert == TlsAlert::close_notify ? warning : fatal,
                           static_cast<std::byte>(alert)};
  std::array<std::byte, 2 * TlsRecords::overhead> record;
  const std::size_t size = records_->seal(TlsRecords::Content::alert, message, record.data());
  return size > 0 && stream_->unsent_size() + size <= most_unsent_bytes &&
         stream_->send_or_keep(std::span(record).first(size), more);
}

bool TlsChannel::close_notify(bool more) {
  if (failed_ || std::exchange(said_goodbye_, true)) return true;
  if (records_) return send_alert(TlsAlert::close_notify, more);
  forget_errors();
  SSL_shutdown(ssl_);
  forget_errors();
  return send_outgoing(more);
}

// What was kept, and behind it what the socket has; no more than `most` together, so that what it
// decrypts to fits one read().
void TlsChannel::fill(std::size_t most) {
  const std::size_t kept = kept_input_.size();
  input_ = kept_input_;
  // OpenSSL is given what it left before anything new: then it seldom leaves anything.
  const bool is_enough = ssl_ != nullptr ? kept > 0 : TlsRecords::holds_record(kept_input_);
  if (is_enough || !stream_->readable_ || ending_ != Read::again) return;
  const std::span<std::byte> scratch = stream_->loop_->cipher_scratch();
  most = std::min(most, scratch.size());
  std::size_t size = 0;
  const Read result = stream_->receive(scratch.first(most).subspan(kept), size);
  if (result == Read::data) {
    std::ranges::copy(kept_input_, scratch.begin());
    input_ = scratch.first(kept + size);
  } else {
    ending_ = result;
  }
}

bool TlsChannel::send_outgoing(bool more) {
  std::vector<std::byte>& outgoing = stream_->loop_->outgoing();
  if (outgoing.empty()) return true;
  const bool sent = stream_->unsent_size() + outgoing.size() <= most_unsent_bytes &&
                    stream_->send_or_keep(outgoing, more);
  outgoing.clear();
  return sent;
}

// The loop's scratch is somebody else's in a moment: what was not taken is copied.
void TlsChannel::keep_input() {
  const bool from_kept =
      !input_.empty() && !kept_input_.empty() && &input_.back() == &kept_input_.back();
  if (input_.empty()) {
    if (kept_input_.capacity() > 0) std::vector<std::byte>().swap(kept_input_);
  } else if (from_kept) {
    kept_input_.erase(kept_input_.begin(),
                      kept_input_.end() - static_cast<std::ptrdiff_t>(input_.size()));
  } else {
    kept_input_.assign(input_.begin(), input_.end());
  }
  input_ = {};
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
