// An open tunnel asks the allocator for nothing: counted, on the loop's thread, over 10,000
// exchanges. The program's own malloc counts, so OpenSSL's requests count too.

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <array>
#include <memory>
#include <optional>
#include <thread>

#include "proxy/demo.hpp"
#include "proxy/tls.hpp"
#include "proxy/tls_memory.hpp"
#include "proxy/tunnel.hpp"
#include "tests/support/socket_pair.hpp"

// The sanitizers have an allocator of their own.
#if defined(__has_feature)
#define WEIR_SANITIZED (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#elif defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define WEIR_SANITIZED 1
#else
#define WEIR_SANITIZED 0
#endif

#if !WEIR_SANITIZED

namespace {
thread_local constinit bool counting = false;
thread_local constinit std::size_t allocations = 0;
}  // namespace

// glibc's allocator under its other name.
extern "C" void* __libc_malloc(std::size_t size);  // NOLINT(bugprone-reserved-identifier)
extern "C" void* malloc(std::size_t size) {
  if (counting) ++allocations;
  return __libc_malloc(size);
}

namespace weir::proxy {
namespace {

constexpr int exchanges = 10'000;
constexpr int warm_up = 100;

// Before main(): OpenSSL takes an allocator only as long as it has never allocated.
[[maybe_unused]] const bool pooled = [] {
  pool_tls_buffers();
  return true;
}();

// The far ends are blocking and on threads of their own, whose allocations do not count.
void make_blocking(int descriptor) {
  ::fcntl(descriptor, F_SETFL, 0);
}

// Sends back what comes.
void echo(int descriptor) {
  std::array<char, 4096> buffer;
  for (;;) {
    const ssize_t count = ::recv(descriptor, buffer.data(), buffer.size(), 0);
    if (count <= 0) return;
    if (::send(descriptor, buffer.data(), static_cast<std::size_t>(count), MSG_NOSIGNAL) < 0) {
      return;
    }
  }
}

class Allocation : public testing::Test, protected TunnelOwner, protected StreamOwner {
 protected:
  Allocation() {
    EXPECT_TRUE(client_stream_.open(hand_.loop, client_.take_near(), Stream::Transport::unix_socket,
                                    *this, false));
    EXPECT_TRUE(server_stream_.open(hand_.loop, server_.take_near(), Stream::Transport::unix_socket,
                                    *this, false));
    make_blocking(client_.far);
    make_blocking(server_.far);
    echo_ = std::thread([this] { echo(server_.far); });
  }
  ~Allocation() override {
    ::shutdown(client_.far, SHUT_RDWR);
    ::shutdown(server_.far, SHUT_RDWR);
    echo_.join();
    peer_.join();
  }

  // Turns the loop until the client has had its exchanges; the allocations after the warm-up.
  std::size_t count() {
    Tunnel tunnel(client_stream_, server_stream_, static_cast<TunnelOwner&>(*this));
    tunnel.start();
    hand_.until([&] { return exchanged_ >= std::size_t{warm_up} * message; });
    allocations = 0;
    counting = true;
    while (exchanged_ < std::size_t{warm_up + exchanges} * message && !over_) hand_.loop.turn();
    counting = false;
    EXPECT_FALSE(over_);
    return allocations;
  }

  void bytes_moved(Flow flow, std::size_t size) override {
    if (flow == Flow::to_client) exchanged_ += size;
  }
  void progressed() override {}
  void half_closed(Flow) override {}
  bool try_elsewhere(TunnelEnd) override { return false; }
  void tunnel_ended(TunnelEnd) override { over_ = true; }
  void stream_ready(Stream&) override {}

  static constexpr std::size_t message = 100;  // bytes

  // The far client speaks TLS up to `version` and has its exchanges; the handshake is made.
  void open_tls(int version) {
    const DemoCertificate pem = make_demo_certificate();
    config::TlsSettings settings;
    config::Certificate certificate;
    certificate.cert_pem = pem.cert_pem;
    certificate.key_pem = pem.key_pem;
    settings.certificates.push_back(certificate);
    std::vector<config::Problem> problems;
    tls_ = TlsServer::make(settings, problems);
    ASSERT_NE(tls_, nullptr);
    peer_ = std::thread([this, version] { exchange_over_tls(version); });
    client_stream_.start_tls(tls_->accept());
    hand_.until([&] {
      return client_stream_.may_read() && client_stream_.handshake() == Stream::Handshake::done;
    });
    client_stream_.leave_ssl();
  }

  void exchange_over_tls(int version) {
    const std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context(SSL_CTX_new(TLS_method()),
                                                                    &SSL_CTX_free);
    SSL_CTX_set_max_proto_version(context.get(), version);
    const std::unique_ptr<SSL, decltype(&SSL_free)> ssl(SSL_new(context.get()), &SSL_free);
    SSL_set_fd(ssl.get(), client_.far);
    if (SSL_connect(ssl.get()) != 1) return;
    std::array<char, message> buffer{};
    for (int i = 0; i < warm_up + exchanges; ++i) {
      if (SSL_write(ssl.get(), buffer.data(), message) <= 0) return;
      for (std::size_t got = 0; got < message;) {
        const int count = SSL_read(ssl.get(), buffer.data(), static_cast<int>(message - got));
        if (count <= 0) return;
        got += static_cast<std::size_t>(count);
      }
    }
  }

  std::unique_ptr<TlsServer> tls_;
  SocketPair client_;
  SocketPair server_;
  HandTurned hand_;
  Stream client_stream_;
  Stream server_stream_;
  std::thread echo_;
  std::thread peer_;
  std::size_t exchanged_ = 0;
  bool over_ = false;
};

TEST_F(Allocation, APlainTunnelNeedsNone) {
  peer_ = std::thread([this] {
    std::array<char, message> buffer{};
    for (int i = 0; i < warm_up + exchanges; ++i) {
      if (::send(client_.far, buffer.data(), message, MSG_NOSIGNAL) < 0) return;
      if (::recv(client_.far, buffer.data(), message, MSG_WAITALL) <= 0) return;
    }
  });
  EXPECT_EQ(count(), 0U);
}

// TLS 1.3 goes on without its SSL, TLS 1.2 with it.
TEST_F(Allocation, ATls13TunnelNeedsNone) {
  open_tls(TLS1_3_VERSION);
  EXPECT_EQ(client_stream_.ssl(), nullptr);
  EXPECT_EQ(count(), 0U);
}

TEST_F(Allocation, ATls12TunnelNeedsNone) {
  open_tls(TLS1_2_VERSION);
  EXPECT_NE(client_stream_.ssl(), nullptr);
  EXPECT_EQ(count(), 0U);
}

}  // namespace
}  // namespace weir::proxy

#endif
