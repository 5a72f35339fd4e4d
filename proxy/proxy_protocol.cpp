#include "proxy/proxy_protocol.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <array>
#include <bitset>
#include <charconv>
#include <cstring>
#include <optional>

namespace weir::proxy {
namespace {

using Bytes = std::span<const std::byte>;
using Family = SocketAddress::Family;
using State = ProxyReading::State;
using namespace std::string_view_literals;

constexpr std::string_view line_start = "PROXY ";
constexpr std::string_view line_end = "\r\n";
constexpr std::size_t longest_line = 107;  // its end included

constexpr std::string_view signature = "\r\n\r\n\0\r\nQUIT\n"sv;
constexpr std::size_t head_size = 16;  // signature, version and command, family, length (2)
constexpr std::uint8_t version_2 = 0x20;
constexpr std::uint8_t command_local = 0;
constexpr std::uint8_t command_proxy = 1;
constexpr std::uint8_t unspecified = 0;  // family or transport
constexpr std::uint8_t family_ipv4 = 1;
constexpr std::uint8_t family_ipv6 = 2;  // and 3 are unix sockets
constexpr std::uint8_t transport_stream = 1;
constexpr std::uint8_t transport_datagram = 2;

// Of each family: source and destination, for IP with the ports after them.
constexpr std::array<std::size_t, 4> sizes_of_addresses{0, 12, 36, 216};

constexpr std::uint8_t tlv_alpn = 0x01;
constexpr std::uint8_t tlv_authority = 0x02;
constexpr std::uint8_t tlv_crc32c = 0x03;
constexpr std::uint8_t tlv_unique_id = 0x05;
constexpr std::uint8_t tlv_tls = 0x20;
constexpr std::uint8_t tlv_tls_version = 0x21;
constexpr std::uint8_t tlv_tls_common_name = 0x22;
constexpr std::uint8_t tlv_tls_cipher = 0x23;

constexpr std::size_t tlv_head_size = 3;  // type, length (2)
constexpr std::size_t tls_head_size = 5;  // client, verify (4)
constexpr std::uint8_t client_tls = 0x01;
constexpr std::uint8_t client_certificate_here = 0x02;
constexpr std::uint8_t client_certificate_in_session = 0x04;

// Whatever the facts are, a header of ours is within the bound of a reader of ours.
static_assert(head_size + sizes_of_addresses[family_ipv6] + 7 * tlv_head_size + tls_head_size +
                  ProxyHeader::most_unique_id + 5 * ProxyHeader::most_text <=
              ProxyHeader::most_size);

constexpr std::string_view cut_off = "PROXY header with a field that is cut off";

ProxyReading malformed(std::string_view why) {
  return {.state = State::malformed, .why = why, .header = {}};
}

ProxyReading complete(ProxyHeader header) {
  return {.state = State::complete, .why = {}, .header = std::move(header)};
}

std::uint8_t number8(Bytes bytes, std::size_t at) {
  return std::to_integer<std::uint8_t>(bytes[at]);
}

std::uint16_t number16(Bytes bytes, std::size_t at) {
  return static_cast<std::uint16_t>(number8(bytes, at) << 8 | number8(bytes, at + 1));
}

std::uint32_t number32(Bytes bytes, std::size_t at) {
  return std::uint32_t{number16(bytes, at)} << 16 | number16(bytes, at + 2);
}

std::string_view text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

// `address` holds 4 or 16 bytes; SocketAddress knows what an IPv4-mapped address is.
SocketAddress ip_address(int family, const void* address, std::uint16_t port) {
  if (family == AF_INET) {
    sockaddr_in in{};
    in.sin_family = AF_INET;
    in.sin_port = htons(port);
    std::memcpy(&in.sin_addr, address, sizeof in.sin_addr);
    return SocketAddress::from(reinterpret_cast<const sockaddr*>(&in));
  }
  sockaddr_in6 in6{};
  in6.sin6_family = AF_INET6;
  in6.sin6_port = htons(port);
  std::memcpy(&in6.sin6_addr, address, sizeof in6.sin6_addr);
  return SocketAddress::from(reinterpret_cast<const sockaddr*>(&in6));
}

std::optional<std::uint16_t> port_of(std::string_view text) {
  if (text.size() > 1 && text.starts_with('0')) return std::nullopt;
  std::uint16_t port = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), port);
  if (error != std::errc() || end != text.data() + text.size()) return std::nullopt;
  return port;
}

