#pragma once
// The table of all keys of the language: for each its path, type, range, default, what it means,
// and where its value goes. The reader is driven by it; a new key is a row here and a member in
// config.hpp. It knows nothing of YAML or of rules between keys (validate.hpp). Immutable.

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"

namespace weir::config {

enum class Type {
  section,  // a map whose keys are the rows below it
  named,    // a map from names to sections: rows below `.*`
  list,     // a list of sections: rows below `[]`
  boolean,
  choice,  // one of `words`
  count,   // a whole number
  number,  // a decimal number
  duration,
  rate,
  durations,  // a range such as 100ms..15s
  keepalive,  // idle time, interval and count, such as 30s,10s,3
  text,
  bytes,      // text with the escapes \r \n \t \xNN
  name,       // of a route
  reference,  // the name of something defined elsewhere in the file
  path,       // of a file, relative to the file that names it
  address,
  endpoint,  // an address with a port to connect to
  network,
  host_name,
  server_name,  // an exact host name, or "*." and a suffix
  protocol,     // an ALPN name
  identity,     // a pattern of client identities, such as "cn:build-*"
};

enum class Many { one, list, one_or_list };

// One scalar, read and checked as its key's type.
struct Value {
  std::string text;  // names in lower case, paths resolved; the name of a named section
  std::int64_t integer = 0;
  double real = 0;
  bool flag = false;
  int word = -1;  // the position in the key's `words`; -1 for any other value
  Backoff range;  // of durations
  Keepalive keepalive;
  Endpoint::Kind kind = Endpoint::Kind::address;
  Address address;
  Network network;
  IdentityPattern identity;
  Place place;

  std::uint32_t count() const { return static_cast<std::uint32_t>(integer); }
  Duration duration() const { return Duration(integer); }
  // For enumerations that list their values in the order of `words`.
  template <class Enum>
  Enum as() const {
    return static_cast<Enum>(word);
  }
};

// Where values go: the objects that enclose the key at hand.
struct Target {
  Config& config;
  TlsSettings* tls = nullptr;
  Certificate* certificate = nullptr;
  Listener* listener = nullptr;
  Route* route = nullptr;
  Upstream* upstream = nullptr;
  Endpoint* endpoint = nullptr;
};

struct Key {
  // Levels are parted by dots; `*` is a name the operator chooses, `[]` an item of a list.
  std::string_view path;
  Type type = Type::section;
  Many many = Many::one;
  std::string_view words = {};     // "a|b": all values of a choice; else texts with a meaning
  std::string_view later = {};     // those of `words` that are not supported yet
  std::string_view standard = {};  // the default as it would be written; empty = none
  std::string_view zero = {};      // what 0 and `off` mean; empty = they mean nothing of their own
  std::int64_t least = 0;          // of a count, or of a duration in milliseconds
  std::int64_t most = 0;           // 0 = what the type allows
  bool required = false;           // lists and named sections: not empty either
  bool supported = true;
  std::string_view harmless = {};  // the one value of an unsupported key that changes nothing
  std::string_view off_is = {};    // a section that may be written `off`: the key that gets it
  std::string_view help = {};
  // Called for each value; for a section when it is entered (then its presence has a meaning).
  void (*set)(Target&, const Value&) = nullptr;

  std::string_view last_name() const;
};

// The keys as a tree; `*` and `[]` are names like others.
struct SchemaNode {
  std::string_view name;
  const Key* key = nullptr;
  std::vector<SchemaNode> children;

  const SchemaNode* child(std::string_view child_name) const;
  std::vector<std::string_view> child_names() const;
};

const std::vector<Key>& all_keys();
const SchemaNode& schema();

// The parts of "a|b|c".
std::vector<std::string_view> split_words(std::string_view words);

// The parts of the table, in the order of the language.
std::span<const Key> process_keys();
std::span<const Key> tls_keys();
std::span<const Key> listener_keys();
std::span<const Key> upstream_keys();
std::span<const Key> pool_keys();
std::span<const Key> health_keys();

}  // namespace weir::config
