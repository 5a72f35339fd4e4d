#pragma once
// Reads the files of a configuration. Errors are sentences for the operator.

#include <cstddef>
#include <expected>
#include <optional>
#include <string>
#include <utility>

namespace weir::config {

// Equal for two paths that lead to the same file.
using FileIdentity = std::pair<unsigned long long, unsigned long long>;

// Nothing when there is no such file.
std::optional<FileIdentity> identify_file(const std::string& path);

// The text of a file, or one byte more than `most` when it is longer. It may be a pipe, which is
// read to its end.
std::expected<std::string, std::string> read_file(const std::string& path, std::size_t most);

// The same for what must be an ordinary file: nothing that could be waited for.
std::expected<std::string, std::string> read_regular_file(const std::string& path,
                                                          std::size_t most);

// The path from the root. A `..` stays, as what is before it may be a link.
std::string absolute_path(const std::string& path);

}  // namespace weir::config
