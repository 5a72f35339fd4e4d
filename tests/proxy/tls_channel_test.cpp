// TLS of a stream, its SSL left behind, against a client of OpenSSL's. A tunnel leads from the TLS
// stream to a plain one; the test holds both far ends and turns the loop by hand.

#include "proxy/tls_channel.hpp"

#include <gtest/gtest.h>
#include <openssl/ssl.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <memory>
#include <optional>
#include <random>
#include <string>
#include <vector>

#include "proxy/demo.hpp"
#include "proxy/tls.hpp"
#include "proxy/tunnel.hpp"
#include "tests/support/socket_pair.hpp"
#include "tests/support/tls_peer.hpp"

namespace weir::proxy {
namespace {

constexpr std::size_t mebibyte = 1024 * 1024;

std::string noise(std::size_t size, unsigned seed) {
  std::mt19937 random(seed);
  std::string text(size, '\0');
  for (char& c : text) c = static_cast<char>(random());
  return text;
}

std::unique_ptr<TlsServer> make_server(bool tickets) {
  static const DemoCertificate pem = make_demo_certificate();
  config::TlsSettings settings;
  settings.session_tickets.enabled = tickets;
  config::Certificate certificate;
  certificate.cert_pem = pem.cert_pem;
  certificate.key_pem = pem.key_pem;
  settings.certificates.push_back(certificate);
  std::vector<config::Problem> problems;
  return TlsServer::make(settings, problems);
}

class Nobody final : public StreamOwner {
  void stream_ready(Stream&) override {}
};

// One connection and what stands around it.
class Connection final : private TunnelOwner {
 public:
  Connection(HandTurned& hand, const TlsServer& tls, SSL_CTX* context,
             SSL_SESSION* session = nullptr)
      : hand_(hand), peer(client_side, context, session) {
    // As TCP: a short read is taken for all that there is, so nothing may be forgotten behind it.
    for (auto* const each : {&client, &server}) {
      SocketPair& pair = each == &client ? client_side : server_side;
      EXPECT_TRUE(each->open(hand.loop, pair.take_near(), Stream::Transport::tcp, nobody_, false));
    }
    client.start_tls(tls.accept());
  }

  // Both far ends do what they can.
  void pump() {
    peer.pump(most_sent);
    const std::string came = server_side.receive(&server_heard_end);
    server_heard += came;
    if (echoes) server_says += came;
    const ssize_t sent =
        ::send(server_side.far, server_says.data(), server_says.size(), MSG_NOSIGNAL);
    if (sent > 0) server_says.erase(0, static_cast<std::size_t>(sent));
  }
  void until(const std::function<bool()>& done) {
    if (testing::Test::HasFailure()) return;  // one wait in vain is enough
    hand_.until([&] {
      pump();
      if (done()) return true;
      if (over) ADD_FAILURE() << "the tunnel is over";
      if (over) return true;
      pump();  // nothing else wakes the loop for what done() has sent
      return false;
    });
  }

  // Our side of it, as a session has it. True once it is done.
  bool shake_hands() {
    if (client.has_unsent()) client.flush();
    if (!client.may_read() || client.handshake() != Stream::Handshake::done) return false;
    client.leave_ssl();
    return true;
  }
  void connect() {
    until([&] { return shake_hands(); });
    start_tunnel();
  }
  void start_tunnel() {
    tunnel.emplace(client, server, static_cast<TunnelOwner&>(*this));
    tunnel->start();
  }

  // A few words both ways.
  void talk() {
    for (int i = 0; i < 5; ++i) {
      server_heard.clear();
      peer.heard.clear();
      peer.say("hello?");
      until([&] { return server_heard == "hello?"; });
      server_says = "hello!";
      until([&] { return peer.heard == "hello!"; });
    }
  }

 private:
  HandTurned& hand_;
  Nobody nobody_;

 public:
  SocketPair client_side;
  SocketPair server_side;
  Stream client;
  Stream server;
  std::optional<Tunnel> tunnel;
  TlsPeer peer;
  std::size_t most_sent = std::string::npos;  // by the client, each time
  std::string server_heard;
  std::string server_says;
  bool server_heard_end = false;
  bool echoes = false;
  std::optional<TunnelEnd> over;

