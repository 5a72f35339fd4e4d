#pragma once
// What a file holds, in a form that can be kept and compared: a digest of its bytes. And a stamp,
// by which the kernel tells cheaply that a file may have changed. Plain functions that read files.

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "config/glob.hpp"

namespace weir::proxy {

// A list of revoked certificates can be long. What is longer is not read.
inline constexpr std::size_t largest_tls_file = 64 * 1024 * 1024;

// SHA-256. The digest of what is no ordinary file that can be read is empty.
std::string digest_of(std::string_view bytes);

// Of the bytes that a reader of configurations or certificates would see, the first 4 MiB. Nothing
// when the file is there and could not be read just now, for want of descriptors or memory.
std::optional<std::string> digest_of_file(const std::string& path);

// Of the names of the files that a pattern has found; never empty.
std::string digest_of_matches(const config::Matches& matches);

struct FileStamp {
  std::uint64_t device = 0;
  std::uint64_t inode = 0;  // 0 = there is no such file
  std::uint64_t size = 0;
  std::int64_t modified = 0;  // nanoseconds
  std::int64_t changed = 0;   // the same, for all that is known of the file
  bool operator==(const FileStamp&) const = default;
};

FileStamp stamp_of(const std::string& path);

// False for pipes and devices: reading them takes something away, or never ends. True for what is
// not there, as it may come.
bool can_be_read_again(const std::string& path);

}  // namespace weir::proxy