// inet_pton() takes no leading zeros in IPv4, as the specification asks. In IPv6 it takes dotted
// endings, which the specification does not know but HAProxy sends for mapped addresses.
bool read_ip(int family, std::string_view text, std::array<std::uint8_t, 16>& bytes) {
  return ::inet_pton(family, std::string(text).c_str(), bytes.data()) == 1;
}

// `line` is what stands between "TCP4 " or "TCP6 " and the end.
ProxyReading read_fields(int family, std::string_view line, std::size_t size) {
  std::array<std::string_view, 4> fields;
  for (std::string_view& field : fields) {
    const bool last = &field == &fields.back();
    const std::size_t end = last ? line.size() : line.find(' ');
    if (end == std::string_view::npos) return malformed("PROXY header with too few fields");
    field = line.substr(0, end);
    line.remove_prefix(last ? end : end + 1);
  }
  std::array<std::uint8_t, 16> source{};
  std::array<std::uint8_t, 16> destination{};
  if (!read_ip(family, fields[0], source) || !read_ip(family, fields[1], destination)) {
    return malformed("PROXY header with a bad address");
  }
  const auto source_port = port_of(fields[2]);
  const auto destination_port = port_of(fields[3]);
  if (!source_port || !destination_port) return malformed("PROXY header with a bad port");
  ProxyHeader header;
  header.size = size;
  header.source = ip_address(family, source.data(), *source_port);
  header.destination = ip_address(family, destination.data(), *destination_port);
  return complete(std::move(header));
}

// Everything before the end is ignored, lone CRs and LFs too.
ProxyReading read_unknown(std::string_view line, std::size_t after_word) {
  const std::string_view rest = line.substr(after_word);
  if (!rest.starts_with(' ') && !rest.starts_with(line_end) && !line_end.starts_with(rest)) {
    return malformed("PROXY header with an unknown protocol");
  }
  const std::size_t end = line.find(line_end);
  if (end == std::string_view::npos) return {};
  ProxyHeader header;
  header.size = end + line_end.size();
  header.local = true;
  return complete(std::move(header));
}

ProxyReading read_tcp(int family, std::string_view line, std::size_t after_word) {
  const std::size_t end = line.find_first_not_of("0123456789abcdefABCDEF.: ", after_word);
  if (end == std::string_view::npos) return {};
  const std::string_view rest = line.substr(end);
  if (rest.starts_with(line_end)) {
    return read_fields(family, line.substr(after_word, end - after_word), end + line_end.size());
  }
  if (line_end.starts_with(rest)) return {};
  return malformed("PROXY header with a stray byte");
}

ProxyReading read_line(std::string_view seen) {
  constexpr std::string_view tcp4 = "TCP4 ";
  constexpr std::string_view tcp6 = "TCP6 ";
  constexpr std::string_view unknown = "UNKNOWN";
  const std::string_view line = seen.substr(0, longest_line);
  const std::string_view rest = line.substr(line_start.size());
  ProxyReading reading;
  if (rest.starts_with(tcp4)) {
    reading = read_tcp(AF_INET, line, line_start.size() + tcp4.size());
  } else if (rest.starts_with(tcp6)) {
    reading = read_tcp(AF_INET6, line, line_start.size() + tcp6.size());
  } else if (rest.starts_with(unknown)) {
    reading = read_unknown(line, line_start.size() + unknown.size());
  } else if (!tcp4.starts_with(rest) && !tcp6.starts_with(rest) && !unknown.starts_with(rest)) {
    return malformed("PROXY header with an unknown protocol");
  }
  if (reading.state == State::incomplete && line.size() == longest_line) {
    return malformed("PROXY header whose line does not end");
  }
  return reading;
}

struct Tlv {
  std::uint8_t type;
  Bytes value;
};

// Takes the first one out of `bytes`; nothing when it runs over their end.
std::optional<Tlv> take_tlv(Bytes& bytes) {
  if (bytes.size() < tlv_head_size) return std::nullopt;
  const std::size_t length = number16(bytes, 1);
  if (bytes.size() - tlv_head_size < length) return std::nullopt;
  const Tlv tlv{.type = number8(bytes, 0), .value = bytes.subspan(tlv_head_size, length)};
  bytes = bytes.subspan(tlv_head_size + length);
  return tlv;
}

