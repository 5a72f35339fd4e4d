#pragma once
// What a FileWatch is given: the files and patterns that something was loaded from, each with what
// it held then. Plain data, and the functions that make it. Reads files where it says `now`.
//
// A configuration's readers hand out the bytes they have read: contents_of(). Those of certificates
// do not: contents_now() is taken before they are loaded, and keeps the stamps of the files, so
// that follow(), called after the load, sees whether anything has moved in between.

#include <optional>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "config/reader.hpp"
#include "proxy/file_content.hpp"

namespace weir::proxy {

// A file, or what a pattern finds, as it was loaded.
struct FollowedContent {
  std::string path;  // of a pattern: directory and pattern
  std::string digest;
  std::optional<FileStamp> stamp{};  // from before the load, where the digest is from then too
  std::string directory{};           // of a pattern: the part of the path that is no pattern
  bool is_pattern = false;
};

// Of the file itself, all that it includes, and what its patterns found.
std::vector<FollowedContent> contents_of(const config::LoadResult& loaded);
// To be taken before the files are loaded.
std::vector<FollowedContent> contents_now(const std::vector<std::string>& paths);

// The digest of what a file holds now, or of what a pattern finds; nothing when that cannot be told
// just now.
std::optional<std::string> digest_now(const FollowedContent& content);

// Certificates, keys, authorities, lists of revoked certificates and ticket keys that the
// configuration names, sorted, each once.
std::vector<std::string> tls_files(const config::Config& config);

}  // namespace weir::proxy
