#pragma once
// Reads a TLS client's first message out of the bytes of a connection, without OpenSSL and without
// answering it (RFC 8446, 4.1.2 and 5.1): for listeners that pass TLS through. The bytes may come
// in any pieces and the message in any records; what it takes is kept, to be passed on untouched.
// It believes nothing and judges only what it has to understand: whether the server will like the
// offer is the server's matter. Pure; memory is bounded, the cost is linear in the bytes.

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace weir::proxy {

class ClientHelloReader {
 public:
  // Of all records up to the message's end, their headers included. Browsers send 2 KiB.
  static constexpr std::size_t most_size = 64 * 1024;

  enum class State : std::uint8_t {
    incomplete,  // more bytes are needed: never with most_size bytes
    malformed,   // no further bytes can make it a ClientHello: why() says why
    complete
  };

  // The next bytes of the connection, at most room() of them. Decides as soon as they allow it; not
  // to be called again after that.
  State add(std::span<const std::byte> bytes);
  std::size_t room() const { return most_size - seen_.size(); }

  // Malformed: for the log; static.
  std::string_view why() const { return why_; }
  // Complete: the name that the client asks for in lower case, any byte but zero in it; empty when
  // there is none. RFC 6066, section 3.
  const std::string& server_name() const { return server_name_; }
  // Complete: the protocols that it offers, the preferred one first; any bytes, and there may be
  // thousands. RFC 7301. Valid as long as the reader.
  std::vector<std::string_view> protocols() const;

  // Every byte that was added, also those behind the message.
  std::span<const std::byte> seen() const { return seen_; }

 private:
  State malformed(std::string_view why);
  State read_records();
  State judge_message();
  std::string_view read_message(std::span<const std::byte> body);
  std::string_view read_extensions(std::span<const std::byte> extensions);
  std::string_view read_server_name(std::span<const std::byte> value);
  std::string_view read_protocols(std::span<const std::byte> value);

  std::vector<std::byte> seen_;
  std::size_t read_ = 0;            // bytes of `seen_` whose records are in `message_`
  std::size_t left_in_record_ = 0;  // bytes of the record that is being read
  std::vector<std::byte> message_;  // the handshake message so far, its header included
  std::string_view why_;
  std::string server_name_;
  std::string protocols_;  // each behind a byte of length, as it came
};

}  // namespace weir::proxy
