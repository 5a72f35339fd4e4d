#pragma once
// TLS of one stream, between the stream's socket and its owner. OpenSSL makes the handshake, from
// bytes that one recv() brought, into the loop's outgoing buffer. Where the connection is TLS 1.3
// and ours is the server's side, the SSL goes after it and records are sealed and opened here
// (tls_records.hpp); elsewhere the SSL stays. Either way a turn costs one system call each way
// however many records it has, and between turns nothing is held but, seldom, the input that could
// not be taken yet. Part of Stream; confined to its worker.

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "proxy/stream.hpp"
#include "proxy/tls_provider.hpp"
#include "proxy/tls_records.hpp"

struct bio_st;
struct bio_method_st;

namespace weir::proxy {

class TlsChannel {
 public:
  TlsChannel(ssl_st* ssl, Stream& stream);  // takes the SSL over
  TlsChannel(const TlsChannel&) = delete;
  TlsChannel& operator=(const TlsChannel&) = delete;
  ~TlsChannel();

  void moved_to(Stream& stream) { stream_ = &stream; }
  ssl_st* ssl() const { return ssl_; }  // null once it is gone

  Stream::Handshake handshake();
  void leave_ssl();
  Read read(std::span<std::byte> to, std::size_t& size);
  bool write(std::span<const std::byte> bytes, bool more);
  bool close_notify(bool more);

 private:
  static int bio_read(bio_st* bio, char* to, int size);
  static int bio_write(bio_st* bio, const char* from, int size);
  static long bio_control(bio_st* bio, int command, long number, void* pointer);
  static bio_method_st* method();

  void fill(std::size_t most);
  void keep_input();
  std::size_t record_limit();

  Read decrypt(std::span<std::byte> to, std::size_t& size);
  bool write_by_ssl(std::span<const std::byte> bytes, bool more);
  bool send_outgoing(bool more = false);
  Read explain(int result);

  Read open_records(std::span<std::byte> to, std::size_t& size);
  bool seal_records(std::span<const std::byte> bytes, bool more);
  bool update_key();
  bool send_alert(TlsAlert alert, bool more);

  ssl_st* ssl_;
  Stream* stream_;
  std::unique_ptr<TrafficSecrets> secrets_;  // during a handshake after which the SSL may go
  std::unique_ptr<TlsRecords> records_;      // instead of the SSL
  std::span<const std::byte> input_;         // valid within one call
  std::vector<std::byte> kept_input_;
  TimePoint wrote_at_;
  std::uint32_t burst_ = 0;  // bytes written since the last silence
  // Records that the end of the handshake has sent under the keys of the data; none: not known.
  std::optional<std::uint32_t> sealed_;
  Read ending_ = Read::again;  // how the socket's input ended; again = it has not
  bool failed_ = false;
  bool said_goodbye_ = false;
  bool said_end_ = false;  // the peer's close_notify, where the SSL is gone
};

}  // namespace weir::proxy