std::string bounded_text(Bytes value) {
  return value.size() > ProxyHeader::most_text ? std::string() : std::string(text_of(value));
}

// Letters, digits, hyphens and underscores in dotted labels, in lower case; else empty.
std::string host_name(Bytes value) {
  std::string name = bounded_text(value);
  bool label_is_empty = true;
  for (char& c : name) {
    if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    const bool is_dot = c == '.';
    const bool is_letter = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '_';
    if (is_dot ? label_is_empty : !is_letter) return {};
    label_is_empty = is_dot;
  }
  return label_is_empty ? std::string() : name;
}

// The checksum is that of the whole header with zeros in its own place.
bool checksum_is_right(Bytes whole, Bytes checksum) {
  const auto at = static_cast<std::size_t>(checksum.data() - whole.data());
  constexpr std::array<std::byte, 4> zeros{};
  std::uint32_t sum = crc32c(whole.first(at));
  sum = crc32c(zeros, sum);
  sum = crc32c(whole.subspan(at + zeros.size()), sum);
  return sum == number32(checksum, 0);
}

// The next four functions say what is wrong; nothing when nothing is.
std::string_view read_tls(Bytes value, ProxyHeader& header) {
  if (value.size() < tls_head_size) return cut_off;
  const std::uint8_t client = number8(value, 0);
  header.client_tls = (client & client_tls) != 0;
  header.client_certificate =
      header.client_tls &&
      (client & (client_certificate_here | client_certificate_in_session)) != 0;
  // HAProxy's verify is 0 as well where no certificate was shown.
  header.client_verified = header.client_certificate && number32(value, 1) == 0;
  std::bitset<256> seen;
  Bytes rest = value.subspan(tls_head_size);
  while (!rest.empty()) {
    const auto tlv = take_tlv(rest);
    if (!tlv) return cut_off;
    if (seen.test(tlv->type)) continue;
    seen.set(tlv->type);
    if (!header.client_tls) continue;
    if (tlv->type == tlv_tls_version) header.tls_version = bounded_text(tlv->value);
    if (tlv->type == tlv_tls_cipher) header.tls_cipher = bounded_text(tlv->value);
    if (tlv->type == tlv_tls_common_name) header.tls_common_name = bounded_text(tlv->value);
  }
  return {};
}

std::string_view read_tlv(const Tlv& tlv, Bytes whole, ProxyHeader& header) {
  if (tlv.type == tlv_alpn) header.alpn = bounded_text(tlv.value);
  if (tlv.type == tlv_authority) header.authority = host_name(tlv.value);
  if (tlv.type == tlv_tls) return read_tls(tlv.value, header);
  if (tlv.type == tlv_unique_id) {
    header.unique_id = text_of(tlv.value);
    if (header.unique_id.size() > ProxyHeader::most_unique_id) {
      return "PROXY header with a unique id of more than 128 bytes";
    }
  }
  if (tlv.type == tlv_crc32c) {
    if (tlv.value.size() != 4) return "PROXY header with a checksum that is not 4 bytes long";
    if (!checksum_is_right(whole, tlv.value)) return "PROXY header with a wrong checksum";
  }
  return {};
}

// All TLVs from `offset` to the end.
std::string_view read_tlvs(Bytes whole, std::size_t offset, ProxyHeader& header) {
  std::bitset<256> seen;
  Bytes rest = whole.subspan(offset);
  while (!rest.empty()) {
    const auto tlv = take_tlv(rest);
    if (!tlv) return cut_off;
    if (seen.test(tlv->type)) {
      if (tlv->type == tlv_crc32c) return "PROXY header with two checksums";
      continue;
    }
    seen.set(tlv->type);
    if (const auto why = read_tlv(*tlv, whole, header); !why.empty()) return why;
  }
  return {};
}

