#include "config/reader.hpp"

#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <expected>
#include <system_error>
#include <utility>

#include "config/document.hpp"
#include "config/environment.hpp"
#include "config/section_reader.hpp"
#include "config/source.hpp"
#include "config/validate.hpp"

namespace weir::config {
namespace {

std::string last_error() {
  return std::generic_category().message(errno);
}

// One byte more than may be read tells that the file is too large.
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

std::expected<std::string, std::string> read_file(const std::string& path) {
  const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (descriptor < 0) return std::unexpected(last_error());
  auto text = read_limited(descriptor, largest_file);
  ::close(descriptor);
  return text;
}

}  // namespace

LoadResult load_file(const std::string& path) {
  auto text = read_file(path);
  if (text) return load_text(std::move(*text), path);
  Problem problem;
  problem.place.file = path;
  problem.message = fmt::format("cannot read the configuration: {}", text.error());
  return {std::nullopt, {std::move(problem)}};
}

LoadResult load_text(std::string text, const std::string& file_name) {
  const Source source(std::move(text), file_name);
  Report report(source);
  LoadResult result;
  if (auto root = read_document(source, report)) {
    substitute_all(*root, report);
    Config config;
    SectionReader(source, report, config).read_all(*root);
    validate(config, *root, report);
    if (!report.has_error()) result.config = std::move(config);
  }
  result.problems = report.take();
  return result;
}

}  // namespace weir::config
