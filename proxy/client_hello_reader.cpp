#include "proxy/client_hello_reader.hpp"

#include <algorithm>
#include <optional>

namespace weir::proxy {
namespace {

using Bytes = std::span<const std::byte>;
using State = ClientHelloReader::State;

constexpr std::size_t record_header_size = 5;  // type, version (2), length (2)
constexpr std::uint8_t record_handshake = 22;
constexpr std::uint8_t version_major = 3;  // of every TLS; the minor says nothing
constexpr std::size_t longest_record = 16 * 1024;

constexpr std::size_t message_header_size = 4;  // type, length (3)
constexpr std::uint8_t message_client_hello = 1;
constexpr std::size_t longest_message =
    ClientHelloReader::most_size - record_header_size - message_header_size;

constexpr std::size_t random_size = 32;
constexpr std::size_t longest_session_id = 32;
constexpr std::uint16_t extension_server_name = 0;
constexpr std::uint16_t extension_protocols = 16;  // ALPN
constexpr std::uint8_t name_is_host_name = 0;
constexpr std::size_t longest_server_name = 255;

constexpr std::string_view not_tls = "the client does not speak TLS";
constexpr std::string_view too_long = "a ClientHello of more than 64 KiB";
constexpr std::string_view bad_lengths = "a ClientHello whose lengths are wrong";
constexpr std::string_view bad_server_name = "a ClientHello with a malformed server name";
constexpr std::string_view bad_protocols = "a ClientHello with a malformed list of protocols";

std::uint8_t number8(Bytes bytes, std::size_t at) {
  return std::to_integer<std::uint8_t>(bytes[at]);
}

std::uint16_t number16(Bytes bytes, std::size_t at) {
  return static_cast<std::uint16_t>(number8(bytes, at) << 8 | number8(bytes, at + 1));
}

// Takes what is at the front of some bytes; nothing where they are too few.
class Cursor {
 public:
  explicit Cursor(Bytes bytes) : rest_(bytes) {}

  bool empty() const { return rest_.empty(); }

  std::optional<Bytes> take(std::size_t size) {
    if (size > rest_.size()) return std::nullopt;
    const Bytes taken = rest_.first(size);
    rest_ = rest_.subspan(size);
    return taken;
  }

  std::optional<std::uint16_t> take_number(std::size_t size) {
    const auto bytes = take(size);
    if (!bytes) return std::nullopt;
    return size == 1 ? number8(*bytes, 0) : number16(*bytes, 0);
  }

  // What stands behind its own length, a number of one or two bytes.
  std::optional<Bytes> take_vector(std::size_t size_of_length) {
    const auto length = take_number(size_of_length);
    return length ? take(*length) : std::nullopt;
  }

