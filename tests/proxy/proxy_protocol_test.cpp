#include "proxy/proxy_protocol.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <tuple>
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

// Everything that the golden header says, and a NOOP and a TLV of somebody's own. The checksum was
// made by another program.
constexpr std::string_view golden =
    "0d0a0d0a000d0a515549540a 21 11 0076 c0000201 c6336407 dc04 01bb"
    "01 0002 6832  02 000f 4150492e6578616d706c652e636f6d"     // ALPN h2, authority API.example.com
    "05 0004 69642d31  20 0039 07 00000000"                    // id-1, TLS, certificate verified
    "   21 0007 544c5376312e33"                                // TLSv1.3
    "   22 000e 636c69656e742e6578616d706c65"                  // client.example
    "   23 0016 544c535f4145535f3132385f47434d5f534841323536"  // TLS_AES_128_GCM_SHA256
    "04 0002 0000  ea 0001 78  03 0004 ca129033";

// From memory that ends with the bytes: AddressSanitizer sees who looks further.
ProxyReading read(std::string_view bytes) {
  const std::vector<char> exact(bytes.begin(), bytes.end());
  return read_proxy_header(std::as_bytes(std::span(exact)));
}

std::string from(std::string_view digits) {
  const auto bytes = from_hex(digits);
  return {bytes.begin(), bytes.end()};
}

std::string tlv(unsigned type, std::string_view value) {
  const std::size_t size = value.size();
  return std::string{static_cast<char>(type), static_cast<char>(size >> 8), static_cast<char>(size)}
      .append(value);
}

// The head's family and length are laid out as a TLV's type and length.
std::string binary(unsigned command, unsigned family, std::string_view rest) {
  return std::string(signature) + static_cast<char>(command) + tlv(family, rest);
}

std::string with_tlvs(const std::string& tlvs) {
  return binary(0x21, 0x11, std::string(ipv4_block) + tlvs);
}

SocketAddress address(std::string_view host, std::size_t port) {
  const int version = host.contains(':') ? 6 : 4;
  return read(fmt::format("PROXY TCP{0} {1} {1} {2} {2}\r\n", version, host, port)).header.source;
}

