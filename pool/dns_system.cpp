#include "pool/dns_system.hpp"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <fstream>
#include <iterator>
#include <utility>

namespace weir::pool {
namespace {

constexpr std::uint32_t most_dots = 15;    // as the C library has it
constexpr std::size_t longest_name = 253;  // of DNS, without the last dot
constexpr std::string_view blanks = " \t\r\f\v";

// Takes the first word off the text, up to a blank; empty at the end.
std::string_view take_word(std::string_view& text) {
  text.remove_prefix(std::min(text.find_first_not_of(blanks), text.size()));
  const std::string_view word = text.substr(0, text.find_first_of(blanks));
  text.remove_prefix(word.size());
  return word;
}

std::string_view take_line(std::string_view& text) {
  const std::string_view line = text.substr(0, text.find('\n'));
  text.remove_prefix(std::min(line.size() + 1, text.size()));
  return line;
}

std::string_view without_last_dot(std::string_view name) {
  if (name.ends_with('.')) name.remove_suffix(1);
  return name;
}

bool same_name(std::string_view a, std::string_view b) {
  const auto lower = [](char c) {
    return c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  };
  return std::ranges::equal(a, b, {}, lower, lower);
}

std::string text_of(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// The host name's part behind the first dot.
std::string own_domain() {
  std::array<char, 257> name{};
  if (::gethostname(name.data(), name.size() - 1) != 0) return {};
  const std::string_view all(name.data());
  const std::size_t dot = all.find('.');
  return dot == std::string_view::npos ? std::string() : std::string(all.substr(dot + 1));
}

std::int64_t nanoseconds(const timespec& time) {
  return std::int64_t{time.tv_sec} * 1'000'000'000 + time.tv_nsec;
}

}  // namespace

std::vector<Ip> read_hosts(std::string_view text, std::string_view name) {
  name = without_last_dot(name);
  std::vector<Ip> found;
  while (!text.empty()) {
    std::string_view line = take_line(text);
    line = line.substr(0, line.find('#'));
    const std::string_view address = take_word(line);
    for (std::string_view word = take_word(line); !word.empty(); word = take_word(line)) {
      if (!same_name(without_last_dot(word), name)) continue;
      if (const auto ip = read_ip(std::string(address))) found.push_back(*ip);
      break;
    }
  }
  // RFC 6761: this name is not asked for.
  if (found.empty() && same_name(name, "localhost")) {
    found = {*read_ip("127.0.0.1"), *read_ip("::1")};
  }
  std::ranges::sort(found);
  const auto same = std::ranges::unique(found);
  found.erase(same.begin(), same.end());
  return found;
}

DnsSearch read_search(std::string_view text, std::string_view domain) {
  DnsSearch search;
  bool is_written = false;
  while (!text.empty()) {
    std::string_view line = take_line(text);
    line = line.substr(0, line.find_first_of("#;"));
    const std::string_view key = take_word(line);
    if (key == "search" || key == "domain") {
      // The last of these lines is the one that counts.
      search.domains.clear();
      is_written = true;
    } else if (key != "options") {
      continue;
    }
    for (std::string_view word = take_word(line); !word.empty(); word = take_word(line)) {
      if (key != "options") {
        word = without_last_dot(word);
        if (!word.empty()) search.domains.emplace_back(word);
      } else if (word.starts_with("ndots:")) {
        std::from_chars(word.data() + 6, word.data() + word.size(), search.dots);
        search.dots = std::min(search.dots, most_dots);
      }
    }
  }
  if (!is_written && !domain.empty()) search.domains.emplace_back(domain);
  return search;
}

std::vector<std::string> names_to_ask(std::string_view name, const DnsSearch& search) {
  if (name.ends_with('.')) return {std::string(without_last_dot(name))};
  std::vector<std::string> names;
  const bool is_full = std::ranges::count(name, '.') >= static_cast<std::ptrdiff_t>(search.dots);
  if (is_full) names.emplace_back(name);
  for (const std::string& domain : search.domains) {
    if (name.size() + 1 + domain.size() > longest_name) continue;
    names.emplace_back(name).append(".").append(domain);
  }
  if (!is_full) names.emplace_back(name);
  return names;
}

bool FileWatch::has_changed() {
  Stamp now;
  struct stat found = {};
  if (::stat(path_.c_str(), &found) == 0) {
    now = {found.st_dev, found.st_ino, found.st_size, nanoseconds(found.st_mtim),
           nanoseconds(found.st_ctim)};
  }
  if (is_known_ && now == stamp_) return false;
  stamp_ = now;
  is_known_ = true;
  return true;
}

DnsSystem::DnsSystem(std::string hosts, std::string resolv_conf)
    : hosts_file_(std::move(hosts)), resolv_conf_(std::move(resolv_conf)) {
  refresh();
}

void DnsSystem::refresh() {
  if (hosts_file_.has_changed()) hosts_ = text_of(hosts_file_.path());
  if (resolv_conf_.has_changed()) search_ = read_search(text_of(resolv_conf_.path()), own_domain());
}

}  // namespace weir::pool
