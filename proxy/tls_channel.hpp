#pragma once
// TLS of one stream: an SSL object between the stream's socket and its owner. OpenSSL reads from
// bytes that one recv() brought and writes into the loop's outgoing buffer, so a turn costs one
// system call each way however many records it has. Between turns nothing is held but the SSL
// itself (whose buffers OpenSSL releases) and, seldom, the input that could not be taken yet.
// Part of Stream; confined to its worker.

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "proxy/stream.hpp"

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
  ssl_st* ssl() const { return ssl_; }

  Stream::Handshake handshake();
  Read read(std::span<std::byte> to, std::size_t& size);
  bool write(std::span<const std::byte> bytes);
  bool close_notify();

 private:
  static int bio_read(bio_st* bio, char* to, int size);
  static int bio_write(bio_st* bio, const char* from, int size);
  static long bio_control(bio_st* bio, int command, long number, void* pointer);
  static bio_method_st* method();

  void fill(std::size_t most);
  Read decrypt(std::span<std::byte> to, std::size_t& size);
  bool send_outgoing();
  void keep_input();
  Read explain(int result);

  ssl_st* ssl_;
  Stream* stream_;
  std::span<const std::byte> input_;  // valid within one call
  std::vector<std::byte> kept_input_;
  Read ending_ = Read::again;  // how the socket's input ended; again = it has not
  bool failed_ = false;
};

}  // namespace weir::proxy
