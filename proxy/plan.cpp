#include "proxy/plan.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/serialize.hpp>
#include <boost/json/value_from.hpp>
#include <functional>
#include <set>

namespace weir::proxy {
namespace {

namespace json = boost::json;
using config::Change;
using config::Effect;

constexpr std::size_t most_ids_shown = 20;

bool touches(Effect effect) {
  return effect == Effect::sessions_drain || effect == Effect::sessions_closed;
}

// The addresses of an upstream that go with an entry, but for those that are entries from now on.
std::set<std::string> leaving(const Change& gone, const std::vector<Change>& changes,
                              const Live& live) {
  std::set<std::string> addresses;
  for (const LiveEndpoint& endpoint : live.endpoints) {
    if (endpoint.upstream == gone.of && endpoint.written == gone.name) {
      addresses.insert(endpoint.address);
    }
  }
  for (const Change& change : changes) {
    const bool comes = change.what == Change::What::endpoint && change.how == Change::How::added;
    if (comes && change.of == gone.of) addresses.erase(change.name);
  }
  return addresses;
}

std::function<bool(const LiveSession&)> scope_of(const Change& change,
                                                 const std::vector<Change>& changes,
                                                 const Live& live) {
  switch (change.what) {
    case Change::What::listener:
      return [&change](const LiveSession& session) { return session.listener == change.name; };
    case Change::What::upstream:
      return [&change](const LiveSession& session) { return session.upstream == change.name; };
    case Change::What::endpoint:
      return [&change, addresses = leaving(change, changes, live)](const LiveSession& session) {
        return session.is_connected && session.upstream == change.of &&
               addresses.contains(session.endpoint);
      };
    default:
      return [](const LiveSession&) { return false; };
  }
}

Touched touched_by(const Change& change, const std::vector<Change>& changes, const Live& live) {
  Touched touched;
  if (!touches(change.effect)) return touched;
  const auto is_in_scope = scope_of(change, changes, live);
  for (const LiveSession& session : live.sessions) {
    if (!is_in_scope(session)) continue;
    const bool is_closed = change.effect == Effect::sessions_closed && session.is_connected;
    (is_closed ? touched.closed : touched.draining).push_back(session.id);
  }
  std::ranges::sort(touched.closed);
  std::ranges::sort(touched.draining);
  return touched;
}

// What closes a session does so whatever else it would have done.
Touched together(const std::vector<Plan::Line>& lines) {
  std::set<std::uint64_t> closed;
  std::set<std::uint64_t> draining;
  for (const Plan::Line& line : lines) {
    closed.insert(line.touched.closed.begin(), line.touched.closed.end());
    draining.insert(line.touched.draining.begin(), line.touched.draining.end());
  }
  for (const std::uint64_t id : closed) draining.erase(id);
  return {{closed.begin(), closed.end()}, {draining.begin(), draining.end()}};
}

std::string list(const std::vector<std::uint64_t>& ids) {
  std::string text;
  for (std::size_t i = 0; i < ids.size() && i < most_ids_shown; ++i) {
    text += fmt::format("{}{}", i == 0 ? "" : ", ", ids[i]);
  }
  if (ids.size() > most_ids_shown) text += fmt::format(" and {} more", ids.size() - most_ids_shown);
  return text;
}

std::string counted(std::size_t count, std::string_view what) {
  return fmt::format("{} {}{}", count, what, count == 1 ? "" : "s");
}

std::string text_of(const Plan::Line& line) {
  const Touched& touched = line.touched;
  const std::size_t count = touched.closed.size() + touched.draining.size();
  std::string text =
      fmt::format("{}; touches {}", config::describe(line.change),
                  count == 0 ? "no open connection" : counted(count, "open connection"));
  const auto name = [&](std::string_view verb, const std::vector<std::uint64_t>& ids) {
    if (ids.empty()) return;
    text += fmt::format("{} {} {}", text.contains(": closes") ? "," : ":", verb, list(ids));
  };
  name("closes", touched.closed);
  name("drains", touched.draining);
  return text + "\n";
}

json::value or_null(const std::string& text) {
  return text.empty() ? json::value(nullptr) : json::value(text);
}

json::object json_of(const Touched& touched) {
  return {{"closed", json::value_from(touched.closed)},
          {"draining", json::value_from(touched.draining)}};
}

json::object json_of(const Plan::Line& line) {
  const Change& change = line.change;
  json::array keys;
  for (const config::KeyChange& key : change.keys) {
    keys.push_back(json::object{{"key", key.key},
                                {"before", or_null(key.before)},
                                {"after", or_null(key.after)},
                                {"effect", word(key.effect)}});
  }
  return {{"what", word(change.what)},       {"name", or_null(change.name)},
          {"of", or_null(change.of)},        {"how", word(change.how)},
          {"effect", word(change.effect)},   {"keys", std::move(keys)},
          {"touches", json_of(line.touched)}};
}

}  // namespace

Plan make_plan(std::vector<Change> changes, const Live& live) {
  Plan plan;
  for (const Change& change : changes) {
    plan.lines.push_back({change, touched_by(change, changes, live)});
  }
  plan.touched = together(plan.lines);
  plan.open = live.open;
  plan.known = live.sessions.size();
  return plan;
}

std::string plan_as_text(const Plan& plan) {
  if (plan.lines.empty()) return "nothing changes\n";
  std::string text;
  for (const Plan::Line& line : plan.lines) text += text_of(line);
  text += fmt::format("{}: of {}, {} closed, {} draining\n", counted(plan.lines.size(), "change"),
                      counted(plan.open, "open connection"), plan.touched.closed.size(),
                      plan.touched.draining.size());
  if (plan.known < plan.open) {
    text += fmt::format("only {} of them were looked at\n", plan.known);
  }
  return text;
}

std::string plan_as_json(const Plan& plan) {
  json::array changes;
  for (const Plan::Line& line : plan.lines) changes.push_back(json_of(line));
  return json::serialize(json::object{{"changes", std::move(changes)},
                                      {"touches", json_of(plan.touched)},
                                      {"open", plan.open},
                                      {"looked_at", plan.known}}) +
         "\n";
}

}  // namespace weir::proxy
