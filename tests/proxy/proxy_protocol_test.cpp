#include "proxy/proxy_protocol.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <gtest/gtest.h>

#include <array>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "tests/support/hex.hpp"

namespace weir::proxy {
namespace {

using namespace std::literals;
using config::SendProxy;
using Family = SocketAddress::Family;
using State = ProxyReading::State;

constexpr std::string_view signature = "\r\n\r\n\0\r\nQUIT\n"sv;
// 192.0.2.1:56324 to 198.51.100.7:443
constexpr std::string_view ipv4_block = "\xc0\x00\x02\x01\xc6\x33\x64\x07\xdc\x04\x01\xbb"sv;
constexpr std::uint8_t over_ipv4 = 0x11;

// Everything that the golden header says, and a NOOP and a TLV of somebody's own. The checksum was
// made by another program.
constexpr std::string_view golden =
    "0d0a0d0a000d0a515549540a 21 11 0076 c0000201 c6336407 dc04 01bb"
    "01 0002 6832"                                             // ALPN h2
    "02 000f 4150492e6578616d706c652e636f6d"                   // API.example.com
    "05 0004 69642d31"                                         // id-1
    "20 0039 07 00000000"                                      // TLS, certificate shown, verified
    "   21 0007 544c5376312e33"                                // TLSv1.3
    "   22 000e 636c69656e742e6578616d706c65"                  // client.example
    "   23 0016 544c535f4145535f3132385f47434d5f534841323536"  // TLS_AES_128_GCM_SHA256
    "04 0002 0000"                                             // NOOP
    "ea 0001 78"
    "03 0004 ca129033";

ProxyReading read(std::string_view bytes) {
  return read_proxy_header(std::as_bytes(std::span(bytes)));
}

std::string from(std::string_view digits) {
  const auto bytes = from_hex(digits);
  return {bytes.begin(), bytes.end()};
}

std::string tlv(unsigned char type, std::string_view value) {
  std::string bytes{static_cast<char>(type), static_cast<char>(value.size() >> 8),
                    static_cast<char>(value.size() & 0xff)};
  return bytes.append(value);
}

// The head's family and length are laid out as a TLV's type and length.
std::string binary(std::uint8_t command, std::uint8_t family, std::string_view rest) {
  std::string bytes(signature);
  bytes += static_cast<char>(command);
  return bytes + tlv(family, rest);
}

std::string with_tlvs(const std::string& tlvs) {
  return binary(0x21, over_ipv4, std::string(ipv4_block) + tlvs);
}

std::string with_checksum(const std::string& tlvs) {
  std::string bytes = with_tlvs(tlvs + tlv(3, "\0\0\0\0"sv));
  const std::uint32_t sum = crc32c(std::as_bytes(std::span(bytes)));
  for (std::size_t i = 0; i < 4; ++i) {
    bytes[bytes.size() - 4 + i] = static_cast<char>(sum >> (24 - 8 * i) & 0xff);
  }
  return bytes;
}

SocketAddress address(const char* host, std::uint16_t port) {
  SocketAddress result;
  const bool is_ipv6 = std::string_view(host).contains(':');
  result.family = is_ipv6 ? Family::ipv6 : Family::ipv4;
  result.port = port;
  EXPECT_EQ(::inet_pton(is_ipv6 ? AF_INET6 : AF_INET, host, result.bytes.data()), 1);
  return result;
}

// All of a reading, to compare it.
std::string text(const ProxyReading& reading) {
  const ProxyHeader& header = reading.header;
  return fmt::format(
      "{} '{}' {} {} {}>{} '{}' '{}' '{}' {} {} {} '{}' '{}' '{}'", static_cast<int>(reading.state),
      reading.why, header.size, header.local, header.source.text(), header.destination.text(),
      header.authority, header.alpn, header.unique_id, header.client_tls, header.client_certificate,
      header.client_verified, header.tls_version, header.tls_cipher, header.tls_common_name);
}

std::vector<std::string> sound_headers() {
  return {
      "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n",
      "PROXY TCP6 2001:db8::1 2001:DB8:0:0:0:0:0:2 4711 443\r\n",
      "PROXY UNKNOWN\r\n",
      "PROXY UNKNOWN ffff::1 anything 1 2\r\n",
      from(golden),
      with_tlvs(""),
      binary(0x21, 0x21, std::string(36, '\7') + tlv(1, "h2")),
      binary(0x21, 0x31, std::string(216, 'x') + tlv(5, "id")),
      binary(0x21, 0x00, tlv(2, "a.example")),
      binary(0x20, 0x00, ""),
      binary(0x20, 0x00, tlv(2, "a.example")),
  };
}

TEST(ProxyProtocol, ReadsALineForIpv4) {
  const auto reading = read("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\nGET / HTTP/1.1\r\n");
  ASSERT_EQ(reading.state, State::complete);
  EXPECT_EQ(reading.header.size, 45u);
  EXPECT_FALSE(reading.header.local);
  EXPECT_EQ(reading.header.source.text(), "192.0.2.1:56324");
  EXPECT_EQ(reading.header.destination.text(), "198.51.100.7:443");
  EXPECT_EQ(read("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n").state, State::complete);
}

TEST(ProxyProtocol, ReadsALineForIpv6) {
  const auto reading = read("PROXY TCP6 2001:DB8::a 2001:db8:0:0:0:0:0:b 4711 443\r\n");
  ASSERT_EQ(reading.state, State::complete);
  EXPECT_EQ(reading.header.source.text(), "[2001:db8::a]:4711");
  EXPECT_EQ(reading.header.destination.text(), "[2001:db8::b]:443");
}

TEST(ProxyProtocol, TurnsMappedIpv6IntoIpv4) {
  for (const char* mapped : {"::ffff:192.0.2.1", "::ffff:c000:201", "0:0:0:0:0:FFFF:c000:0201"}) {
    const auto reading = read(fmt::format("PROXY TCP6 {} ::1 1 2\r\n", mapped));
    ASSERT_EQ(reading.state, State::complete) << mapped;
    EXPECT_EQ(reading.header.source.text(), "192.0.2.1:1");
    EXPECT_EQ(reading.header.destination.text(), "[::1]:2");
  }
  const auto reading =
      read(from("0d0a0d0a000d0a515549540a 21 21 0024"
                "00000000000000000000ffffc0000201"
                "20010db8000000000000000000000002 1267 01bb"));
  EXPECT_EQ(reading.header.source.text(), "192.0.2.1:4711");
  EXPECT_EQ(reading.header.destination.text(), "[2001:db8::2]:443");
}

TEST(ProxyProtocol, IgnoresWhatStandsBehindUnknown) {
  const std::string longest = "PROXY UNKNOWN " + std::string(91, 'x') + "\r\n";
  ASSERT_EQ(longest.size(), 107u);
  for (const std::string& line : {"PROXY UNKNOWN\r\n"s, "PROXY UNKNOWN \r\n"s,
                                  "PROXY UNKNOWN TCP4 \r \n\n\r\r\n"s, longest}) {
    const auto reading = read(line + "\r\nHELO");
    ASSERT_EQ(reading.state, State::complete) << line;
    EXPECT_EQ(reading.header.size, line.size());
    EXPECT_TRUE(reading.header.local);
    EXPECT_EQ(reading.header.source.family, Family::none);
  }
}

TEST(ProxyProtocol, ReadsAllThatABinaryHeaderSays) {
  const auto reading = read(from(golden) + "\x16\x03\x01");
  ASSERT_EQ(reading.state, State::complete) << reading.why;
  EXPECT_EQ(text(reading),
            "3 '' 134 false 192.0.2.1:56324>198.51.100.7:443 'api.example.com' 'h2' 'id-1' "
            "true true true 'TLSv1.3' 'TLS_AES_128_GCM_SHA256' 'client.example'");
}

TEST(ProxyProtocol, ReadsUnixSocketsWithoutTheirPaths) {
  const auto reading = read(binary(0x21, 0x31, std::string(216, 'x') + tlv(5, "id")));
  ASSERT_EQ(reading.state, State::complete);
  EXPECT_FALSE(reading.header.local);
  EXPECT_EQ(reading.header.source.family, Family::unix_socket);
  EXPECT_EQ(reading.header.destination.family, Family::unix_socket);
  EXPECT_EQ(reading.header.unique_id, "id");
}

TEST(ProxyProtocol, LeavesTheAddressesAloneWhenFamilyOrTransportAreUnspecified) {
  for (const auto& [family, skipped] : {std::pair<std::uint8_t, std::size_t>{0x00, 0},
                                        {0x01, 0},
                                        {0x10, 12},
                                        {0x20, 36},
                                        {0x30, 216}}) {
    const auto reading = read(binary(0x21, family, std::string(skipped, '\1') + tlv(1, "h2")));
    ASSERT_EQ(reading.state, State::complete) << int{family};
    EXPECT_TRUE(reading.header.local);
    EXPECT_EQ(reading.header.source.family, Family::none);
    EXPECT_EQ(reading.header.alpn, "h2");
  }
}

TEST(ProxyProtocol, AcceptsLocalWhateverElseItSays) {
  const std::string broken = tlv(1, "h2") + tlv(3, "????");
  for (const std::string& bytes : {binary(0x20, 0x00, ""), binary(0x20, 0xff, "nonsense"),
                                   binary(0x20, over_ipv4, ""), binary(0x20, over_ipv4, ipv4_block),
                                   binary(0x20, 0x00, "nonsense"), binary(0x20, 0x00, broken)}) {
    ProxyReading expected{.state = State::complete, .why = {}, .header = {}};
    expected.header.local = true;
    expected.header.size = bytes.size();
    EXPECT_EQ(text(read(bytes + "more")), text(expected));
  }
  const auto reading = read(binary(0x20, 0x00, tlv(2, "a.example")));
  EXPECT_TRUE(reading.header.local);
  EXPECT_EQ(reading.header.authority, "a.example");
}

TEST(ProxyProtocol, ReadsAHeaderThatComesByteByByte) {
  for (const std::string& header : sound_headers()) {
    const std::string bytes = header + "and what follows";
    for (std::size_t size = 0; size < header.size(); ++size) {
      EXPECT_EQ(read(bytes.substr(0, size)).state, State::incomplete) << size << " of " << header;
    }
    const std::string whole = text(read(header));
    for (std::size_t size = header.size(); size <= bytes.size(); ++size) {
      EXPECT_EQ(text(read(bytes.substr(0, size))), whole);
    }
    EXPECT_EQ(read(header).header.size, header.size());
  }
}

TEST(ProxyProtocol, KnowsAtTheFirstOtherByteThatThereIsNoHeader) {
  for (const std::string_view start : {"PROXY "sv, signature}) {
    for (std::size_t size = 0; size < start.size(); ++size) {
      std::string bytes(start.substr(0, size));
      EXPECT_EQ(read(bytes).state, State::incomplete);
      bytes += static_cast<char>(start[size] ^ 0x20);
      EXPECT_EQ(read(bytes).state, State::absent) << bytes;
      EXPECT_EQ(read(bytes + " more").state, State::absent) << bytes;
    }
  }
  EXPECT_EQ(read("\x16\x03\x01").state, State::absent);
  EXPECT_EQ(read("POST / HTTP/1.1\r\n").state, State::absent);
}

// Each is malformed with its last byte, and might have become a header without it.
std::vector<std::string> malformed_headers() {
  std::vector<std::string> cases;
  for (const std::string_view line : {"TCP5"sv,
                                      "U "sv,
                                      "t"sv,
                                      " "sv,
                                      "\r"sv,
                                      "TCP4\r"sv,
                                      "TCP4\t"sv,
                                      "UNKNOWNS"sv,
                                      "UNKNOWN\rx"sv,
                                      "UNKNOWN\n"sv,
                                      "TCP4 x"sv,
                                      "TCP4 192.0.2.1\0"sv,
                                      "TCP4 192.0.2.1 192.0.2.2 1 2\n"sv,
                                      "TCP4 192.0.2.1 192.0.2.2 1 2\r\r"sv,
                                      "TCP4 192.0.2.1 192.0.2.2 -"sv,
                                      "TCP6 fe80::1%"sv,
                                      "TCP6 ["sv,
                                      "TCP4 \r\n"sv,
                                      "TCP4 192.0.2.1 192.0.2.2 +"sv,
                                      "TCP4 192.0.2.1 192.0.2.2 1\r\n"sv,
                                      "TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n"sv,
                                      "TCP4 192.0.2.1 192.0.2.2 1 2 \r\n"sv,
                                      "TCP4 192.0.2.1 192.0.2.2 1  2\r\n"sv,
                                      "TCP4 192.0.2.1  192.0.2.2 1 2\r\n"sv,
                                      "TCP4  192.0.2.1 192.0.2.2 1 2\r\n"sv,
                                      "TCP4 192.0.2.1 192.0.2.2 01 2\r\n"sv,
                                      "TCP4 192.0.2.1 192.0.2.2 1 00\r\n"sv,
                                      "TCP4 192.0.2.1 192.0.2.2 65536 2\r\n"sv,
                                      "TCP4 192.0.2.1 192.0.2.2 1 4294967297\r\n"sv,
                                      "TCP4 192.0.2.1 192.0.2.2 1 a\r\n"sv,
                                      "TCP4 192.0.2.1 192.0.2.2 1 \r\n"sv,
                                      "TCP4 192.0.2.01 192.0.2.2 1 2\r\n"sv,
                                      "TCP4 192.0.2.256 192.0.2.2 1 2\r\n"sv,
                                      "TCP4 192.0.2 192.0.2.2 1 2\r\n"sv,
                                      "TCP4 192.0.2.1.1 192.0.2.2 1 2\r\n"sv,
                                      "TCP4 3221225985 192.0.2.2 1 2\r\n"sv,
                                      "TCP4 ::1 ::2 1 2\r\n"sv,
                                      "TCP4 192.0.2.1 ::2 1 2\r\n"sv,
                                      "TCP6 192.0.2.1 192.0.2.2 1 2\r\n"sv,
                                      "TCP6 ::1 192.0.2.2 1 2\r\n"sv,
                                      "TCP6 1::2::3 ::2 1 2\r\n"sv,
                                      "TCP6 1:2:3:4:5:6:7 ::2 1 2\r\n"sv,
                                      "TCP6 1:2:3:4:5:6:7:8:9 ::2 1 2\r\n"sv,
                                      "TCP6 00001::2 ::2 1 2\r\n"sv,
                                      "TCP6 ::1:: ::2 1 2\r\n"sv}) {
    cases.push_back("PROXY " + std::string(line));
  }
  cases.push_back("PROXY TCP4 " + std::string(96, '1'));
  cases.push_back("PROXY TCP4 " + std::string(95, '1') + "\r");
  cases.push_back("PROXY UNKNOWN " + std::string(93, 'x'));
  cases.push_back("PROXY UNKNOWN " + std::string(92, 'x') + "\r");
  for (const std::string_view head : {"\x01"sv,
                                      "\x11"sv,
                                      "\x31"sv,
                                      "\x22"sv,
                                      "\x2f"sv,  // version, command
                                      "\x21\x41"sv,
                                      "\x21\xf1"sv,
                                      "\x21\x13"sv,
                                      "\x21\x0f"sv,  // unknown
                                      "\x21\x12"sv,
                                      "\x21\x22"sv,
                                      "\x21\x32"sv,
                                      "\x21\x02"sv,  // datagrams
                                      "\x21\x11\0\0"sv,
                                      "\x21\x11\0\x0b"sv,
                                      "\x21\x21\0\x23"sv,
                                      "\x21\x31\0\xd7"sv,  // too short
                                      "\x21\x11\x0f\xf1"sv,
                                      "\x21\x11\xff\xff"sv,
                                      "\x20\0\x0f\xf1"sv}) {  // too long
    cases.push_back(std::string(signature).append(head));
  }
  for (const std::string& tlvs :
       {"\1"s, "\1\0"s, "\1\0\1"s, "\4\0\0\4\xff\xff"s, tlv(1, "h2") + "x", tlv(3, "????"),
        tlv(3, "???"), tlv(3, ""), tlv(5, std::string(129, 'x')), tlv(0x20, ""),
        tlv(0x20, "\1\0\0\0"sv), tlv(0x20, "\1\0\0\0\1\x21"sv),
        tlv(0x20, "\1\0\0\0\1\x21\0\1"sv)}) {
    cases.push_back(with_tlvs(tlvs));
  }
  cases.push_back(with_checksum(tlv(3, "\0\0\0\0"sv)));
  cases.push_back(binary(0x21, 0x00, "nonsense"));
  return cases;
}

TEST(ProxyProtocol, RefusesWhatIsMalformedAsSoonAsItIs) {
  for (const std::string& bytes : malformed_headers()) {
    for (std::size_t size = 0; size < bytes.size(); ++size) {
      ASSERT_EQ(read(bytes.substr(0, size)).state, State::incomplete) << size << " of " << bytes;
    }
    const auto reading = read(bytes);
    ASSERT_EQ(reading.state, State::malformed) << bytes;
    EXPECT_TRUE(reading.why.starts_with("PROXY header ")) << reading.why;
    EXPECT_EQ(text(read(bytes + "\r\n and more")), text(reading)) << bytes;
  }
}

TEST(ProxyProtocol, TakesHeadersOfUpTo4096Bytes) {
  const auto reading = read(binary(0x21, 0, tlv(4, std::string(4096 - 16 - 3, 'x'))));
  EXPECT_EQ(reading.state, State::complete);
  EXPECT_EQ(reading.header.size, ProxyHeader::most_size);
}

TEST(ProxyProtocol, CountsTheFirstOfTwo) {
  const auto reading = read(with_tlvs(
      tlv(1, "h2") + tlv(1, "http/1.1") + tlv(2, "-?-") + tlv(2, "b.example") + tlv(5, "one") +
      tlv(5, std::string(200, 'x')) +
      tlv(0x20, "\1\0\0\0\1"s + tlv(0x21, "TLSv1.2") + tlv(0x21, "TLSv1.3")) + tlv(0x20, "")));
  ASSERT_EQ(reading.state, State::complete) << reading.why;
  EXPECT_EQ(reading.header.alpn, "h2");
  EXPECT_EQ(reading.header.authority, "");
  EXPECT_EQ(reading.header.unique_id, "one");
  EXPECT_EQ(reading.header.tls_version, "TLSv1.2");
}

TEST(ProxyProtocol, TakesOnlyHostNamesAsAuthority) {
  const auto authority = [](std::string_view value) {
    return read(with_tlvs(tlv(2, value))).header.authority;
  };
  EXPECT_EQ(authority("API.Example.COM"), "api.example.com");
  EXPECT_EQ(authority("xn--bcher-kva.example"), "xn--bcher-kva.example");
  EXPECT_EQ(authority("_a-1"), "_a-1");
  EXPECT_EQ(authority("192.0.2.1"), "192.0.2.1");
  EXPECT_EQ(authority(std::string(255, 'a')), std::string(255, 'a'));
  for (const std::string& value :
       {""s, "."s, "a."s, ".a"s, "a..b"s, "a b"s, "a\0b"s, "a\n"s, "*.example.com"s, "a:443"s,
        "b\xc3\xbc\x63her.example"s, "\x7f"s, std::string(256, 'a')}) {
    EXPECT_EQ(authority(value), "") << value;
    EXPECT_EQ(read(with_tlvs(tlv(2, value))).state, State::complete) << value;
  }
}

TEST(ProxyProtocol, LeavesOutTextsThatAreTooLong) {
  const std::string most(255, 'x');
  const std::string more(256, 'x');
  EXPECT_EQ(read(with_tlvs(tlv(1, most))).header.alpn, most);
  EXPECT_EQ(read(with_tlvs(tlv(1, more))).header.alpn, "");
  const auto reading = read(
      with_tlvs(tlv(0x20, "\1\0\0\0\0"s + tlv(0x21, more) + tlv(0x22, more) + tlv(0x23, more))));
  ASSERT_EQ(reading.state, State::complete);
  EXPECT_TRUE(reading.header.client_tls);
  EXPECT_EQ(reading.header.tls_version + reading.header.tls_cipher, "");
  EXPECT_EQ(reading.header.tls_common_name, "");
  EXPECT_EQ(read(with_tlvs(tlv(5, most.substr(0, 128)))).header.unique_id.size(), 128u);
}

TEST(ProxyProtocol, CallsAClientVerifiedOnlyWhenItHasShownACertificate) {
  // TLS, certificate, verified
  for (const auto& [tls, expected] : {std::pair{"\1\0\0\0\0"sv, "100"},
                                      {"\3\0\0\0\0"sv, "111"},
                                      {"\5\0\0\0\0"sv, "111"},
                                      {"\7\0\0\0\1"sv, "110"},
                                      {"\7\1\0\0\0"sv, "110"},
                                      {"\6\0\0\0\0"sv, "000"}}) {
    const auto header = read(with_tlvs(tlv(0x20, std::string(tls) + tlv(0x22, "me")))).header;
    EXPECT_EQ(fmt::format("{:d}{:d}{:d}", header.client_tls, header.client_certificate,
                          header.client_verified),
              expected);
    EXPECT_EQ(header.tls_common_name, header.client_tls ? "me" : "");
  }
}

TEST(ProxyProtocol, KnowsTheChecksumOfRfc3720) {
  const auto sum = [](std::string_view bytes) { return crc32c(std::as_bytes(std::span(bytes))); };
  EXPECT_EQ(sum(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(sum(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(sum("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(std::as_bytes(std::span("56789"sv)), sum("1234")), 0xe3069283u);
  EXPECT_EQ(sum(""), 0u);
}

TEST(ProxyProtocol, RefusesAHeaderThatItsChecksumDoesNotFit) {
  ASSERT_EQ(read(with_checksum(tlv(1, "h2"))).state, State::complete);
  const std::string sound = from(golden);
  for (std::size_t bit = 16 * 8; bit < 28 * 8; ++bit) {  // the addresses
    std::string bytes = sound;
    bytes[bit / 8] = static_cast<char>(bytes[bit / 8] ^ (1 << bit % 8));
    EXPECT_EQ(read(bytes).state, State::malformed) << bit;
  }
}

ProxyFacts golden_facts() {
  ProxyFacts facts;
  facts.source = address("192.0.2.1", 56324);
  facts.destination = address("198.51.100.7", 443);
  facts.authority = "api.example.com";
  facts.alpn = "h2";
  facts.unique_id = "id-1";
  facts.tls = true;
  facts.certificate = true;
  facts.verified = true;
  facts.tls_version = "TLSv1.3";
  facts.tls_cipher = "TLS_AES_128_GCM_SHA256";
  facts.common_name = "client.example";
  return facts;
}

TEST(ProxyProtocol, WritesLines) {
  ProxyFacts facts = golden_facts();
  const auto line = [&] { return proxy_header(SendProxy::v1, facts); };
  EXPECT_EQ(line(), "PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n");
  facts.destination = address("2001:db8::2", 443);
  EXPECT_EQ(line(), "PROXY TCP6 ::ffff:c000:201 2001:db8::2 56324 443\r\n");
  facts.source = address("2001:db8::1", 0);
  EXPECT_EQ(line(), "PROXY TCP6 2001:db8::1 2001:db8::2 0 443\r\n");
  facts.destination = address("198.51.100.7", 65535);
  EXPECT_EQ(line(), "PROXY TCP6 2001:db8::1 ::ffff:c633:6407 0 65535\r\n");
  facts.source.family = Family::unix_socket;
  EXPECT_EQ(line(), "PROXY UNKNOWN\r\n");
  facts.source.family = Family::none;
  EXPECT_EQ(line(), "PROXY UNKNOWN\r\n");
}

TEST(ProxyProtocol, WritesBinaryHeaders) {
  ProxyFacts facts;
  facts.source = address("192.0.2.1", 56324);
  facts.destination = address("198.51.100.7", 443);
  EXPECT_EQ(proxy_header(SendProxy::v2, facts), with_tlvs(""));
  facts.destination = address("2001:db8::2", 443);
  EXPECT_EQ(proxy_header(SendProxy::v2, facts),
            from("0d0a0d0a000d0a515549540a 21 21 0024 00000000000000000000ffffc0000201"
                 "20010db8000000000000000000000002 dc04 01bb"));
  EXPECT_EQ(proxy_header(SendProxy::v2, golden_facts()),
            from("0d0a0d0a000d0a515549540a 21 11 0066 c0000201 c6336407 dc04 01bb"
                 "01 0002 6832  02 000f 6170692e6578616d706c652e636f6d  05 0004 69642d31"
                 "20 0039 07 00000000 21 0007 544c5376312e33"
                 "22 000e 636c69656e742e6578616d706c65"
                 "23 0016 544c535f4145535f3132385f47434d5f534841323536"));
}

TEST(ProxyProtocol, WritesWhatIsKnownOfTheCertificate) {
  const auto tls = [](bool certificate, bool resumed, bool verified, const char* common_name) {
    ProxyFacts facts;
    facts.tls = true;
    facts.certificate = certificate;
    facts.resumed = resumed;
    facts.verified = verified;
    facts.common_name = common_name;
    return proxy_header(SendProxy::v2, facts).substr(16);
  };
  EXPECT_EQ(tls(false, false, false, ""), tlv(0x20, "\1\0\0\0\1"sv));
  EXPECT_EQ(tls(false, true, false, ""), tlv(0x20, "\1\0\0\0\1"sv));
  EXPECT_EQ(tls(true, false, false, ""), tlv(0x20, "\7\0\0\0\1"sv));
  EXPECT_EQ(tls(true, true, true, ""), tlv(0x20, "\5\0\0\0\0"sv));
  EXPECT_EQ(tls(false, false, true, ""), tlv(0x20, "\7\0\0\0\0"sv));
  EXPECT_EQ(tls(false, false, false, "x"), tlv(0x20, "\7\0\0\0\1\x22\0\1x"sv));
}

TEST(ProxyProtocol, SpeaksForItselfWithoutAClient) {
  EXPECT_EQ(local_proxy_header(SendProxy::off), "");
  EXPECT_EQ(local_proxy_header(SendProxy::v1), "PROXY UNKNOWN\r\n");
  EXPECT_EQ(local_proxy_header(SendProxy::v2), binary(0x20, 0, ""));
  EXPECT_EQ(proxy_header(SendProxy::off, golden_facts()), "");
}

TEST(ProxyProtocol, KeepsTheFactsOfAClientAtAUnixSocket) {
  ProxyFacts facts = golden_facts();
  facts.source = {};
  facts.source.family = Family::unix_socket;
  const auto reading = read(proxy_header(SendProxy::v2, facts));
  ASSERT_EQ(reading.state, State::complete);
  EXPECT_TRUE(reading.header.local);
  EXPECT_EQ(reading.header.authority, "api.example.com");
  EXPECT_EQ(reading.header.tls_common_name, "client.example");
}

TEST(ProxyProtocol, DoesNotWriteWhatItWouldNotRead) {
  ProxyFacts facts = golden_facts();
  facts.tls_version = facts.tls_cipher = facts.common_name = std::string(255, 't');
  facts.authority = facts.alpn = std::string(255, 'a');
  facts.unique_id = std::string(128, 'u');
  auto reading = read(proxy_header(SendProxy::v2, facts));
  ASSERT_EQ(reading.state, State::complete);
  EXPECT_EQ(reading.header.tls_cipher, facts.tls_cipher);
  EXPECT_EQ(reading.header.authority, facts.authority);
  EXPECT_EQ(reading.header.unique_id, facts.unique_id);

  facts.tls_version = facts.tls_cipher = facts.common_name = std::string(70000, 't');
  facts.authority = facts.alpn = facts.unique_id = std::string(256, 'a');
  EXPECT_EQ(proxy_header(SendProxy::v2, facts), with_tlvs(tlv(0x20, "\7\0\0\0\0"sv)));
}

class Random {
 public:
  explicit Random(unsigned seed) : random_(seed) {}
  std::size_t below(std::size_t end) { return random_() % end; }
  bool coin() { return below(2) == 0; }
  std::string letters(std::size_t most) {
    std::string text(below(most + 1), '\0');
    for (char& c : text) c = static_cast<char>('a' + below(26));
    return text;
  }
  SocketAddress ip() {
    SocketAddress result;
    result.family = coin() ? Family::ipv4 : Family::ipv6;
    result.port = static_cast<std::uint16_t>(below(65536));
    const std::size_t size = result.family == Family::ipv4 ? 4 : 16;
    for (std::size_t i = 0; i < size; ++i) result.bytes[i] = static_cast<std::uint8_t>(below(256));
    return result;
  }
  void mutate(std::string& bytes, const std::vector<std::string>& others) {
    const std::size_t at = below(bytes.size() + 1);
    const std::size_t size = below(8);
    const auto any = static_cast<char>(below(256));
    const std::size_t way = below(6);
    if (way == 0) bytes.insert(at, 1, any);
    if (way == 1) bytes.erase(at, size);
    if (way == 2) bytes.insert(at, bytes.substr(below(bytes.size() + 1), size));
    if (way == 3) bytes.replace(at, std::string::npos, others[below(others.size())], 0);
    if (way == 4 && bytes.size() > 15) bytes[14 + size % 2] = any;  // a binary header's length
    if (way == 5 && at < bytes.size()) bytes[at] = any;
  }

 private:
  std::mt19937 random_;
};

TEST(ProxyProtocol, ReadsWhatItHasWritten) {
  Random random(1);
  for (int i = 0; i < 2000; ++i) {
    ProxyFacts facts;
    facts.source = random.ip();
    facts.destination = random.ip();
    facts.authority = random.letters(255);
    facts.alpn = random.letters(20);
    facts.unique_id = random.letters(128);
    facts.tls = random.coin();
    facts.verified = facts.tls && random.coin();
    facts.certificate = facts.verified || (facts.tls && random.coin());
    facts.resumed = random.coin();
    if (facts.tls) facts.tls_version = random.letters(10);
    if (facts.tls) facts.tls_cipher = random.letters(30);
    if (facts.certificate) facts.common_name = random.letters(64);

    ProxyReading expected{.state = State::complete, .why = {}, .header = {}};
    expected.header.source = facts.source;
    expected.header.destination = facts.destination;
    const std::string line = proxy_header(SendProxy::v1, facts);
    expected.header.size = line.size();
    EXPECT_EQ(text(read(line)), text(expected)) << line;

    const std::string bytes = proxy_header(SendProxy::v2, facts);
    expected.header.size = bytes.size();
    expected.header.authority = facts.authority;
    expected.header.alpn = facts.alpn;
    expected.header.unique_id = facts.unique_id;
    expected.header.client_tls = facts.tls;
    expected.header.client_certificate = facts.certificate;
    expected.header.client_verified = facts.verified;
    expected.header.tls_version = facts.tls_version;
    expected.header.tls_cipher = facts.tls_cipher;
    expected.header.tls_common_name = facts.common_name;
    EXPECT_EQ(text(read(bytes)), text(expected));
  }
}

// Once decided, more bytes change nothing; a size is never more than was seen.
TEST(ProxyProtocol, StaysSoundWhateverArrives) {
  constexpr unsigned seed = 20;
  SCOPED_TRACE(fmt::format("seed {}", seed));
  Random random(seed);
  const std::vector<std::string> sound = sound_headers();
  std::array<int, 4> seen{};
  for (int i = 0; i < 200'000; ++i) {
    std::string bytes = sound[random.below(sound.size())];
    for (std::size_t n = random.below(4); n > 0; --n) random.mutate(bytes, sound);
    const auto reading = read(bytes);
    ++seen[static_cast<std::size_t>(reading.state)];
    ASSERT_LE(reading.header.size, bytes.size());
    ASSERT_EQ(reading.header.size > 0, reading.state == State::complete);
    ASSERT_EQ(reading.why.empty(), reading.state != State::malformed);
    ASSERT_EQ(text(read(bytes)), text(reading));
    const auto earlier = read(bytes.substr(0, random.below(bytes.size() + 1)));
    if (earlier.state != State::incomplete) {
      ASSERT_EQ(text(earlier), text(reading));
    }
    if (reading.state == State::complete) {
      ASSERT_EQ(text(read(bytes.substr(0, reading.header.size))), text(reading));
    }
  }
  for (const int count : seen) EXPECT_GT(count, 1000);
}

}  // namespace
}  // namespace weir::proxy