std::string ends(std::string_view bytes) {
  const ProxyHeader header = read(bytes).header;
  return header.source.text() + ">" + header.destination.text();
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

// The text of a header that leaves the addresses alone and says nothing more.
std::string local_text(std::size_t size) {
  ProxyReading reading{.state = State::complete, .why = {}, .header = {}};
  reading.header.size = size;
  reading.header.local = true;
  return text(reading);
}

std::vector<std::string> parts_of(std::string_view text) {
  std::vector<std::string> parts(1);
  for (const char c : text) c == '|' ? void(parts.emplace_back()) : parts.back().push_back(c);
  return parts;
}

std::vector<std::string> sound_headers() {
  return {"PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\n"s,
          "PROXY UNKNOWN 1 x\r\n"s,
          "PROXY TCP6 2001:db8::1 2001:DB8:0:0:0:0:0:2 4711 443\r\n"s,
          from(golden),
          with_tlvs(""),
          binary(0x21, 0x21, std::string(36, '\7') + tlv(1, "h2")),
          binary(0x21, 0x31, std::string(216, 'x') + tlv(5, "id")),
          binary(0x21, 0x00, tlv(2, "a.example")),
          binary(0x20, 0x00, ""),
          binary(0x20, 0x00, tlv(2, "a.example"))};
}

TEST(ProxyProtocol, ReadsLines) {
  EXPECT_EQ(ends("PROXY TCP4 192.0.2.1 198.51.100.7 56324 443\r\nGET / HTTP/1.1\r\n"),
            "192.0.2.1:56324>198.51.100.7:443");
  EXPECT_EQ(ends("PROXY TCP4 0.0.0.0 255.255.255.255 0 65535\r\n"),
            "0.0.0.0:0>255.255.255.255:65535");
  EXPECT_EQ(ends("PROXY TCP6 2001:DB8::a 2001:db8:0:0:0:0:0:b 4711 443\r\n"),
            "[2001:db8::a]:4711>[2001:db8::b]:443");
}

TEST(ProxyProtocol, TurnsMappedIpv6IntoIpv4) {
  for (const char* mapped : {"::ffff:192.0.2.1", "::ffff:c000:201", "0:0:0:0:0:FFFF:c000:0201"}) {
    EXPECT_EQ(ends(fmt::format("PROXY TCP6 {} ::1 1 2\r\n", mapped)), "192.0.2.1:1>[::1]:2");
  }
  EXPECT_EQ(ends(from("0d0a0d0a000d0a515549540a 21 21 0024 00000000000000000000ffffc0000201"
                      "20010db8000000000000000000000002 1267 01bb")),
            "192.0.2.1:4711>[2001:db8::2]:443");
}

TEST(ProxyProtocol, IgnoresWhatStandsBehindUnknown) {
  const std::string longest = "PROXY UNKNOWN " + std::string(91, 'x') + "\r\n";
  ASSERT_EQ(longest.size(), 107u);
  for (const std::string& line : {"PROXY UNKNOWN\r\n"s, "PROXY UNKNOWN \r\n"s,
                                  "PROXY UNKNOWN TCP4 \r \n\n\r\r\n"s, longest}) {
    EXPECT_EQ(text(read(line + "\r\nHELO")), local_text(line.size())) << line;
  }
}

TEST(ProxyProtocol, ReadsAllThatABinaryHeaderSays) {
  EXPECT_EQ(text(read(from(golden) + "\x16\x03\x01")),
            "3 '' 134 false 192.0.2.1:56324>198.51.100.7:443 'api.example.com' 'h2' 'id-1' "
            "true true true 'TLSv1.3' 'TLS_AES_128_GCM_SHA256' 'client.example'");
}

TEST(ProxyProtocol, ReadsUnixSocketsWithoutTheirPaths) {
  const std::string bytes = binary(0x21, 0x31, std::string(216, 'x') + tlv(5, "id"));
  EXPECT_EQ(ends(bytes), "unix>unix");
  EXPECT_FALSE(read(bytes).header.local);
  EXPECT_EQ(read(bytes).header.unique_id, "id");
}

TEST(ProxyProtocol, LeavesTheAddressesAloneWhenFamilyOrTransportAreUnspecified) {
  constexpr std::array<std::size_t, 4> sizes{0, 12, 36, 216};
  for (const unsigned family : {0x00u, 0x01u, 0x10u, 0x20u, 0x30u}) {
    const std::string addresses(sizes[family >> 4], '\1');
    const std::string bytes = binary(0x21, family, addresses + tlv(1, "h2"));
    EXPECT_EQ(read(bytes).header.alpn, "h2") << family;
    EXPECT_EQ(read(bytes).header.local, true) << family;
    EXPECT_EQ(ends(bytes), ">") << family;
  }
}

TEST(ProxyProtocol, AcceptsLocalWhateverElseItSays) {
  for (const std::string& bytes :
       {binary(0x20, 0x00, ""), binary(0x20, 0xff, "nonsense"), binary(0x20, 0x11, tlv(1, "h2")),
        binary(0x20, 0x11, ipv4_block), binary(0x20, 0x00, "nonsense"),
        binary(0x20, 0x00, tlv(1, "h2") + tlv(3, "????"))}) {
    EXPECT_EQ(text(read(bytes + "more")), local_text(bytes.size()));
  }
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
}

// What follows "PROXY ", separated by bars.
constexpr std::string_view malformed_lines =
    "TCP5|U |t| |\r|TCP4\r|TCP4\t|UNKNOWNS|UNKNOWN\rx|UNKNOWN\n|TCP6 [|TCP4 x|TCP4 192.0.2.1\0|"
    "TCP4 192.0.2.1 192.0.2.2 1 2\n|TCP4 192.0.2.1 192.0.2.2 1 2\r\r|TCP4 192.0.2.1 192.0.2.2 -|"
    "TCP4 192.0.2.1 192.0.2.2 +|TCP6 fe80::1%|TCP4 \r\n|TCP4 192.0.2.1 192.0.2.2 1\r\n|"
    "TCP4 192.0.2.1 192.0.2.2 1 2 3\r\n|TCP4 192.0.2.1 192.0.2.2 1 2 \r\n|"
    "TCP4 192.0.2.1 192.0.2.2 1  2\r\n|TCP4 192.0.2.1  192.0.2.2 1 2\r\n|"
    "TCP4  192.0.2.1 192.0.2.2 1 2\r\n|TCP4 192.0.2.1 192.0.2.2 01 2\r\n|"
    "TCP4 192.0.2.1 192.0.2.2 1 00\r\n|TCP4 192.0.2.1 192.0.2.2 65536 2\r\n|"
    "TCP4 192.0.2.1 192.0.2.2 1 4294967297\r\n|TCP4 192.0.2.1 192.0.2.2 1 a\r\n|"
    "TCP4 192.0.2.1 192.0.2.2 1 \r\n|TCP4 192.0.2.01 192.0.2.2 1 2\r\n|"
    "TCP4 192.0.2.256 192.0.2.2 1 2\r\n|TCP4 192.0.2 192.0.2.2 1 2\r\n|"
    "TCP4 192.0.2.1.1 192.0.2.2 1 2\r\n|TCP4 3221225985 192.0.2.2 1 2\r\n|"
    "TCP4 ::1 ::2 1 2\r\n|TCP4 192.0.2.1 ::2 1 2\r\n|TCP6 192.0.2.1 192.0.2.2 1 2\r\n|"
    "TCP6 ::1 192.0.2.2 1 2\r\n|TCP6 1::2::3 ::2 1 2\r\n|TCP6 1:2:3:4:5:6:7 ::2 1 2\r\n|"
    "TCP6 1:2:3:4:5:6:7:8:9 ::2 1 2\r\n|TCP6 00001::2 ::2 1 2\r\n|TCP6 ::1:: ::2 1 2\r\n"sv;

// What follows the signature: version and command, family and transport, length.
constexpr std::string_view malformed_heads =
    "01|11|31|22|2f|2141|21f1|2113|210f|"   // unknown
    "2112|2122|2132|2102|"                  // datagrams
    "21110000|2111000b|21210023|213100d7|"  // too short for the addresses
    "21110ff1|2111ffff|20000ff1";           // more than 4096 bytes

// Each is malformed with its last byte, and might have become a header without it. Of the two
// checksums the first is right.
std::vector<std::string> malformed_headers() {
  const std::string start(signature);
  std::vector<std::string> cases;
  for (const auto& line : parts_of(malformed_lines)) cases.push_back("PROXY " + line);
  for (const auto& head : parts_of(malformed_heads)) cases.push_back(start + from(head));
  cases.push_back("PROXY TCP4 " + std::string(96, '1'));
  cases.push_back("PROXY TCP4 " + std::string(95, '1') + "\r");
  cases.push_back("PROXY UNKNOWN " + std::string(93, 'x'));
  cases.push_back("PROXY UNKNOWN " + std::string(92, 'x') + "\r");
  for (const std::string& tlvs :
       {"\1"s, "\1\0"s, "\1\0\1"s, "\4\0\0\4\xff\xff"s, tlv(1, "h2") + "x", tlv(3, "????"),
        tlv(3, "???"), tlv(3, ""), tlv(5, std::string(129, 'x')), tlv(0x20, ""),
        tlv(0x20, "\1\0\0\0"sv), tlv(0x20, "\1\0\0\0\1\x21"sv), tlv(0x20, "\1\0\0\0\1\x21\0\1"sv),
        from("0300047c667f36 03000400000000")}) {
    cases.push_back(with_tlvs(tlvs));
  }
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
  const std::string bytes = binary(0x21, 0, tlv(4, std::string(4096 - 16 - 3, 'x')));
  EXPECT_EQ(text(read(bytes)), local_text(ProxyHeader::most_size));
}

TEST(ProxyProtocol, CountsTheFirstOfTwo) {
  const auto reading = read(with_tlvs(
      tlv(1, "h2") + tlv(1, "http/1.1") + tlv(2, "-?-") + tlv(2, "b.example") + tlv(5, "one") +
      tlv(5, std::string(200, 'x')) +
      tlv(0x20, "\1\0\0\0\1"s + tlv(0x21, "TLSv1.2") + tlv(0x21, "TLSv1.3")) + tlv(0x20, "")));
  EXPECT_EQ(text(reading),
            "3 '' 302 false 192.0.2.1:56324>198.51.100.7:443 '' 'h2' 'one' "
            "true false false 'TLSv1.2' '' ''");
}

TEST(ProxyProtocol, TakesOnlyHostNamesAsAuthority) {
  const auto authority = [](std::string_view value) {
    return read(with_tlvs(tlv(2, value))).header.authority;
  };
  EXPECT_EQ(authority("API.Example.COM"), "api.example.com");
  EXPECT_EQ(authority("xn--bcher-kva.example"), "xn--bcher-kva.example");
  EXPECT_EQ(authority("_a.192.0.2.1"), "_a.192.0.2.1");
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
  EXPECT_EQ(read(with_tlvs(tlv(5, most.substr(0, 128)))).header.unique_id.size(), 128u);
  const std::string texts = tlv(0x21, more) + tlv(0x22, more) + tlv(0x23, more);
  EXPECT_EQ(text(read(with_tlvs(tlv(0x20, "\1\0\0\0\0"s + texts)))),
            "3 '' 813 false 192.0.2.1:56324>198.51.100.7:443 '' '' '' true false false '' '' ''");
}

TEST(ProxyProtocol, CallsAClientVerifiedOnlyWhenItHasShownACertificate) {
  const auto client = [](std::string_view tls) {
    const auto header = read(with_tlvs(tlv(0x20, std::string(tls) + tlv(0x22, "me")))).header;
    return fmt::format("tls {}, certificate {}, verified {}, name '{}'", header.client_tls,
                       header.client_certificate, header.client_verified, header.tls_common_name);
  };
  constexpr std::string_view verified = "tls true, certificate true, verified true, name 'me'";
  EXPECT_EQ(client("\3\0\0\0\0"sv), verified);
  EXPECT_EQ(client("\5\0\0\0\0"sv), verified);
  constexpr std::string_view unverified = "tls true, certificate true, verified false, name 'me'";
  EXPECT_EQ(client("\7\0\0\0\1"sv), unverified);
  EXPECT_EQ(client("\7\1\0\0\0"sv), unverified);
  EXPECT_EQ(client("\1\0\0\0\0"sv), "tls true, certificate false, verified false, name 'me'");
  EXPECT_EQ(client("\6\0\0\0\0"sv), "tls false, certificate false, verified false, name ''");
}

TEST(ProxyProtocol, KnowsTheChecksumOfRfc3720) {
  const auto sum = [](std::string_view bytes) { return crc32c(std::as_bytes(std::span(bytes))); };
  EXPECT_EQ(sum(std::string(32, '\0')), 0x8a9136aau);
  EXPECT_EQ(sum(std::string(32, '\xff')), 0x62a8ab43u);
  EXPECT_EQ(sum("123456789"), 0xe3069283u);
  EXPECT_EQ(crc32c(std::as_bytes(std::span("56789"sv)), sum("1234")), 0xe3069283u);
}

TEST(ProxyProtocol, RefusesAHeaderThatItsChecksumDoesNotFit) {
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
  facts.tls = facts.certificate = facts.verified = true;
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
  ProxyFacts facts;
  facts.tls = true;
  const auto tls = [&] { return proxy_header(SendProxy::v2, facts).substr(16); };
  EXPECT_EQ(tls(), tlv(0x20, "\1\0\0\0\1"sv));
  facts.certificate = true;
  EXPECT_EQ(tls(), tlv(0x20, "\7\0\0\0\1"sv));
  facts.verified = true;
  EXPECT_EQ(tls(), tlv(0x20, "\7\0\0\0\0"sv));
  facts.resumed = true;
  EXPECT_EQ(tls(), tlv(0x20, "\5\0\0\0\0"sv));
  facts.certificate = false;
  EXPECT_EQ(tls(), tlv(0x20, "\5\0\0\0\0"sv));
  facts.verified = false;
  facts.common_name = "x";
  EXPECT_EQ(tls(), tlv(0x20, "\5\0\0\0\1\x22\0\1x"sv));
}

TEST(ProxyProtocol, SpeaksForItselfWithoutAClient) {
  EXPECT_EQ(local_proxy_header(SendProxy::off), "");
  EXPECT_EQ(local_proxy_header(SendProxy::v1), "PROXY UNKNOWN\r\n");
  EXPECT_EQ(local_proxy_header(SendProxy::v2), binary(0x20, 0, ""));
  EXPECT_EQ(proxy_header(SendProxy::off, golden_facts()), "");
}

TEST(ProxyProtocol, KeepsTheFactsOfAClientAtAUnixSocket) {
  ProxyFacts facts = golden_facts();
  facts.source.family = Family::unix_socket;
  EXPECT_EQ(text(read(proxy_header(SendProxy::v2, facts))),
            "3 '' 106 true > 'api.example.com' 'h2' 'id-1' "
            "true true true 'TLSv1.3' 'TLS_AES_128_GCM_SHA256' 'client.example'");
}

TEST(ProxyProtocol, DoesNotWriteWhatItWouldNotRead) {
  ProxyFacts facts = golden_facts();
  facts.tls_version = facts.tls_cipher = facts.common_name = std::string(255, 't');
  facts.authority = facts.alpn = std::string(255, 'a');
  facts.unique_id = std::string(128, 'u');
  const ProxyHeader header = read(proxy_header(SendProxy::v2, facts)).header;
  EXPECT_EQ(std::tie(header.tls_cipher, header.authority, header.unique_id),
            std::tie(facts.tls_cipher, facts.authority, facts.unique_id));

  facts.tls_version = facts.tls_cipher = facts.common_name = std::string(70000, 't');
  facts.authority = facts.alpn = facts.unique_id = std::string(256, 'a');
  EXPECT_EQ(proxy_header(SendProxy::v2, facts), with_tlvs(tlv(0x20, "\7\0\0\0\0"sv)));
}

std::string letters(std::mt19937& random, std::size_t most) {
  std::string text(random() % (most + 1), '\0');
  for (char& c : text) c = static_cast<char>('a' + random() % 26);
  return text;
}

TEST(ProxyProtocol, ReadsWhatItHasWritten) {
  std::mt19937 random(1);
  const auto coin = [&] { return random() % 2 == 0; };
  for (int i = 0; i < 2000; ++i) {
    ProxyFacts facts;
    facts.source = address(coin() ? "192.0.2.1" : "2001:db8::1", random() & 0xffff);
    facts.destination = address(coin() ? "192.0.2.2" : "2001:db8::2", random() & 0xffff);
    facts.authority = letters(random, 255);
    facts.alpn = letters(random, 20);
    facts.unique_id = letters(random, 128);
    facts.tls = coin();
    facts.verified = facts.tls && coin();
    facts.certificate = facts.verified || (facts.tls && coin());
    facts.resumed = coin();
    facts.tls_version = letters(random, facts.tls ? 10 : 0);
    facts.tls_cipher = letters(random, facts.tls ? 30 : 0);
    facts.common_name = letters(random, facts.certificate ? 64 : 0);
    const std::string addresses = facts.source.text() + ">" + facts.destination.text();
    EXPECT_EQ(ends(proxy_header(SendProxy::v1, facts)), addresses);
    const std::string bytes = proxy_header(SendProxy::v2, facts);
    EXPECT_EQ(ends(bytes), addresses);
    const ProxyHeader header = read(bytes).header;
    EXPECT_EQ(header.size, bytes.size());
    EXPECT_EQ(std::tie(header.authority, header.alpn, header.unique_id),
              std::tie(facts.authority, facts.alpn, facts.unique_id));
    EXPECT_EQ(std::tie(header.client_tls, header.client_certificate, header.client_verified),
              std::tie(facts.tls, facts.certificate, facts.verified));
    EXPECT_EQ(std::tie(header.tls_version, header.tls_cipher, header.tls_common_name),
              std::tie(facts.tls_version, facts.tls_cipher, facts.common_name));
  }
}

void mutate(std::string& bytes, std::mt19937& random, const std::vector<std::string>& others) {
  const std::size_t at = random() % (bytes.size() + 1);
  const std::size_t size = random() % 8;
  const auto any = static_cast<char>(random());
  const std::string& other = others[random() % others.size()];
  const auto way = random() % 6;
  if (way == 0) bytes.insert(at, 1, any);
  if (way == 1) bytes.erase(at, size);
  if (way == 2) bytes.insert(at, other.substr(random() % other.size(), size));
  if (way == 3) bytes.replace(at, std::string::npos, other.substr(std::min(at, other.size())));
  if (way == 4 && bytes.size() > 15) bytes[14 + size % 2] = any;  // a binary header's length
  if (way == 5 && at < bytes.size()) bytes[at] = any;
}

// Once decided, more bytes change nothing; a size is never more than was seen.
TEST(ProxyProtocol, StaysSoundWhateverArrives) {
  constexpr unsigned seed = 20;
  SCOPED_TRACE(fmt::format("seed {}", seed));
  std::mt19937 random(seed);
  const std::vector<std::string> sound = sound_headers();
  std::array<int, 4> seen{};
  for (int i = 0; i < 200'000; ++i) {
    std::string bytes = sound[random() % sound.size()];
    for (auto n = random() % 4; n > 0; --n) mutate(bytes, random, sound);
    const auto reading = read(bytes);
    ++seen[static_cast<std::size_t>(reading.state)];
    ASSERT_LE(reading.header.size, bytes.size());
    ASSERT_EQ(reading.header.size > 0, reading.state == State::complete);
    ASSERT_EQ(reading.why.empty(), reading.state != State::malformed);
    const std::size_t end = reading.state == State::complete ? reading.header.size : bytes.size();
    ASSERT_EQ(text(read(bytes.substr(0, end))), text(reading));
    const auto earlier = read(bytes.substr(0, random() % (bytes.size() + 1)));
    if (earlier.state != State::incomplete) {
      ASSERT_EQ(text(earlier), text(reading));
    }
  }
  for (const int count : seen) EXPECT_GT(count, 1000);
}

}  // namespace
}  // namespace weir::proxy