// Looks at as many of the first 16 bytes as are there.
std::string_view fault_of_head(Bytes seen) {
  if (seen.size() < 13) return {};
  const std::uint8_t command = number8(seen, 12) & 0x0f;
  if ((number8(seen, 12) & 0xf0) != version_2) return "PROXY header of an unknown version";
  if (command > command_proxy) return "PROXY header with an unknown command";
  std::size_t least = 0;
  if (command == command_proxy) {
    if (seen.size() < 14) return {};
    const unsigned family = number8(seen, 13) >> 4;
    const std::uint8_t transport = number8(seen, 13) & 0x0f;
    if (family >= sizes_of_addresses.size()) return "PROXY header with an unknown address family";
    if (transport > transport_datagram) return "PROXY header with an unknown transport";
    // No listener of ours takes datagrams: whoever says so is confused.
    if (transport == transport_datagram) return "PROXY header for datagrams";
    least = sizes_of_addresses[family];
  }
  if (seen.size() < head_size) return {};
  const std::size_t length = number16(seen, 14);
  if (length > ProxyHeader::most_size - head_size) return "PROXY header of more than 4096 bytes";
  if (length < least) return "PROXY header that is too short for its addresses";
  return {};
}

void read_addresses(Bytes whole, unsigned family, ProxyHeader& header) {
  const Bytes block = whole.subspan(head_size);
  if (family == family_ipv4) {
    header.source = ip_address(AF_INET, block.data(), number16(block, 8));
    header.destination = ip_address(AF_INET, block.data() + 4, number16(block, 10));
  } else if (family == family_ipv6) {
    header.source = ip_address(AF_INET6, block.data(), number16(block, 32));
    header.destination = ip_address(AF_INET6, block.data() + 16, number16(block, 34));
  } else {
    header.source.family = Family::unix_socket;
    header.destination.family = Family::unix_socket;
  }
}

ProxyReading read_binary(Bytes seen) {
  if (const auto why = fault_of_head(seen); !why.empty()) return malformed(why);
  if (seen.size() < head_size) return {};
  const std::size_t size = head_size + number16(seen, 14);
  if (seen.size() < size) return {};
  const Bytes whole = seen.first(size);
  const unsigned family = number8(whole, 13) >> 4;
  const std::uint8_t transport = number8(whole, 13) & 0x0f;
  ProxyHeader header;
  if ((number8(whole, 12) & 0x0f) == command_local) {
    // Accepted whatever else it says, as it has to be; TLVs are taken when they are sound.
    const bool has_facts = number8(whole, 13) == unspecified;
    if (!has_facts || !read_tlvs(whole, head_size, header).empty()) header = {};
    header.local = true;
  } else {
    header.local = family == unspecified || transport == unspecified;
    if (!header.local) read_addresses(whole, family, header);
    const std::size_t offset = head_size + sizes_of_addresses[family];
    if (const auto why = read_tlvs(whole, offset, header); !why.empty()) return malformed(why);
  }
  header.size = size;
  return complete(std::move(header));
}

// The family in which both addresses can be said; unspecified when one is no IP address.
std::uint8_t common_family(const ProxyFacts& facts) {
  const auto [low, high] = std::minmax(facts.source.family, facts.destination.family);
  if (low == Family::none || high == Family::unix_socket) return unspecified;
  return high == Family::ipv4 ? family_ipv4 : family_ipv6;
}

std::string host_of(const SocketAddress& address, std::uint8_t family) {
  // As groups of hexadecimal digits, the only form that the specification knows.
  if (family == family_ipv6 && address.family == Family::ipv4) {
    return fmt::format("::ffff:{:x}:{:x}", address.bytes[0] << 8 | address.bytes[1],
                       address.bytes[2] << 8 | address.bytes[3]);
  }
  std::array<char, INET6_ADDRSTRLEN> text{};
  ::inet_ntop(family == family_ipv4 ? AF_INET : AF_INET6, address.bytes.data(), text.data(),
              text.size());
  return text.data();
}

std::string write_line(const ProxyFacts& facts) {
  const std::uint8_t family = common_family(facts);
  if (family == unspecified) return "PROXY UNKNOWN\r\n";
  return fmt::format("PROXY {} {} {} {} {}\r\n", family == family_ipv4 ? "TCP4" : "TCP6",
                     host_of(facts.source, family), host_of(facts.destination, family),
                     facts.source.port, facts.destination.port);
}

void append8(std::string& to, int number) {
  to += static_cast<char>(number);
}

