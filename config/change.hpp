#pragma once
// What a reload changes: two configurations in, the list of differences out, each with what it does
// to live connections. What the files of certificates hold is not looked at, only their paths. The
// order of listeners, of upstreams and of endpoints in the file has no meaning and is no change;
// the order of routes has. Pure.

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"

namespace weir::config {

// What a change does to what is running, the weakest first.
enum class Effect : std::uint8_t {
  none,               // holds at once, and no connection notices
  new_sessions_only,  // sessions that run keep the rules they were accepted under
  idle_replaced,      // idle connections to servers; leased ones end with their session
  next_start,         // nothing happens before
  sessions_drain,     // its sessions go on until they end by themselves
  sessions_closed,
};
std::string_view word(Effect effect);

struct KeyChange {
  std::string key;     // within its section: "timeouts.idle"
  std::string before;  // as it would be written; empty = not set
  std::string after;
  Effect effect = Effect::none;
};

struct Change {
  enum class What : std::uint8_t { process, tls, listener, route, upstream, endpoint };
  enum class How : std::uint8_t { added, removed, changed };
  What what = What::process;
  How how = How::changed;
  std::string name{};             // of an endpoint as written, of a route without a name its match
  std::string of{};               // the listener of a route, the upstream of an endpoint
  std::vector<KeyChange> keys{};  // of what has changed, in the order of the language
  Effect effect = Effect::none;   // the strongest of it
};
std::string_view word(Change::What what);
std::string_view word(Change::How how);

// The process first, then the others in the order of `after`, the removed ones behind their kind.
std::vector<Change> changes(const Config& before, const Config& after);

// In one line: "~ listener web: timeouts.idle 5m -> 1m (for new connections)".
std::string describe(const Change& change);

}  // namespace weir::config
