#include "proxy/file_watch.hpp"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <iterator>
#include <utility>

#include "config/glob.hpp"

namespace weir::proxy {
namespace {

// What has settled is reported after so many settling times, though other files are still written.
constexpr int patience = 25;
// Events are taken in batches: a busy file beside ours wakes the thread this often at most, in a
// settling time.
constexpr int batches = 8;
// Watching more directories may show links that led elsewhere meanwhile, and so on.
constexpr int most_rounds = 8;

std::vector<PathStep> steps_of(const FollowedContent& known, PathWalk& walk) {
  if (!known.is_pattern) return walk.steps_to(known.path).steps;
  std::vector<PathStep> all;
  const std::string pattern = known.path.substr(known.directory.size());
  for (const auto& directory : config::find_matches(known.directory, pattern).directories) {
    PathSteps way = walk.steps_to(directory);
    std::ranges::move(way.steps, std::back_inserter(all));
    all.push_back({std::move(way.end), {}});  // any name
  }
  return all;
}

}  // namespace

FileWatch::FileWatch(boost::asio::io_context& io, Changed changed, WatchPace pace)
    : settling_timer_(io),
      looking_timer_(io),
      event_timer_(io),
      events_(io),
      changed_(std::move(changed)),
      pace_(pace) {}

void FileWatch::follow(std::vector<FollowedContent> contents) {
  stop();
  if (contents.empty()) return;
  following_ = std::make_shared<const bool>(true);
  for (FollowedContent& content : contents) {
    if (!content.is_pattern && !can_be_read_again(content.path)) continue;
    items_.push_back({std::move(content), {}});
  }
  watch_directories();
  for (Item& item : items_) {
    look_at(item);
    const auto& stamp = item.known.stamp;
    item.is_doubtful = stamp && *stamp != item.stamp;
    const bool is_other = item.seen && *item.seen != item.known.digest;
    if (item.is_doubtful || is_other) touch(item);
  }
  wait_for_events();
  look_at_all_later();
}

void FileWatch::stop() {
  following_.reset();
  settling_timer_.cancel();
  looking_timer_.cancel();
  event_timer_.cancel();
  events_.close();
  items_.clear();
  items_by_step_.clear();
  will_look_ = false;
  is_waiting_ = false;
}

template <class Action>
auto FileWatch::while_followed(Action action) {
  return [following = std::weak_ptr(following_), action](const boost::system::error_code& error) {
    if (!following.expired()) action(error);
  };
}

void FileWatch::wait_for_events() {
  if (!events_.is_open()) return;
  is_waiting_ = true;
  events_.wait(while_followed([this](const boost::system::error_code& failed) {
    is_waiting_ = false;
    if (failed) return;
    take_events();
    is_waiting_ = true;
    event_timer_.expires_after(pace_.settling / batches);
    event_timer_.async_wait(
        while_followed([this](const boost::system::error_code&) { wait_for_events(); }));
  }));
}

void FileWatch::take_events() {
  const DirectoryEvents::Events events = events_.take();
  if (events.are_lost) {
    for (Item& item : items_) touch(item);
    return;
  }
  const auto touch_all = [this](const std::vector<std::size_t>& items) {
    for (const std::size_t index : items) touch(items_[index]);
  };
  for (const PathStep& step : events.steps) {
    // First those that wait for any name in the directory.
    auto of_directory = items_by_step_.lower_bound({step.directory, {}});
    for (; of_directory != items_by_step_.end(); ++of_directory) {
      const PathStep& expected = of_directory->first;
      if (expected.directory != step.directory) break;
      // An event of the directory itself is one of all names in it.
      if (step.name.empty() || expected.name.empty() || expected.name == step.name) {
        touch_all(of_directory->second);
      }
    }
  }
}

void FileWatch::touch(Item& item) {
  item.is_touched = true;
  item.is_open = true;
  if (will_look_) return;
  will_look_ = true;
  open_since_ = std::chrono::steady_clock::now();
  look_after_settling();
}

// Returns the items whose way has changed, or was not watched until now.
std::set<std::size_t> FileWatch::watch_directories() {
  std::set<std::size_t> changed;
  std::set<std::string> fresh;
  for (int round = 0; round < most_rounds; ++round) {
    PathWalk walk;
    std::set<std::string> directories;
    items_by_step_.clear();
    for (std::size_t i = 0; i < items_.size(); ++i) {
      std::vector<PathStep> steps = steps_of(items_[i].known, walk);
      if (steps != items_[i].steps) changed.insert(i);
      items_[i].steps = std::move(steps);
      for (const PathStep& step : items_[i].steps) {
        directories.insert(step.directory);
        items_by_step_[step].push_back(i);
        if (fresh.contains(step.directory)) changed.insert(i);
      }
    }
    // None of them is new: whatever happens to this way from here on is announced.
    fresh = events_.watch(directories);
    if (fresh.empty()) break;
  }
  if (fault_ != events_.fault()) {
    fault_ = events_.fault();
    if (!fault_.empty()) {
      spdlog::warn("not every change of a file will be announced ({}): looking every {} ms", fault_,
                   pace_.looking.count());
    }
  }
  return changed;
}

// True when the item has settled, or cannot be looked at now.
bool FileWatch::look_at(Item& item) {
  item.stamp = item.known.is_pattern ? FileStamp{} : stamp_of(item.known.path);
  std::optional<std::string> now = digest_now(item.known);
  const bool is_settled = !now || (!item.is_touched && item.seen == now);
  if (!now) item.stamp = {};  // so that the next look at all comes back to it
  item.is_touched = false;
  item.seen = std::move(now);
  return is_settled;
}

void FileWatch::look() {
  take_events();
  for (const std::size_t index : watch_directories()) touch(items_[index]);
  std::vector<Item*> settled;
  bool is_quiet = true;
  for (Item& item : items_) {
    if (!item.is_open) continue;
    if (look_at(item)) {
      settled.push_back(&item);
    } else {
      is_quiet = false;
    }
  }
  will_look_ = !is_quiet;
  if (!is_quiet) {
    look_after_settling();
    const auto now = std::chrono::steady_clock::now();
    if (now - open_since_ < patience * pace_.settling) return;
    open_since_ = now;
  }
  std::set<std::string> changed;
  for (Item* item : settled) {
    item->is_open = false;
    if (!item->seen || (!item->is_doubtful && *item->seen == item->known.digest)) continue;
    item->is_doubtful = false;
    item->known.digest = *item->seen;
    changed.insert(item->known.path);
  }
  if (changed.empty()) return;
  // The last thing done here: it may end this watch.
  const Changed report = changed_;
  report({changed.begin(), changed.end()});
}

void FileWatch::look_at_all() {
  for (const std::size_t index : watch_directories()) touch(items_[index]);
  for (Item& item : items_) {
    if (item.is_open) continue;
    const bool is_same = item.known.is_pattern ? digest_now(item.known) == item.known.digest
                                               : stamp_of(item.known.path) == item.stamp;
    if (!is_same) touch(item);
  }
  if (!is_waiting_) wait_for_events();
  look_at_all_later();
}

void FileWatch::look_after_settling() {
  settling_timer_.expires_after(pace_.settling);
  settling_timer_.async_wait(while_followed([this](const boost::system::error_code& cancelled) {
    if (!cancelled) look();
  }));
}

void FileWatch::look_at_all_later() {
  looking_timer_.expires_after(pace_.looking);
  looking_timer_.async_wait(while_followed([this](const boost::system::error_code& cancelled) {
    if (!cancelled) look_at_all();
  }));
}

}  // namespace weir::proxy
