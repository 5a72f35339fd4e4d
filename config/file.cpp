#include "config/file.hpp"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <filesystem>
#include <system_error>

namespace weir::config {
namespace {

std::string last_error() {
  return std::generic_category().message(errno);
}

std::expected<std::string, std::string> read_limited(int descriptor, std::size_t most) {
  std::string text;
  std::array<char, 65536> buffer{};
  while (text.size() <= most) {
    const ssize_t count = ::read(descriptor, buffer.data(), buffer.size());
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) return std::unexpected(last_error());
    if (count == 0) break;
    text.append(buffer.data(), static_cast<std::size_t>(count));
  }
  return text;
}

std::expected<std::string, std::string> fault_of_kind(int descriptor) {
  struct stat status = {};
  if (::fstat(descriptor, &status) != 0) return std::unexpected(last_error());
  if (S_ISDIR(status.st_mode)) {
    return std::unexpected(std::generic_category().message(EISDIR));
  }
  if (!S_ISREG(status.st_mode)) return std::unexpected(std::string("it is no ordinary file"));
  return {};
}

}  // namespace

std::optional<FileIdentity> identify_file(const std::string& path) {
  struct stat status = {};
  if (::stat(path.c_str(), &status) != 0) return std::nullopt;
  return FileIdentity(status.st_dev, status.st_ino);
}

std::expected<std::string, std::string> read_file(const std::string& path, std::size_t most) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return std::unexpected(last_error());
  auto text = read_limited(descriptor, most);
  ::close(descriptor);
  return text;
}

std::expected<std::string, std::string> read_regular_file(const std::string& path,
                                                          std::size_t most) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
  if (descriptor < 0) return std::unexpected(last_error());
  auto text = fault_of_kind(descriptor);
  if (text) text = read_limited(descriptor, most);
  ::close(descriptor);
  return text;
}

std::string absolute_path(const std::string& path) {
  std::error_code error;
  const std::string inside = path.starts_with("./") ? path.substr(2) : path;
  const std::filesystem::path absolute = std::filesystem::absolute(inside, error);
  return error ? path : absolute.string();
}

}  // namespace weir::config