 private:
  void bytes_moved(Flow, std::size_t) override {}
  void progressed() override {}
  void half_closed(Flow) override {}
  bool try_elsewhere(TunnelEnd) override { return false; }
  void tunnel_ended(TunnelEnd end) override { over = end; }
};

class TlsChannelTest : public testing::Test {
 protected:
  HandTurned hand_;
  const std::unique_ptr<TlsServer> server_ = make_server(true);
  const TlsPeer::Context tls13_ = TlsPeer::make_context(TLS1_3_VERSION);
  const TlsPeer::Context tls12_ = TlsPeer::make_context(TLS1_2_VERSION);
};

TEST_F(TlsChannelTest, LeavesTheSslBehindWithTls13) {
  Connection connection(hand_, *server_, tls13_.get());
  connection.connect();
  EXPECT_EQ(connection.client.ssl(), nullptr);
  EXPECT_TRUE(connection.client.is_tls());
  connection.talk();
}

TEST_F(TlsChannelTest, KeepsTheSslWithTls12) {
  Connection connection(hand_, *server_, tls12_.get());
  connection.connect();
  EXPECT_NE(connection.client.ssl(), nullptr);
  connection.talk();
}

// The echo of what was said, whole and in order.
void expect_echo(Connection& connection, const std::string& data) {
  connection.server_heard.clear();
  connection.peer.heard.clear();
  connection.echoes = true;
  connection.peer.say(data);
  connection.until([&] { return connection.peer.heard.size() >= data.size(); });
  EXPECT_TRUE(connection.server_heard == data);
  EXPECT_TRUE(connection.peer.heard == data);
}

TEST_F(TlsChannelTest, CarriesMebibytesBothWaysUnderEachSuite) {
  for (const char* const suite :
       {"TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256"}) {
    SCOPED_TRACE(suite);
    const auto context = TlsPeer::make_context(TLS1_3_VERSION);
    ASSERT_EQ(SSL_CTX_set_ciphersuites(context.get(), suite), 1);
    Connection connection(hand_, *server_, context.get());
    connection.connect();
    EXPECT_STREQ(SSL_get_cipher_name(connection.peer.ssl()), suite);
    EXPECT_EQ(connection.client.ssl(), nullptr);
    expect_echo(connection, noise(3 * mebibyte, 1));
  }
}

TEST_F(TlsChannelTest, CarriesMebibytesBothWaysWithTls12) {
  Connection connection(hand_, *server_, tls12_.get());
  connection.connect();
  expect_echo(connection, noise(3 * mebibyte, 2));
}

TEST_F(TlsChannelTest, FollowsKeyUpdatesAmidBulk) {
  Connection connection(hand_, *server_, tls13_.get());
  connection.connect();
  connection.peer.update_key_each(100'000);
  expect_echo(connection, noise(3 * mebibyte, 3));
  EXPECT_GE(connection.peer.key_updates_sent, 20);
  // One answer is enough for requests that were read at once.
  EXPECT_GE(connection.peer.key_updates_heard, 1);
  EXPECT_LE(connection.peer.key_updates_heard, connection.peer.key_updates_asked);
}

TEST_F(TlsChannelTest, AnswersEachKeyUpdateThatAsksForOne) {
  Connection connection(hand_, *server_, tls13_.get());
  connection.connect();
  connection.peer.update_key_each(1);
  connection.talk();
  EXPECT_EQ(connection.peer.key_updates_sent, 5);
  EXPECT_EQ(connection.peer.key_updates_asked, 3);
  connection.until([&] { return connection.peer.key_updates_heard == 3; });
  connection.talk();
}

// Whoever has said goodbye has nothing to announce a new key for: RFC 8446, 6.1.
TEST_F(TlsChannelTest, TakesAKeyUpdateAfterItsOwnEnd) {
  Connection connection(hand_, *server_, tls13_.get());
  connection.connect();
  ::shutdown(connection.server_side.far, SHUT_WR);
  connection.until([&] { return connection.peer.heard_end && connection.peer.ended; });
  connection.peer.update_key_each(6);
  for (const char* const words : {"first ", "second ", "third "}) {
    connection.peer.say(words);
    connection.until([&] { return connection.server_heard.ends_with(words); });
  }
  EXPECT_EQ(connection.server_heard, "first second third ");
  EXPECT_FALSE(connection.over.has_value());
  connection.peer.finish();
  connection.until([&] { return connection.over.has_value(); });
  EXPECT_EQ(connection.over, TunnelEnd::server_closed);
}

// The request, and right behind it the client's end: what is still said goes under the new key.
TEST_F(TlsChannelTest, AnswersAKeyUpdateThatComesWithTheEnd) {
  Connection connection(hand_, *server_, tls13_.get());
  connection.connect();
  connection.peer.update_key_each(1);
  connection.peer.say("question");
  connection.peer.finish();
  connection.until([&] { return connection.server_heard_end; });
  EXPECT_EQ(connection.server_heard, "question");
  EXPECT_EQ(connection.peer.key_updates_asked, 1);
  connection.server_says = "answer";
  connection.until([&] { return connection.peer.heard == "answer"; });
  EXPECT_EQ(connection.peer.key_updates_heard, 1);
}

TEST_F(TlsChannelTest, CarriesTheClientsEndAndDataBack) {
  Connection connection(hand_, *server_, tls13_.get());
  connection.connect();
  connection.peer.say("question");
  connection.peer.finish();
  connection.until([&] { return connection.server_heard_end; });
  EXPECT_EQ(connection.server_heard, "question");
  EXPECT_FALSE(connection.over.has_value());
  const std::string answer = noise(mebibyte, 4);
  connection.server_says = answer;
  connection.until([&] { return connection.peer.heard.size() == answer.size(); });
  EXPECT_TRUE(connection.peer.heard == answer);
  EXPECT_FALSE(connection.peer.heard_end);
  ::shutdown(connection.server_side.far, SHUT_WR);
  connection.until([&] { return connection.over && connection.peer.heard_end; });
  EXPECT_EQ(connection.over, TunnelEnd::client_closed);
}

TEST_F(TlsChannelTest, CarriesTheServersEndAndDataBack) {
  Connection connection(hand_, *server_, tls13_.get());
  connection.connect();
  connection.server_says = "goodbye";
  connection.until([&] { return connection.server_says.empty(); });
  ::shutdown(connection.server_side.far, SHUT_WR);
  connection.until([&] { return connection.peer.heard_end && connection.peer.ended; });
  EXPECT_EQ(connection.peer.heard, "goodbye");
  connection.peer.say("not yet");
  connection.until([&] { return connection.server_heard == "not yet"; });
  EXPECT_FALSE(connection.over.has_value());
}

TEST_F(TlsChannelTest, TakesASocketsEndForTheEnd) {
  Connection connection(hand_, *server_, tls13_.get());
  connection.connect();
  connection.peer.say("no goodbye");
  connection.until([&] { return connection.server_heard == "no goodbye"; });
  ::shutdown(connection.client_side.far, SHUT_WR);
  connection.until([&] { return connection.server_heard_end; });
  EXPECT_FALSE(connection.over.has_value());
}

TEST_F(TlsChannelTest, TakesHalfARecordBeforeTheEndForABreak) {
  Connection connection(hand_, *server_, tls13_.get());
  connection.connect();
  connection.peer.say("whole");
  connection.until([&] { return connection.server_heard == "whole"; });
  connection.peer.say("never whole");
  connection.peer.pump(20);
  ::shutdown(connection.client_side.far, SHUT_WR);
  connection.most_sent = 0;
  connection.until([&] { return connection.over || connection.server_heard_end; });
  EXPECT_EQ(connection.over, TunnelEnd::client_reset);
  EXPECT_EQ(connection.server_heard, "whole");
}

TEST_F(TlsChannelTest, GoesOnBehindTheTicketsOfEveryHandshake) {
  // After a full handshake two tickets have gone out already, after a resumed one one.
  TlsPeer::Session session(nullptr, &SSL_SESSION_free);
  for (int round = 0; round < 3; ++round) {
    SCOPED_TRACE(round);
    Connection connection(hand_, *server_, tls13_.get(), session.get());
    connection.connect();
    EXPECT_EQ(connection.client.ssl(), nullptr);
    connection.talk();
    EXPECT_EQ(SSL_session_reused(connection.peer.ssl()), round == 0 ? 0 : 1);
    ASSERT_EQ(connection.peer.sessions.size(), round == 0 ? 2U : 1U);
    session = std::move(connection.peer.sessions.back());
  }
}

TEST_F(TlsChannelTest, BeginsWithTheFirstRecordWhereThereAreNoTickets) {
  const auto server = make_server(false);
  Connection connection(hand_, *server, tls13_.get());
  connection.connect();
  EXPECT_EQ(connection.client.ssl(), nullptr);
  connection.talk();
  EXPECT_TRUE(connection.peer.sessions.empty());
}

TEST_F(TlsChannelTest, TakesWhatComesTogetherWithTheHandshakesEnd) {
  for (const std::size_t size : {1U, 1000U, 16'000U, 17'000U, 100'000U}) {
    SCOPED_TRACE(size);
    Connection connection(hand_, *server_, tls13_.get());
    const std::string early = noise(size, 5);
    connection.peer.say(early);
    connection.connect();
    connection.until([&] { return connection.server_heard.size() >= size; });
    EXPECT_TRUE(connection.server_heard == early);
    EXPECT_EQ(connection.client.ssl(), nullptr);
    connection.talk();
  }
}

TEST_F(TlsChannelTest, TakesSingleBytes) {
  Connection connection(hand_, *server_, tls13_.get());
  connection.most_sent = 1;
  connection.connect();
  connection.talk();
  connection.most_sent = 701;
  expect_echo(connection, noise(100'000, 6));
}

// How many come before the first long one.
std::size_t quick_ones(const std::vector<std::size_t>& records) {
  const auto first_long = std::ranges::find_if(records, [](std::size_t size) {
    return size > 1369 + TlsRecords::overhead - TlsRecords::header_size;
  });
  return static_cast<std::size_t>(first_long - records.begin());
}

TEST_F(TlsChannelTest, StartsWithSmallRecordsAndAgainAfterASilence) {
  struct Alarm final : Deadline {
    void expired(TimePoint) override { rings = true; }
    bool rings = false;
  };
  Connection connection(hand_, *server_, tls13_.get());
  connection.connect();
  connection.until([&] { return connection.peer.sessions.size() == 2; });
  for (int burst = 0; burst < 2; ++burst) {
    SCOPED_TRACE(burst);
    connection.peer.records.clear();
    connection.peer.heard.clear();
    connection.server_says = noise(mebibyte, 7);
    connection.until([&] { return connection.peer.heard.size() == mebibyte; });
    const std::vector<std::size_t>& records = connection.peer.records;
    ASSERT_FALSE(records.empty());
    EXPECT_EQ(records.front(), 1369U + 17);
    EXPECT_GE(quick_ones(records), 40U);
    EXPECT_LE(quick_ones(records), 60U) << "where a read ended there is a shorter one";
    EXPECT_EQ(*std::ranges::max_element(records), 16384U + 17);
    Alarm alarm;
    alarm.set(hand_.loop.deadlines(), hand_.loop.now() + std::chrono::milliseconds(1100));
    if (burst == 0) connection.until([&] { return alarm.rings; });
  }
}

// What is no record of this connection ends it, and the client is told why.
class TlsChannelGarbage : public TlsChannelTest {
 protected:
  // Behind a few words the client sends these bytes. What its alert says.
  int alert_for(const std::string& bytes) {
    Connection connection(hand_, *server_, tls13_.get());
    connection.until([&] { return connection.shake_hands(); });
    connection.peer.say("words");
    connection.peer.pump(0);
    connection.peer.send_raw(bytes);
    Read read = Read::again;
    std::string came;
    const auto is_over = [&] { return read != Read::again && read != Read::data; };
    connection.until([&] {
      while (connection.client.may_read() && !is_over()) {
        const auto scratch = hand_.loop.plain_scratch();
        std::size_t size = 0;
        read = connection.client.read(scratch, size);
        came.append(reinterpret_cast<const char*>(scratch.data()), size);
      }
      return is_over();
    });
    EXPECT_EQ(came, "words");
    EXPECT_EQ(read, Read::failed);
    EXPECT_EQ(connection.client.last_error(), EPROTO);
    connection.pump();
    return connection.peer.error;
  }
};

TEST_F(TlsChannelGarbage, MayBeTextInTheClear) {
  EXPECT_EQ(alert_for("GET / HTTP/1.1\r\n\r\n"), SSL_R_SSLV3_ALERT_UNEXPECTED_MESSAGE);
}

TEST_F(TlsChannelGarbage, MayBeARecordUnderAnotherKey) {
  const std::string header("\x17\x03\x03\x00\x20", 5);
  EXPECT_EQ(alert_for(header + std::string(32, 'x')), SSL_R_SSLV3_ALERT_BAD_RECORD_MAC);
}

TEST_F(TlsChannelGarbage, MayBeARecordThatIsTooLong) {
  EXPECT_EQ(alert_for("\x17\x03\x03\xff\xff"), SSL_R_TLSV1_ALERT_RECORD_OVERFLOW);
}

TEST_F(TlsChannelGarbage, EndsTheTunnel) {
  Connection connection(hand_, *server_, tls13_.get());
  connection.connect();
  connection.talk();
  connection.peer.send_raw("garbage");
  connection.until([&] { return connection.over.has_value(); });
  EXPECT_EQ(connection.over, TunnelEnd::client_failed);
  EXPECT_EQ(connection.peer.error, SSL_R_SSLV3_ALERT_UNEXPECTED_MESSAGE);
}

TEST_F(TlsChannelTest, SurvivesAbandonmentAtEveryTurn) {
  for (int turns = 0; turns < 30; ++turns) {
    SCOPED_TRACE(turns);
    HandTurned hand;
    Connection connection(hand, *server_, tls13_.get());
    connection.echoes = true;
    connection.peer.say(noise(200'000, 8));
    connection.peer.update_key_each(20'000);
    connection.peer.finish();
    for (int i = 0; i < turns; ++i) {
      connection.pump();
      if (!connection.tunnel && connection.shake_hands()) connection.start_tunnel();
      hand.loop.post([] {});
      hand.loop.turn();
    }
  }
}

}  // namespace
}  // namespace weir::proxy