void append16(std::string& to, std::size_t number) {
  append8(to, static_cast<int>(number >> 8));
  append8(to, static_cast<int>(number & 0xff));
}

void append_host(std::string& to, const SocketAddress& address, std::uint8_t family) {
  const auto* bytes = reinterpret_cast<const char*>(address.bytes.data());
  if (family == family_ipv6 && address.family == Family::ipv4) {
    to.append("\0\0\0\0\0\0\0\0\0\0\xff\xff"sv);
  }
  to.append(bytes, address.family == Family::ipv4 ? 4 : 16);
}

void append_tlv(std::string& to, std::uint8_t type, std::string_view value,
                std::size_t most = ProxyHeader::most_text) {
  if (value.empty() || value.size() > most) return;
  append8(to, type);
  append16(to, value.size());
  to += value;
}

void append_tls(std::string& to, const ProxyFacts& facts) {
  const bool certificate = facts.certificate || facts.verified || !facts.common_name.empty();
  int client = client_tls;
  if (certificate) client |= client_certificate_in_session;
  if (certificate && !facts.resumed) client |= client_certificate_here;
  std::string value;
  append8(value, client);
  append16(value, 0);
  append16(value, facts.verified ? 0 : 1);
  append_tlv(value, tlv_tls_version, facts.tls_version);
  append_tlv(value, tlv_tls_common_name, facts.common_name);
  append_tlv(value, tlv_tls_cipher, facts.tls_cipher);
  append_tlv(to, tlv_tls, value, ProxyHeader::most_size);
}

std::string write_binary(const ProxyFacts& facts) {
  const std::uint8_t family = common_family(facts);
  std::string rest;
  if (family != unspecified) {
    append_host(rest, facts.source, family);
    append_host(rest, facts.destination, family);
    append16(rest, facts.source.port);
    append16(rest, facts.destination.port);
  }
  append_tlv(rest, tlv_alpn, facts.alpn);
  append_tlv(rest, tlv_authority, facts.authority);
  append_tlv(rest, tlv_unique_id, facts.unique_id, ProxyHeader::most_unique_id);
  if (facts.tls) append_tls(rest, facts);
  // Without addresses the specification would have PROXY with an unspecified family, but HAProxy
  // and Envoy refuse that, as they do AF_UNIX. LOCAL everyone accepts, and HAProxy itself sends it
  // for clients at unix sockets, with the TLVs.
  const bool is_local = family == unspecified;
  std::string header(signature);
  append8(header, version_2 | (is_local ? command_local : command_proxy));
  append8(header, family << 4 | (is_local ? unspecified : transport_stream));
  append16(header, rest.size());
  return header + rest;
}

constexpr std::array<std::uint32_t, 256> make_crc_table() {
  constexpr std::uint32_t polynomial = 0x82f63b78;  // Castagnoli, the lowest bit first
  std::array<std::uint32_t, 256> table{};
  for (std::uint32_t i = 0; i < table.size(); ++i) {
    std::uint32_t rest = i;
    for (int bit = 0; bit < 8; ++bit) rest = (rest >> 1) ^ ((rest & 1) != 0 ? polynomial : 0);
    table[i] = rest;
  }
  return table;
}

}  // namespace

ProxyReading read_proxy_header(std::span<const std::byte> seen) {
  const std::string_view text = text_of(seen);
  if (text.starts_with(line_start)) return read_line(text);
  if (text.starts_with(signature)) return read_binary(seen);
  if (line_start.starts_with(text) || signature.starts_with(text)) return {};
  return {.state = State::absent, .why = {}, .header = {}};
}

std::string proxy_header(config::SendProxy version, const ProxyFacts& facts) {
  if (version == config::SendProxy::off) return {};
  return version == config::SendProxy::v1 ? write_line(facts) : write_binary(facts);
}

std::string local_proxy_header(config::SendProxy version) {
  return proxy_header(version, {});
}

std::uint32_t crc32c(std::span<const std::byte> bytes, std::uint32_t before) {
  static constexpr std::array<std::uint32_t, 256> table = make_crc_table();
  std::uint32_t sum = ~before;
  for (const std::byte byte : bytes) {
    sum = (sum >> 8) ^ table[(sum ^ std::to_integer<std::uint32_t>(byte)) & 0xff];
  }
  return ~sum;
}

}  // namespace weir::proxy