 private:
  Bytes rest_;
};

std::string text_of(Bytes bytes) {
  return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

State ClientHelloReader::malformed(std::string_view why) {
  why_ = why;
  return State::malformed;
}

State ClientHelloReader::add(Bytes bytes) {
  seen_.insert(seen_.end(), bytes.begin(), bytes.end());
  const State state = read_records();
  if (state == State::incomplete && room() == 0) return malformed(too_long);
  return state;
}

State ClientHelloReader::read_records() {
  while (read_ < seen_.size()) {
    if (left_in_record_ == 0) {
      // A stranger is told by his first byte, also when he waits for an answer to it.
      const Bytes header = Bytes(seen_).subspan(read_);
      if (number8(header, 0) != record_handshake) return malformed(not_tls);
      if (header.size() > 1 && number8(header, 1) != version_major) return malformed(not_tls);
      if (header.size() < record_header_size) return State::incomplete;
      left_in_record_ = number16(header, 3);
      if (left_in_record_ == 0) return malformed("a TLS record without a byte");
      if (left_in_record_ > longest_record) return malformed("a TLS record of more than 16 KiB");
      read_ += record_header_size;
    }
    const std::size_t size = std::min(left_in_record_, seen_.size() - read_);
    const auto from = seen_.begin() + static_cast<std::ptrdiff_t>(read_);
    message_.insert(message_.end(), from, from + static_cast<std::ptrdiff_t>(size));
    read_ += size;
    left_in_record_ -= size;
    const State state = judge_message();
    if (state != State::incomplete) return state;
  }
  return State::incomplete;
}

State ClientHelloReader::judge_message() {
  if (message_.empty()) return State::incomplete;
  const Bytes message(message_);
  if (number8(message, 0) != message_client_hello) {
    return malformed("a TLS handshake that does not begin with a ClientHello");
  }
  if (message.size() < message_header_size) return State::incomplete;
  const std::size_t length = std::size_t{number8(message, 1)} << 16 | number16(message, 2);
  if (length > longest_message) return malformed(too_long);
  if (message.size() < message_header_size + length) return State::incomplete;
  const std::string_view why = read_message(message.subspan(message_header_size, length));
  std::vector<std::byte>().swap(message_);
  return why.empty() ? State::complete : malformed(why);
}

// This and the next three say what is wrong; nothing when nothing is.
std::string_view ClientHelloReader::read_message(Bytes body) {
  Cursor cursor(body);
  const auto version = cursor.take_number(2);
  const auto random = cursor.take(random_size);
  const auto session_id = cursor.take_vector(1);
  const auto ciphers = cursor.take_vector(2);
  const auto compressions = cursor.take_vector(1);
  if (!version || !random || !session_id || !ciphers || !compressions) return bad_lengths;
  if (*version >> 8 != version_major) return "a ClientHello of an unknown version";
  if (session_id->size() > longest_session_id || ciphers->empty() || ciphers->size() % 2 != 0 ||
      compressions->empty()) {
    return bad_lengths;
  }
  if (cursor.empty()) return {};  // TLS 1.2 may end here
  const auto extensions = cursor.take_vector(2);
  if (!extensions || !cursor.empty()) return bad_lengths;
  return read_extensions(*extensions);
}

std::string_view ClientHelloReader::read_extensions(Bytes extensions) {
  bool has_server_name = false;
  bool has_protocols = false;
  Cursor cursor(extensions);
  while (!cursor.empty()) {
    const auto type = cursor.take_number(2);
    const auto value = cursor.take_vector(2);
    if (!type || !value) return bad_lengths;
    std::string_view why;
    // Twice the same is an error, and whom the server would believe is not known.
    if (*type == extension_server_name) {
      why = has_server_name ? bad_server_name : read_server_name(*value);
      has_server_name = true;
    } else if (*type == extension_protocols) {
      why = has_protocols ? bad_protocols : read_protocols(*value);
      has_protocols = true;
    }
    if (!why.empty()) return why;
  }
  return {};
}

// A list of names in the RFC, but of one kind and with one name of each kind: so it has one name.
std::string_view ClientHelloReader::read_server_name(Bytes value) {
  Cursor outer(value);
  const auto list = outer.take_vector(2);
  if (!list || !outer.empty()) return bad_server_name;
  Cursor cursor(*list);
  const auto kind = cursor.take_number(1);
  const auto name = cursor.take_vector(2);
  if (!name || !cursor.empty() || *kind != name_is_host_name) return bad_server_name;
  if (name->empty() || name->size() > longest_server_name) return bad_server_name;
  server_name_ = text_of(*name);
  if (server_name_.contains('\0')) return bad_server_name;
  std::ranges::transform(server_name_, server_name_.begin(), [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  });
  return {};
}

std::string_view ClientHelloReader::read_protocols(Bytes value) {
  Cursor outer(value);
  const auto list = outer.take_vector(2);
  if (!list || list->empty() || !outer.empty()) return bad_protocols;
  Cursor cursor(*list);
  while (!cursor.empty()) {
    const auto protocol = cursor.take_vector(1);
    if (!protocol || protocol->empty()) return bad_protocols;
  }
  protocols_ = text_of(*list);
  return {};
}

std::vector<std::string_view> ClientHelloReader::protocols() const {
  std::vector<std::string_view> all;
  std::string_view rest(protocols_);
  while (!rest.empty()) {
    const auto length = static_cast<unsigned char>(rest.front());
    all.push_back(rest.substr(1, length));
    rest.remove_prefix(std::size_t{1} + length);
  }
  return all;
}

}  // namespace weir::proxy
