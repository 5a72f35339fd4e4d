#include "proxy/file_content.hpp"

#include <openssl/evp.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <new>

#include "config/file.hpp"

namespace weir::proxy {
namespace {

std::int64_t nanoseconds(const timespec& time) {
  return static_cast<std::int64_t>(time.tv_sec) * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

std::string digest_of(std::string_view bytes) {
  std::array<unsigned char, EVP_MAX_MD_SIZE> digest{};
  unsigned size = 0;
  const int done =
      EVP_Digest(bytes.data(), bytes.size(), digest.data(), &size, EVP_sha256(), nullptr);
  if (done != 1) throw std::bad_alloc();
  return {digest.begin(), digest.begin() + size};
}

std::optional<std::string> digest_of_file(const std::string& path) {
  if (const auto text = config::read_regular_file(path, largest_tls_file)) {
    return digest_of(*text);
  }
  struct stat status = {};
  const bool is_ordinary = ::stat(path.c_str(), &status) == 0 && S_ISREG(status.st_mode);
  // Whoever may read it and cannot has met a shortage that passes.
  if (is_ordinary && ::access(path.c_str(), R_OK) == 0) return std::nullopt;
  return std::string();
}

std::string digest_of_matches(const config::Matches& matches) {
  std::string all = matches.fault;
  for (const std::string& file : matches.files) (all += '\0') += file;
  return digest_of(all);
}

FileStamp stamp_of(const std::string& path) {
  struct stat status = {};
  if (::stat(path.c_str(), &status) != 0) return {};
  return {status.st_dev, status.st_ino, static_cast<std::uint64_t>(status.st_size),
          nanoseconds(status.st_mtim), nanoseconds(status.st_ctim)};
}

bool can_be_read_again(const std::string& path) {
  struct stat status = {};
  return ::stat(path.c_str(), &status) != 0 || S_ISREG(status.st_mode) || S_ISDIR(status.st_mode);
}

}  // namespace weir::proxy
