#pragma once
// Notices that the content of files has changed, and that a pattern finds other files. What counts
// is content: touch(1), chmod and a rewriting of the same bytes are no change. A file that is being
// written is waited for: its content must be the same at two looks, one settling time apart, with
// no event between them. Links are followed step by step, so that a swap of any of them is seen.
// Where nothing is announced (NFS, the kernel's limits) a slow look finds it.
//
// Nothing is missed between a load and follow(), because what is compared is what was loaded: see
// followed_content.hpp. In follow(), a file with another digest than the loaded one is a change; so
// is one with another stamp than before the load, whatever it holds, as nobody knows which of its
// contents was loaded. Before follow() looks at anything, all directories on the way are watched: a
// change is either in that look or announced.
//
// Lives on one thread, that of the io_context. Reads files there: not for the data path.

#include <boost/asio/io_context.hpp>
#include <boost/asio/steady_timer.hpp>
#include <chrono>
#include <cstddef>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "proxy/directory_events.hpp"
#include "proxy/file_content.hpp"
#include "proxy/followed_content.hpp"
#include "proxy/path_steps.hpp"

namespace weir::proxy {

struct WatchPace {
  std::chrono::milliseconds settling{200};
  std::chrono::milliseconds looking{5000};  // between two looks at what nobody has announced
};

class FileWatch {
 public:
  // Gets the paths, sorted, of what has changed since it was loaded or last reported; those of
  // patterns are directory and pattern. It may call follow() and stop(), or destroy the watch.
  using Changed = std::function<void(std::vector<std::string>)>;

  FileWatch(boost::asio::io_context& io, Changed changed, WatchPace pace = {});
  FileWatch(const FileWatch&) = delete;
  FileWatch& operator=(const FileWatch&) = delete;

  // From now on these, and nothing else. What has changed since it was loaded is reported.
  void follow(std::vector<FollowedContent> contents);
  void stop();

 private:
  struct Item {
    FollowedContent known;
    FileStamp stamp;  // at the last look
    std::vector<PathStep> steps{};
    bool is_doubtful = false;           // it is reported even if it is what was loaded
    bool is_open = false;               // it may have changed: not settled yet
    bool is_touched = false;            // something has happened since the last look
    std::optional<std::string> seen{};  // at the last look
  };

  void touch(Item& item);
  void take_events();
  std::set<std::size_t> watch_directories();
  bool look_at(Item& item);
  void look();
  void look_at_all();
  void wait_for_events();
  void look_after_settling();
  void look_at_all_later();
  template <class Action>
  auto while_followed(Action action);

  boost::asio::steady_timer settling_timer_;
  boost::asio::steady_timer looking_timer_;
  boost::asio::steady_timer event_timer_;
  DirectoryEvents events_;
  Changed changed_;
  WatchPace pace_;
  std::vector<Item> items_;
  std::map<PathStep, std::vector<std::size_t>> items_by_step_;
  std::string fault_;       // the last one that was logged
  bool will_look_ = false;  // something is open
  bool is_waiting_ = false;
  std::chrono::steady_clock::time_point open_since_;
  // Handlers of an earlier follow(), or of a watch that is gone, find this expired.
  std::shared_ptr<const bool> following_;
};

}  // namespace weir::proxy
