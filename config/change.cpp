#include "config/change.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

#include "config/diagnostic.hpp"
#include "config/key_texts.hpp"

namespace weir::config {
namespace {

using What = Change::What;
using How = Change::How;

const KeyText* find_text(const std::vector<KeyText>& all, std::string_view key) {
  const auto found = std::ranges::find(all, key, &KeyText::key);
  return found == all.end() ? nullptr : &*found;
}

// Of what stands below a section that is not set, the section says it all.
bool is_inside_of(const std::vector<KeyChange>& keys, const std::string& key) {
  return std::ranges::any_of(keys, [&](const KeyChange& section) {
    return (section.before.empty() || section.after.empty()) && key.starts_with(section.key + ".");
  });
}

std::vector<KeyChange> differences(const std::vector<KeyText>& before,
                                   const std::vector<KeyText>& after) {
  std::vector<KeyChange> keys;
  const auto add = [&](const KeyText& any, std::string from, std::string to) {
    if (from == to || is_inside_of(keys, any.key)) return;
    keys.push_back({any.key, std::move(from), std::move(to), any.effect});
  };
  for (const KeyText& now : after) {
    const KeyText* was = find_text(before, now.key);
    add(now, was == nullptr ? "" : was->text, now.text);
  }
  for (const KeyText& was : before) {
    if (find_text(after, was.key) == nullptr) add(was, was.text, "");
  }
  return keys;
}

// One of those of which a configuration has several, by the name it is known by.
struct Part {
  std::string name;
  std::vector<KeyText> texts;
  Effect when_removed = Effect::none;
};
using Parts = std::vector<Part>;

const Part* find(const Parts& parts, std::string_view name) {
  const auto found = std::ranges::find(parts, name, &Part::name);
  return found == parts.end() ? nullptr : &*found;
}

Change changed(What what, std::string name, std::string of, std::vector<KeyChange> keys) {
  const Effect strongest = std::ranges::max(keys, {}, &KeyChange::effect).effect;
  return {what, How::changed, std::move(name), std::move(of), std::move(keys), strongest};
}

void compare(What what, const std::string& of, const Parts& before, const Parts& after,
             std::vector<Change>& found) {
  for (const Part& now : after) {
    const Part* was = find(before, now.name);
    if (was == nullptr) {
      found.push_back({what, How::added, now.name, of, {}, Effect::none});
      continue;
    }
    auto keys = differences(was->texts, now.texts);
    if (!keys.empty()) found.push_back(changed(what, now.name, of, std::move(keys)));
  }
  for (const Part& was : before) {
    if (find(after, was.name) != nullptr) continue;
    found.push_back({what, How::removed, was.name, of, {}, was.when_removed});
  }
}

// A route without a name is known by what it matches.
std::string name_of(const Route& route) {
  if (!route.name.empty()) return route.name;
  std::string name;
  for (const KeyText& each : texts(route)) {
    if (!each.key.starts_with("match.") || each.text == "[]") continue;
    name += fmt::format("{}{}: {}", name.empty() ? "" : ", ", each.key.substr(6), each.text);
  }
  return name.empty() ? "any" : name;
}

Parts routes_of(const Listener& listener) {
  Parts parts;
  for (const Route& route : listener.routes) {
    std::string name = name_of(route);
    // Those that follow one of the same name are never reached, but they are there.
    while (find(parts, name) != nullptr) name += " again";
    parts.push_back({std::move(name), texts(route), Effect::new_sessions_only});
  }
  return parts;
}

// The routes that both have, in the order of the one.
std::string order_of(const Parts& routes, const Parts& others) {
  std::string list;
  for (const Part& route : routes) {
    if (find(others, route.name) != nullptr) list += (list.empty() ? "" : ", ") + route.name;
  }
  return "[" + list + "]";
}

template <class Named>
const Named* find_named(const std::vector<Named>& all, const std::string& name) {
  const auto found = std::ranges::find(all, name, &Named::name);
  return found == all.end() ? nullptr : &*found;
}

Parts tls_of(const Config& config) {
  Parts parts;
  for (const auto& [name, settings] : config.tls) {
    parts.push_back({name, texts(settings), Effect::new_sessions_only});
  }
  return parts;
}

Parts listeners_of(const Config& config, const Config& other) {
  Parts parts;
  for (const Listener& listener : config.listeners) {
    Part part{listener.name, texts(listener), Effect::sessions_drain};
    if (const Listener* its = find_named(other.listeners, listener.name)) {
      part.texts.push_back(
          {"routes", order_of(routes_of(listener), routes_of(*its)), Effect::new_sessions_only});
    }
    parts.push_back(std::move(part));
  }
  return parts;
}

Effect when_removed(const Upstream& upstream) {
  const bool closes = upstream.when_endpoint_removed == WhenRemoved::close;
  return closes ? Effect::sessions_closed : Effect::sessions_drain;
}

Parts upstreams_of(const Config& config) {
  Parts parts;
  for (const Upstream& upstream : config.upstreams) {
    parts.push_back({upstream.name, texts(upstream), when_removed(upstream)});
  }
  return parts;
}

Parts endpoints_of(const Upstream& upstream, Effect when_removed) {
  Parts parts;
  for (const Endpoint& endpoint : upstream.endpoints) {
    parts.push_back({endpoint.text(), texts(endpoint), when_removed});
  }
  return parts;
}

std::string_view words_of(Effect effect) {
  static constexpr std::array<std::string_view, 6> words{
      "in place",
      "for new connections",
      "idle connections to its servers are replaced",
      "at the next start",
      "its connections go on until they end",
      "its connections are closed"};
  return words[static_cast<std::size_t>(effect)];
}

// Each effect behind the keys that have it.
std::string words_of(const std::vector<KeyChange>& keys) {
  std::string words;
  for (std::size_t i = 0; i < keys.size(); ++i) {
    const KeyChange& key = keys[i];
    const auto or_not_set = [](const std::string& text) { return text.empty() ? "not set" : text; };
    words += fmt::format("{}{} {} -> {}", i == 0 ? "" : ", ", key.key, or_not_set(key.before),
                         or_not_set(key.after));
    if (i + 1 == keys.size() || keys[i + 1].effect != key.effect) {
      words += fmt::format(" ({})", words_of(key.effect));
    }
  }
  return words;
}

}  // namespace

std::string_view word(Effect effect) {
  static constexpr std::array<std::string_view, 6> words{"none",           "new_sessions_only",
                                                         "idle_replaced",  "next_start",
                                                         "sessions_drain", "sessions_closed"};
  return words[static_cast<std::size_t>(effect)];
}

std::string_view word(Change::What what) {
  static constexpr std::array<std::string_view, 6> words{"process", "tls",      "listener",
                                                         "route",   "upstream", "endpoint"};
  return words[static_cast<std::size_t>(what)];
}

std::string_view word(Change::How how) {
  static constexpr std::array<std::string_view, 3> words{"added", "removed", "changed"};
  return words[static_cast<std::size_t>(how)];
}

std::vector<Change> changes(const Config& before, const Config& after) {
  std::vector<Change> found;
  auto keys = differences(process_texts(before), process_texts(after));
  if (!keys.empty()) found.push_back(changed(What::process, "", "", std::move(keys)));
  compare(What::tls, "", tls_of(before), tls_of(after), found);
  compare(What::listener, "", listeners_of(before, after), listeners_of(after, before), found);
  for (const Listener& now : after.listeners) {
    const Listener* was = find_named(before.listeners, now.name);
    if (was == nullptr) continue;
    compare(What::route, now.name, routes_of(*was), routes_of(now), found);
  }
  compare(What::upstream, "", upstreams_of(before), upstreams_of(after), found);
  for (const Upstream& now : after.upstreams) {
    const Upstream* was = find_named(before.upstreams, now.name);
    if (was == nullptr) continue;
    const Effect removed = when_removed(now);
    compare(What::endpoint, now.name, endpoints_of(*was, removed), endpoints_of(now, removed),
            found);
  }
  return found;
}

std::string describe(const Change& change) {
  static constexpr std::string_view signs = "+-~";
  std::string line =
      fmt::format("{} {}", signs[static_cast<std::size_t>(change.how)], word(change.what));
  if (!change.name.empty()) line += " " + change.name;
  if (!change.of.empty()) line += " of " + change.of;
  if (change.how == How::changed) {
    line += ": " + words_of(change.keys);
  } else if (change.effect != Effect::none) {
    line += fmt::format(": {}", words_of(change.effect));
  }
  return without_controls(line);
}

}  // namespace weir::config
