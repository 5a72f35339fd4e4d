#include "proxy/ticket_key_file.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstring>

#include "proxy/tls_certificate.hpp"

namespace weir::proxy {
namespace {

constexpr std::size_t key_size = 80;
constexpr std::size_t encoded_size = 108;  // of one key: ends with the only `=`
constexpr std::size_t keys_that_count = 3;
constexpr std::size_t largest_file = std::size_t{64} * 1024;

// Bytes that leave nothing behind in memory. Never grows: that would leave some.
class SecretBytes {
 public:
  explicit SecretBytes(std::size_t most) { bytes_.reserve(most); }
  SecretBytes(const SecretBytes&) = delete;
  SecretBytes& operator=(const SecretBytes&) = delete;
  ~SecretBytes() { OPENSSL_cleanse(bytes_.data(), bytes_.capacity()); }

  // False when they have no room.
  bool append(std::string_view more) {
    if (bytes_.capacity() - bytes_.size() < more.size()) return false;
    bytes_.append(more);
    return true;
  }
  void clear() { bytes_.clear(); }
  std::string_view view() const { return bytes_; }

 private:
  std::string bytes_;
};

std::string_view trimmed(std::string_view line) {
  constexpr std::string_view blanks = " \t\r";
  const std::size_t first = line.find_first_not_of(blanks);
  if (first == std::string_view::npos) return {};
  return line.substr(first, line.find_last_not_of(blanks) - first + 1);
}

// The parts stand as in the key files of nginx, HAProxy and Envoy.
bool decode(std::string_view text, TicketKeys::Key& key) {
  if (text.size() != encoded_size || text.find('=') != encoded_size - 1) return false;
  std::array<unsigned char, key_size + 1> bytes{};
  const int size =
      EVP_DecodeBlock(bytes.data(), reinterpret_cast<const unsigned char*>(text.data()),
                      static_cast<int>(text.size()));
  key.valid = size == static_cast<int>(bytes.size());
  std::copy_n(bytes.begin(), 16, key.name.begin());
  std::copy_n(bytes.begin() + 16, 32, key.mac.begin());
  std::copy_n(bytes.begin() + 48, 32, key.cipher.begin());
  OPENSSL_cleanse(bytes.data(), bytes.size());
  return key.valid;
}

class File {
 public:
  // A FIFO must not make this wait.
  explicit File(const std::string& path)
      : descriptor_(::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY)) {}
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  ~File() {
    if (descriptor_ >= 0) ::close(descriptor_);
  }

  bool look(struct stat& status) const {
    return descriptor_ >= 0 && ::fstat(descriptor_, &status) == 0;
  }
  // False: an error of the system's; with errno 0 there is more than fits.
  bool read_all(SecretBytes& to) const {
    std::array<char, 4096> piece{};
    ssize_t count = 0;
    errno = 0;
    bool fits = true;
    while (fits && (count = ::read(descriptor_, piece.data(), piece.size())) > 0) {
      fits = to.append({piece.data(), static_cast<std::size_t>(count)});
    }
    OPENSSL_cleanse(piece.data(), piece.size());
    return fits && count == 0;
  }

 private:
  int descriptor_;
};

}  // namespace

std::expected<std::vector<TicketKeys::Key>, std::string> parse_ticket_keys(std::string_view text) {
  std::vector<TicketKeys::Key> keys;
  SecretBytes encoded(encoded_size);
  std::size_t first_line = 0;
  const auto faulty = [&] {
    return std::unexpected(
        fmt::format("key {} (line {}) is not 80 bytes in base64", keys.size() + 1, first_line));
  };
  for (std::size_t number = 1; !text.empty(); ++number) {
    const std::size_t end = text.find('\n');
    const std::string_view line = trimmed(text.substr(0, end));
    text.remove_prefix(end == std::string_view::npos ? text.size() : end + 1);
    if (line.empty() || line.starts_with('#')) continue;
    if (encoded.view().empty()) first_line = number;
    if (!encoded.append(line)) return faulty();
    if (!line.ends_with('=') && encoded.view().size() < encoded_size) continue;
    if (!decode(encoded.view(), keys.emplace_back())) {
      keys.pop_back();
      return faulty();
    }
    encoded.clear();
    const auto has_name = [&](const TicketKeys::Key& key) { return key.name == keys.back().name; };
    const auto twin = std::find_if(keys.begin(), keys.end() - 1, has_name);
    if (twin != keys.end() - 1) {
      return std::unexpected(
          fmt::format("keys {} and {} are the same, or have the same first 16 "
                      "bytes",
                      twin - keys.begin() + 1, keys.size()));
    }
  }
  if (!encoded.view().empty()) return faulty();
  if (keys.empty()) return std::unexpected(std::string("it holds no key"));
  if (keys.size() > keys_that_count) {
    keys.erase(keys.begin(), keys.end() - static_cast<std::ptrdiff_t>(keys_that_count));
  }
  return keys;
}

std::optional<std::vector<TicketKeys::Key>> read_ticket_keys(
    const config::SessionTickets& settings, std::vector<config::Problem>& problems) {
  const std::string& path = settings.key_file;
  const auto wrong = [&](const std::string& why) {
    problems.push_back(tls_problem(
        settings.key_file_place, fmt::format("cannot take ticket keys from `{}`: {}", path, why),
        fmt::format("`openssl rand -base64 80 >> {}` adds a key", path)));
    return std::nullopt;
  };
  const File file(path);
  struct stat status{};
  if (!file.look(status)) return wrong(std::strerror(errno));
  if (!S_ISREG(status.st_mode)) return wrong("it is no regular file");
  SecretBytes text(largest_file);
  if (!file.read_all(text)) {
    return wrong(errno != 0 ? std::strerror(errno)
                            : "it is larger than 64 KiB; the last three keys count");
  }
  auto keys = parse_ticket_keys(text.view());
  if (!keys) return wrong(keys.error());
  if ((status.st_mode & S_IROTH) != 0) {
    problems.push_back(
        tls_problem(settings.key_file_place,
                    fmt::format("everybody on this machine may read the ticket keys in `{}`", path),
                    "whoever has them can read sessions of TLS 1.2, and pass for any client whose "
                    "certificate is "
                    "asked for: `chmod o-r` it, and write new keys"));
    problems.back().severity = config::Problem::Severity::warning;
  }
  return std::move(*keys);
}

}  // namespace weir::proxy
