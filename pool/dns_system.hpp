#pragma once
// What this host says about names before DNS is asked: /etc/hosts, and the search list of
// /etc/resolv.conf. The files are read again when they have changed. The reading of their texts is
// pure.

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "pool/dns_answer.hpp"

namespace weir::pool {

// The addresses of a name in the text of a hosts file; sorted, each once.
std::vector<Ip> read_hosts(std::string_view text, std::string_view name);

// How a short name becomes a full one: resolv.conf(5).
struct DnsSearch {
  std::vector<std::string> domains;
  std::uint32_t dots = 1;  // a name with that many is tried as it is first
  bool operator==(const DnsSearch&) const = default;
};
// `domain` is where there is no search list.
DnsSearch read_search(std::string_view text, std::string_view domain);
// The names to ask for, in this order, without the last dot. A name with one is asked as it is.
std::vector<std::string> names_to_ask(std::string_view name, const DnsSearch& search);

// Notices that a file has become another one. A missing file is one of its own kind.
class FileWatch {
 public:
  explicit FileWatch(std::string path) : path_(std::move(path)) {}
  const std::string& path() const { return path_; }
  // Since the last call that said so; the first one always does.
  bool has_changed();

 private:
  struct Stamp {
    dev_t device = 0;
    ino_t inode = 0;
    off_t size = -1;
    std::int64_t modified = 0;  // nanoseconds
    std::int64_t changed = 0;
    bool operator==(const Stamp&) const = default;
  };

  std::string path_;
  Stamp stamp_;
  bool is_known_ = false;
};

class DnsSystem {
 public:
  DnsSystem(std::string hosts, std::string resolv_conf);

  // Reads again what has changed.
  void refresh();
  std::vector<Ip> in_hosts(std::string_view name) const { return read_hosts(hosts_, name); }
  const DnsSearch& search() const { return search_; }

 private:
  FileWatch hosts_file_;
  FileWatch resolv_conf_;
  std::string hosts_;
  DnsSearch search_;
};

}  // namespace weir::pool
