// A tunnel between two socket pairs; the test holds the far ends and turns the loop by hand.

#include "proxy/tunnel.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <optional>
#include <random>
#include <string>
#include <thread>

#include "tests/support/socket_pair.hpp"

namespace weir::proxy {
namespace {

std::string noise(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

class TunnelTest : public testing::Test, protected TunnelOwner {
 protected:
  TunnelTest() {
    client_stream_ = std::make_unique<Stream>();
    server_stream_ = std::make_unique<Stream>();
    EXPECT_TRUE(client_stream_->open(hand_.loop, client_.take_near(),
                                     Stream::Transport::unix_socket, nobody_, false));
    EXPECT_TRUE(server_stream_->open(hand_.loop, server_.take_near(),
                                     Stream::Transport::unix_socket, nobody_, false));
    tunnel_ = std::make_unique<Tunnel>(*client_stream_, *server_stream_,
                                       static_cast<TunnelOwner&>(*this));
  }

  void bytes_moved(Flow flow, std::size_t size) override {
    moved_[static_cast<std::size_t>(flow)] += size;
  }
  void progressed() override { ++progress_; }
  void half_closed(Flow) override { ++half_closes_; }
  bool try_elsewhere(TunnelEnd) override {
    ++asked_elsewhere_;
    return elsewhere_;
  }
  void tunnel_ended(TunnelEnd end) override {
    EXPECT_FALSE(ended_.has_value()) << "a tunnel ends once";
    ended_ = end;
  }

  class Nobody final : public StreamOwner {
    void stream_ready(Stream&) override {}
  };

  SocketPair client_;
  SocketPair server_;
  HandTurned hand_;
  Nobody nobody_;
  std::unique_ptr<Stream> client_stream_;
  std::unique_ptr<Stream> server_stream_;
  std::unique_ptr<Tunnel> tunnel_;
  std::array<std::size_t, 2> moved_{};
  int progress_ = 0;
  int half_closes_ = 0;
  int asked_elsewhere_ = 0;
  bool elsewhere_ = false;
  std::optional<TunnelEnd> ended_;
};

TEST_F(TunnelTest, CarriesBytesBothWays) {
  tunnel_->start();
  ASSERT_TRUE(client_.send("ping"));
  std::string got;
  hand_.until([&] { return (got += server_.receive()) == "ping"; });
  ASSERT_TRUE(server_.send("pong"));
  got.clear();
  hand_.until([&] { return (got += client_.receive()) == "pong"; });
  EXPECT_EQ(moved_[0], 4U);
  EXPECT_EQ(moved_[1], 4U);
}

TEST_F(TunnelTest, TakesWhatWasThereBeforeItStarted) {
  ASSERT_TRUE(client_.send("early"));
  hand_.until([&] { return client_stream_->may_read(); });
  tunnel_->start();
  EXPECT_EQ(server_.receive(), "early");
}

TEST_F(TunnelTest, CarriesHalfClose) {
  tunnel_->start();
  ASSERT_TRUE(client_.send("last words"));
  ::shutdown(client_.far, SHUT_WR);
  bool ended = false;
  std::string got;
  hand_.until([&] {
    got += server_.receive(&ended);
    return ended;
  });
  EXPECT_EQ(got, "last words");
  EXPECT_EQ(half_closes_, 1);
  EXPECT_FALSE(ended_.has_value());

  ASSERT_TRUE(server_.send("answer"));
  ::shutdown(server_.far, SHUT_WR);
  hand_.until([&] { return ended_.has_value(); });
  EXPECT_EQ(client_.receive(), "answer");
  EXPECT_EQ(ended_, TunnelEnd::client_closed);
}

TEST_F(TunnelTest, DeliversTheGreetingFirst) {
  tunnel_->start("220 ready\r\n");
  ASSERT_TRUE(server_.send("more"));
  std::string got;
  hand_.until([&] { return (got += client_.receive()) == "220 ready\r\nmore"; });
  EXPECT_EQ(moved_[1], 15U);
}

TEST_F(TunnelTest, DeliversWhatWasReadOfTheClientFirst) {
  const std::string hello = noise(64 * 1024, 7);
  ASSERT_TRUE(client_.send("more"));
  tunnel_->start({}, std::as_bytes(std::span(hello)));
  std::string got;
  hand_.until([&] { return (got += server_.receive()) == hello + "more"; });
  EXPECT_EQ(moved_[0], hello.size() + 4);
  EXPECT_EQ(tunnel_->bytes(Flow::to_server), hello.size() + 4);
  EXPECT_FALSE(tunnel_->server_spoke_last());
}

// It has been said to the server, which may have acted on it.
TEST_F(TunnelTest, DoesNotTakeWhatWasReadElsewhere) {
  elsewhere_ = true;
  tunnel_->start({}, std::as_bytes(std::span("hello", 5)));
  ::shutdown(server_.far, SHUT_WR);
  hand_.until([&] { return half_closes_ == 1; });
  EXPECT_EQ(asked_elsewhere_, 0);
}

// A server that is lent again: the client's end is the end of the tunnel, not of the stream.
class LentAgain : public TunnelTest {
 protected:
  LentAgain() {
    tunnel_ = std::make_unique<Tunnel>(*client_stream_, *server_stream_,
                                       static_cast<TunnelOwner&>(*this), Tunnel::ClientEnd::ends);
  }
};

TEST_F(LentAgain, IsNotToldOfTheClientsEnd) {
  tunnel_->start();
  EXPECT_TRUE(tunnel_->server_spoke_last());
  ASSERT_TRUE(client_.send("get"));
  std::string got;
  hand_.until([&] { return (got += server_.receive()) == "get"; });
  EXPECT_FALSE(tunnel_->server_spoke_last());
  ASSERT_TRUE(server_.send("value"));
  got.clear();
  hand_.until([&] { return (got += client_.receive()) == "value"; });
  EXPECT_TRUE(tunnel_->server_spoke_last());

  ::shutdown(client_.far, SHUT_WR);
  hand_.until([&] { return ended_.has_value(); });
  EXPECT_EQ(ended_, TunnelEnd::client_closed);
  bool ended = false;
  EXPECT_EQ(server_.receive(&ended), "");
  EXPECT_FALSE(ended);
  EXPECT_TRUE(server_stream_->is_open());
  EXPECT_TRUE(server_stream_->is_acknowledged());
}

TEST_F(LentAgain, EndsOnlyOnceAllThatWasReadIsDelivered) {
  tunnel_->start();
  const std::string piece = noise(16 * 1024, 3);
  std::string sent;
  hand_.until([&] {
    if (server_.send(piece)) sent += piece;
    return tunnel_->has_waiting(Flow::to_client);
  });
  ::shutdown(client_.far, SHUT_WR);
  std::string got;
  hand_.until([&] {
    got += client_.receive();
    return ended_.has_value();
  });
  got += client_.receive();
  EXPECT_EQ(ended_, TunnelEnd::client_closed);
  EXPECT_EQ(got.size(), moved_[1]);
  EXPECT_TRUE(sent.starts_with(got));
}

TEST_F(TunnelTest, SaysWhoClosedFirst) {
  tunnel_->start();
  ASSERT_TRUE(server_.send("bye"));
  ::shutdown(server_.far, SHUT_WR);
  hand_.until([&] { return half_closes_ == 1; });
  EXPECT_EQ(client_.receive(), "bye");
  client_.close_far();
  hand_.until([&] { return ended_.has_value(); });
  EXPECT_EQ(ended_, TunnelEnd::server_closed);
}

// However many events a turn has, and however fast both ends are.
TEST_F(TunnelTest, HoldsATurnForNoLongerThanItsShare) {
  constexpr std::size_t size = 64 * 1024 * 1024;
  // What a turn may move one way: its share, and the last read begun within it.
  constexpr std::size_t most = 512 * 1024 + 256 * 1024;
  ::fcntl(client_.far, F_SETFL, 0);
  ::fcntl(server_.far, F_SETFL, 0);
  std::thread sender([&] {
    const std::string block(256 * 1024, 'x');
    for (std::size_t sent = 0; sent < size;) {
      const ssize_t count = ::send(client_.far, block.data(), block.size(), MSG_NOSIGNAL);
      if (count <= 0) return;
      sent += static_cast<std::size_t>(count);
    }
  });
  std::thread reader([&] {
    std::string block(256 * 1024, '\0');
    for (std::size_t got = 0; got < size;) {
      const ssize_t count = ::recv(server_.far, block.data(), block.size(), 0);
      if (count <= 0) return;
      got += static_cast<std::size_t>(count);
    }
  });
  tunnel_->start();
  std::size_t before = 0;
  hand_.until([&] {
    EXPECT_LE(moved_[0] - before, most);
    before = moved_[0];
    return before >= size;
  });
  ::shutdown(client_.far, SHUT_RDWR);
  ::shutdown(server_.far, SHUT_RDWR);
  sender.join();
  reader.join();
}

TEST_F(TunnelTest, StopsReadingWhenTheOtherSideDoesNotTakeIt) {
  tunnel_->start();
  const std::string piece = noise(64 * 1024, 1);
  std::size_t sent = 0;
  // The server's end is never read: after the kernel's buffers are full, the client blocks too.
  for (int idle = 0; idle < 20;) {
    const ssize_t count = ::send(client_.far, piece.data(), piece.size(), MSG_NOSIGNAL);
    if (count > 0) {
      sent += static_cast<std::size_t>(count);
      idle = 0;
      hand_.loop.post([] {});
      hand_.loop.turn();
    } else {
      ++idle;
      hand_.loop.post([] {});
      hand_.loop.turn();
    }
    ASSERT_LT(sent, 64U * 1024 * 1024) << "nothing holds the sender back";
  }
  EXPECT_LE(server_stream_->unsent_size(), EventLoop::scratch_size);
  EXPECT_TRUE(server_stream_->has_unsent());

  std::size_t received = 0;
  hand_.until([&] { return (received += server_.receive().size()) == sent; });
  EXPECT_FALSE(server_stream_->has_unsent());
}

TEST_F(TunnelTest, LosesNothingUnderBackpressureBothWays) {
  tunnel_->start();
  const std::array<std::string, 2> data{noise(8 << 20, 2), noise(8 << 20, 3)};
  std::array<std::size_t, 2> sent{};
  std::array<std::string, 2> got;
  std::mt19937 random(4);
  SocketPair* const ends[2] = {&client_, &server_};
  while (!ended_) {
    for (std::size_t i = 0; i < 2; ++i) {
      if (sent[i] < data[i].size()) {
        const std::size_t size =
            std::min<std::size_t>(1 + random() % 100'000, data[i].size() - sent[i]);
        const ssize_t count = ::send(ends[i]->far, data[i].data() + sent[i], size, MSG_NOSIGNAL);
        if (count > 0) sent[i] += static_cast<std::size_t>(count);
        if (sent[i] == data[i].size()) ::shutdown(ends[i]->far, SHUT_WR);
      }
      if (random() % 3 == 0) got[1 - i] += ends[i]->receive();
    }
    hand_.loop.post([] {});
    hand_.loop.turn();
  }
  got[0] += server_.receive();
  got[1] += client_.receive();
  EXPECT_TRUE(got[0] == data[0]);
  EXPECT_TRUE(got[1] == data[1]);
  EXPECT_GT(progress_, 0) << "what had to wait and went on is told";
  tunnel_.reset();
  EXPECT_GT(hand_.loop.pipes().idle_count(), 0U) << "a long stream is spliced";
  EXPECT_EQ(hand_.loop.pipes().lent_count(), 0U) << "and its pipe comes back";
  EXPECT_TRUE(ended_ == TunnelEnd::client_closed || ended_ == TunnelEnd::server_closed);
}

TEST_F(TunnelTest, AsksForAnotherServerWhenThisOneLeftUnheard) {
  elsewhere_ = true;
  tunnel_->start();
  server_.close_far();
  hand_.until([&] { return asked_elsewhere_ > 0; });
  EXPECT_FALSE(ended_.has_value());
  EXPECT_EQ(half_closes_, 0);
}

TEST_F(TunnelTest, AsksForNoOtherServerOnceTheClientHasSpoken) {
  elsewhere_ = true;
  tunnel_->start();
  ASSERT_TRUE(client_.send("hello"));
  hand_.until([&] { return !server_.receive().empty(); });
  server_.close_far();
  hand_.until([&] { return half_closes_ == 1 || ended_; });
  EXPECT_EQ(asked_elsewhere_, 0);
}

TEST_F(TunnelTest, DoesNothingOnceStopped) {
  tunnel_->start();
  tunnel_->stop();
  ASSERT_TRUE(client_.send("x"));
  hand_.loop.turn();
  EXPECT_EQ(server_.receive(), "");
  EXPECT_FALSE(ended_.has_value());
}

// Bulk that gathers has an appointment with the loop (ASan sees it kept).
TEST_F(TunnelTest, IsForgottenByTheLoopOnceStopped) {
  tunnel_->start();
  const std::string block = noise(256 * 1024, 5);
  while (moved_[1] < 4U << 20) {
    [[maybe_unused]] const ssize_t sent =
        ::send(server_.far, block.data(), block.size(), MSG_NOSIGNAL);
    hand_.loop.post([] {});
    hand_.loop.turn();
    client_.receive();
  }
  tunnel_->stop();
  server_stream_.reset();
  client_stream_.reset();
  const auto later = std::chrono::steady_clock::now() + std::chrono::milliseconds(2);
  while (std::chrono::steady_clock::now() < later) {
    hand_.loop.post([] {});
    hand_.loop.turn();
  }
  EXPECT_FALSE(ended_.has_value());
}

// The world is torn down after the first, second, third ... turn: clean from every point (ASan).
TEST(Tunnel, SurvivesAbandonmentAtEveryTurn) {
  class Owner final : public TunnelOwner {
   public:
    void bytes_moved(Flow, std::size_t) override {}
    void progressed() override {}
    void half_closed(Flow) override {}
    bool try_elsewhere(TunnelEnd) override { return false; }
    void tunnel_ended(TunnelEnd) override { over = true; }
    bool over = false;
  };
  class Nobody final : public StreamOwner {
    void stream_ready(Stream&) override {}
  };
  for (int turns = 0; turns < 12; ++turns) {
    SCOPED_TRACE(turns);
    SocketPair client;
    SocketPair server;
    HandTurned hand;
    Nobody nobody;
    Owner owner;
    Stream client_stream;
    Stream server_stream;
    ASSERT_TRUE(client_stream.open(hand.loop, client.take_near(), Stream::Transport::unix_socket,
                                   nobody, false));
    ASSERT_TRUE(server_stream.open(hand.loop, server.take_near(), Stream::Transport::unix_socket,
                                   nobody, false));
    Tunnel tunnel(client_stream, server_stream, owner);
    tunnel.start();
    client.send(std::string(100'000, 'x').substr(0, 50'000));
    for (int i = 0; i < turns; ++i) {
      if (i == 3) ::shutdown(client.far, SHUT_WR);
      if (i == 5) server.receive();
      if (i == 7) server.close_far();
      hand.loop.post([] {});
      hand.loop.turn();
    }
  }
}

}  // namespace
}  // namespace weir::proxy
