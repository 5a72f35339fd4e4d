#include "proxy/client_hello_reader.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <fstream>
#include <iterator>
#include <random>

namespace weir::proxy {
namespace {

using State = ClientHelloReader::State;
using testing::ElementsAre;
using testing::ElementsAreArray;
using namespace std::string_literals;

std::span<const std::byte> bytes_of(std::string_view text) {
  return std::as_bytes(std::span(text));
}

std::string big_endian(std::size_t number, int size) {
  std::string text;
  while (size-- > 0) text += static_cast<char>(number >> 8 * size & 0xff);
  return text;
}

std::string behind_length(int size, const std::string& text) {
  return big_endian(text.size(), size) + text;
}

// The bytes of a connection that real clients have sent, as one record.
std::string sent_by(const std::string& client) {
  std::ifstream file(WEIR_ROOT "/tests/fuzz/corpus/client_hello/" + client, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

std::string message_of(const std::string& sent) {
  return sent.substr(5);
}

std::string in_records(const std::string& message, std::size_t size = 16 * 1024) {
  std::string records;
  for (std::size_t at = 0; at < message.size(); at += size) {
    records += "\x16\x03\x01" + behind_length(2, message.substr(at, size));
  }
  return records;
}

std::string extension(std::size_t type, const std::string& value) {
  return big_endian(type, 2) + behind_length(2, value);
}

std::string server_name(const std::string& name) {
  return extension(0, behind_length(2, '\0' + behind_length(2, name)));
}

std::string protocols(const std::string& list) {
  return extension(16, behind_length(2, list));
}

std::string padding(std::size_t size) {
  return extension(21, std::string(size, '\0'));
}

std::string body_of(const std::string& extensions) {
  return "\x03\x03" + std::string(32, 'r') + behind_length(1, "session") +
         behind_length(2, "\x13\x01") + behind_length(1, "\0"s) + behind_length(2, extensions);
}

std::string message_with(const std::string& body) {
  return '\x01' + behind_length(3, body);
}

std::string hello(const std::string& extensions) {
  return in_records(message_with(body_of(extensions)));
}

State read(ClientHelloReader& reader, const std::string& sent, std::size_t piece = 1U << 20) {
  State state = State::incomplete;
  for (std::size_t at = 0; at < sent.size() && state == State::incomplete; at += piece) {
    // Memory of just that size, so that a byte too far is seen.
    const std::string part = sent.substr(at, std::min(piece, reader.room()));
    const std::vector<char> exact(part.begin(), part.end());
    state = reader.add(std::as_bytes(std::span(exact)));
  }
  return state;
}

State state_of(const std::string& sent) {
  ClientHelloReader reader;
  return read(reader, sent);
}

std::string why(const std::string& sent) {
  ClientHelloReader reader;
  return read(reader, sent) == State::malformed ? std::string(reader.why()) : "";
}

struct Client {
  const char* name;
  const char* server_name;
  std::vector<std::string> protocols;
};

const std::vector<Client> clients{{"chromium", "chromium.example", {"h2", "http/1.1"}},
                                  {"curl", "curl.example", {"h2", "http/1.1"}},
                                  {"openssl", "openssl.example", {"mqtt"}},
                                  {"openssl-tls12-without-a-name", "", {}}};

TEST(ClientHelloReader, ReadsWhatClientsSend) {
  for (const Client& client : clients) {
    SCOPED_TRACE(client.name);
    const std::string sent = sent_by(client.name);
    ASSERT_GT(sent.size(), 100);
    ClientHelloReader reader;
    EXPECT_EQ(read(reader, sent), State::complete);
    EXPECT_EQ(reader.server_name(), client.server_name);
    EXPECT_THAT(reader.protocols(), ElementsAreArray(client.protocols));
    EXPECT_TRUE(std::ranges::equal(reader.seen(), bytes_of(sent)));
  }
}

TEST(ClientHelloReader, HasAHelloWithAPostQuantumKeyShareToRead) {
  // key_share, 1216 bytes for X25519MLKEM768 (0x11ec)
  EXPECT_TRUE(sent_by("chromium").contains("\x11\xec\x04\xc0"s));
}

TEST(ClientHelloReader, WaitsForTheLastByteWhereverItIsCut) {
  for (const Client& client : clients) {
    const std::string sent = sent_by(client.name);
    for (std::size_t cut = 1; cut < sent.size(); ++cut) {
      ClientHelloReader reader;
      ASSERT_EQ(reader.add(bytes_of(sent).first(cut)), State::incomplete) << cut;
      ASSERT_EQ(reader.add(bytes_of(sent).subspan(cut)), State::complete) << cut;
      ASSERT_EQ(reader.server_name(), client.server_name);
    }
  }
}

TEST(ClientHelloReader, TakesRecordsOfEverySize) {
  const std::string message = message_of(sent_by("chromium"));
  for (std::size_t size = 1; size <= message.size(); ++size) {
    ClientHelloReader reader;
    const std::string sent = in_records(message, size);
    ASSERT_EQ(read(reader, sent, size % 7 == 0 ? 1 : 1000), State::complete) << size;
    ASSERT_EQ(reader.server_name(), "chromium.example");
    ASSERT_THAT(reader.protocols(), ElementsAre("h2", "http/1.1"));
    ASSERT_TRUE(std::ranges::equal(reader.seen(), bytes_of(sent)));
  }
}

TEST(ClientHelloReader, KeepsWhatComesBehindTheHello) {
  const std::string early_data = "\x17\x03\x03" + behind_length(2, "sealed");
  const std::string sent = sent_by("curl") + early_data;
  ClientHelloReader reader;
  EXPECT_EQ(read(reader, sent), State::complete);
  EXPECT_TRUE(std::ranges::equal(reader.seen(), bytes_of(sent)));
}

TEST(ClientHelloReader, TakesUpTo64KiB) {
  const std::size_t rest = hello(padding(0)).size();
  const std::size_t headers = 3 * 5;  // of the records after the first
  const std::size_t room = ClientHelloReader::most_size - rest - headers;
  ClientHelloReader reader;
  const std::string largest = hello(padding(room));
  ASSERT_EQ(largest.size(), ClientHelloReader::most_size);
  EXPECT_EQ(read(reader, largest, 1000), State::complete);
  EXPECT_EQ(reader.room(), 0);
  EXPECT_EQ(why(hello(padding(room + 1))), "a ClientHello of more than 64 KiB");
  // It is refused as soon as it says how long it will be.
  EXPECT_EQ(state_of("\x16\x03\x01\x40\x00\x01\x01\x00"s), State::incomplete);
  EXPECT_EQ(state_of("\x16\x03\x01\x40\x00\x01\x01\x00\x00"s), State::malformed);
}

TEST(ClientHelloReader, CountsTheRecordsHeadersToo) {
  const std::string message = message_with(body_of(padding(12'000)));
  EXPECT_EQ(state_of(in_records(message, 2)), State::complete);
  ClientHelloReader reader;
  EXPECT_EQ(read(reader, in_records(message, 1), 16), State::malformed);
  EXPECT_EQ(reader.why(), "a ClientHello of more than 64 KiB");
  EXPECT_EQ(reader.seen().size(), ClientHelloReader::most_size);
}

TEST(ClientHelloReader, KnowsAStrangerByTheFirstBytes) {
  EXPECT_EQ(why("G"), "the client does not speak TLS");
  EXPECT_EQ(why("\x80"), "the client does not speak TLS");  // SSL 2
  EXPECT_EQ(why("\x15"), "the client does not speak TLS");  // an alert
  EXPECT_EQ(why("\x16S"), "the client does not speak TLS");
  EXPECT_EQ(state_of("\x16\x03"), State::incomplete);
  EXPECT_EQ(why("\x16\x03\x01\0\0"s), "a TLS record without a byte");
  EXPECT_EQ(why("\x16\x03\x01\x40\x01"s), "a TLS record of more than 16 KiB");
  EXPECT_EQ(why("\x16\x03\x03\0\x04\x02"s),
            "a TLS handshake that does not begin with a ClientHello");
}

TEST(ClientHelloReader, TakesNothingBetweenTheRecords) {
  const std::string records = in_records(message_of(sent_by("curl")), 300);
  const std::string alert = "\x15\x03\x01\0\x02\x01\0"s;
  EXPECT_EQ(why(records.substr(0, 305) + alert + records.substr(305)),
            "the client does not speak TLS");
}

TEST(ClientHelloReader, RefusesAMessageThatIsCutOffAnywhere) {
  const std::string body = body_of(server_name("a.example") + protocols("\x02h2"));
  const std::size_t without_extensions = body_of("").size() - 2;
  for (std::size_t size = 0; size < body.size(); ++size) {
    // What says how long all is agrees.
    const State state = state_of(in_records(message_with(body.substr(0, size))));
    const State expected = size == without_extensions ? State::complete : State::malformed;
    ASSERT_EQ(state, expected) << size;
  }
  EXPECT_EQ(why(in_records(message_with(body + "x"))), "a ClientHello whose lengths are wrong");
}

TEST(ClientHelloReader, RefusesFieldsThatCannotBe) {
  const std::string start = "\x03\x03" + std::string(32, 'r');
  const std::string ciphers = behind_length(2, "\x13\x01");
  const std::string none = behind_length(1, "\0"s);
  const auto with = [](const std::string& body) { return why(in_records(message_with(body))); };
  EXPECT_EQ(with(start + behind_length(1, std::string(32, 's')) + ciphers + none), "");
  for (const std::string& body :
       {start + behind_length(1, std::string(33, 's')) + ciphers + none,
        start + '\0' + behind_length(2, "\x13") + none, start + '\0' + behind_length(2, "") + none,
        start + '\0' + ciphers + '\0'}) {
    EXPECT_EQ(with(body), "a ClientHello whose lengths are wrong");
  }
  EXPECT_EQ(with("\x02\x03" + std::string(32, 'r') + '\0' + ciphers + none),
            "a ClientHello of an unknown version");
}

TEST(ClientHelloReader, ReadsAServerNameInLowerCase) {
  ClientHelloReader reader;
  EXPECT_EQ(read(reader, hello(padding(3) + server_name("A.exAmple\xc0") + padding(0))),
            State::complete);
  EXPECT_EQ(reader.server_name(), "a.example\xc0");
  EXPECT_EQ(state_of(hello(server_name(std::string(255, 'a')))), State::complete);
}

TEST(ClientHelloReader, RefusesAServerNameThatTwoReadersCouldReadInTwoWays) {
  const auto list = [](const std::string& names) { return extension(0, behind_length(2, names)); };
  const std::string name = '\0' + behind_length(2, "a"s);
  for (const std::string& extensions :
       {server_name(""), server_name(std::string(256, 'a')), server_name("a\0b"s), list(""),
        list(name + name), list('\x01' + behind_length(2, "a")), list(name + 'x'),
        extension(0, behind_length(2, name) + 'x'), extension(0, ""),
        server_name("a") + server_name("b")}) {
    EXPECT_EQ(why(hello(extensions)), "a ClientHello with a malformed server name");
  }
}

TEST(ClientHelloReader, RefusesProtocolsThatAreNone) {
  for (const std::string& extensions :
       {protocols(""), protocols("\0"s), protocols("\x03h2"), protocols("\x02h2\0"s),
        extension(16, ""), extension(16, behind_length(2, "\x02h2") + 'x'),
        protocols("\x02h2") + protocols("\x02h2")}) {
    EXPECT_EQ(why(hello(extensions)), "a ClientHello with a malformed list of protocols");
  }
}

TEST(ClientHelloReader, TakesProtocolsByTheThousand) {
  std::string many;
  while (many.size() < 60'000) many += "\x01x";
  many += "\x02h2";
  ClientHelloReader reader;
  EXPECT_EQ(read(reader, hello(protocols(many)), 1400), State::complete);
  ASSERT_EQ(reader.protocols().size(), 30'001);
  EXPECT_EQ(reader.protocols().front(), "x");
  EXPECT_EQ(reader.protocols().back(), "h2");
}

// Whatever comes: it decides, holds no more than it may, and pieces make no difference.
TEST(ClientHelloReader, StandsMutations) {
  const std::uint64_t seed = 20261127;
  SCOPED_TRACE(seed);
  std::mt19937_64 random(seed);
  const std::string chromium = sent_by("chromium");
  int complete = 0;
  for (int round = 0; round < 20'000; ++round) {
    std::string sent = chromium;
    if (round % 4 == 0) sent = hello(server_name("a.example") + protocols("\x02h2\x01x"));
    if (round % 3 == 0) sent = in_records(message_of(sent), 1 + random() % 400);
    for (std::uint64_t i = 0; i <= random() % 4; ++i) {
      const std::size_t at = random() % (round % 2 == 0 ? sent.size() : 120);
      if (random() % 8 == 0) {
        sent.erase(at, 1 + random() % 9);
      } else {
        sent[at] = static_cast<char>(random() % 3 == 0 ? 255 * (random() % 2) : random());
      }
    }
    ClientHelloReader whole;
    ClientHelloReader pieces;
    const State state = read(whole, sent);
    ASSERT_EQ(read(pieces, sent, 1 + random() % 50), state);
    ASSERT_EQ(pieces.why(), whole.why());
    ASSERT_EQ(pieces.server_name(), whole.server_name());
    ASSERT_EQ(pieces.protocols(), whole.protocols());
    complete += state == State::complete ? 1 : 0;
  }
  EXPECT_GT(complete, 1000);
  EXPECT_LT(complete, 19'000);
}

}  // namespace
}  // namespace weir::proxy
