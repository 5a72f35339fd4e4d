#pragma once
// What the kernel announces of directories (inotify): that a name in one of them was created,
// removed, renamed or written. It knows no files and no links, and promises nothing: where the
// kernel refuses to watch, or a file system changes elsewhere (NFS), there are simply no events.
// Confined to the thread of its io_context.

#include <boost/asio/io_context.hpp>
#include <boost/asio/posix/stream_descriptor.hpp>
#include <cstddef>
#include <functional>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "proxy/path_steps.hpp"

namespace weir::proxy {

inline constexpr std::size_t most_directories = 4096;

class DirectoryEvents {
 public:
  explicit DirectoryEvents(boost::asio::io_context& io);

  // Watches exactly these; a directory that is not there is passed over. Returns those that were
  // not watched before: what happened in them until now may be unknown.
  std::set<std::string> watch(const std::set<std::string>& directories);
  // Why not everything is announced, for the operator; empty when everything is.
  const std::string& fault() const { return fault_; }

  struct Events {
    std::vector<PathStep> steps;  // an empty name is the directory itself
    bool are_lost = false;        // there were more than the kernel keeps
  };
  // What has happened since the last call. Does not wait.
  Events take();
  bool is_open() const { return descriptor_.is_open(); }
  // Calls back once when there may be something to take, or with an error.
  void wait(std::function<void(const boost::system::error_code&)> ready);
  // Watches nothing any more.
  void close();

 private:
  bool open();
  void note(int number, const std::string& name, unsigned what, Events& events);

  boost::asio::posix::stream_descriptor descriptor_;
  std::map<std::string, int> numbers_;            // by directory
  std::map<int, std::set<std::string>> watched_;  // a directory may be mounted at several places
  std::string fault_;
};

}  // namespace weir::proxy
