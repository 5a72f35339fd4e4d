#pragma once
// What a reload would do to the sessions that are open now: changes and sessions in, a report out.
// A session is touched when it is closed, or when it goes on although what it belongs to is gone: a
// listener that stops accepting, an upstream or an endpoint that is removed. One that keeps older
// rules is not. Of an address that several entries of an upstream lead to, one of them a name, only
// the running process knows that it stays when one of the entries goes; here it goes. Pure.

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "config/change.hpp"

namespace weir::proxy {

struct LiveSession {
  std::uint64_t id = 0;
  std::string listener{};
  std::string upstream{};    // empty = not chosen yet
  std::string endpoint{};    // an address
  bool is_connected = true;  // to that endpoint
};

// An endpoint that new sessions may get.
struct LiveEndpoint {
  std::string upstream;
  std::string address;
  std::string written;  // the entry of the configuration that led to it
};

struct Live {
  std::vector<LiveSession> sessions;
  std::size_t open = 0;  // all there are, also where only some of them are known
  std::vector<LiveEndpoint> endpoints;
};

struct Touched {
  std::vector<std::uint64_t> closed;  // ids, ascending
  std::vector<std::uint64_t> draining;
};

struct Plan {
  struct Line {
    config::Change change;
    Touched touched;
  };
  std::vector<Line> lines;
  Touched touched;  // each session once, by all changes together
  std::size_t open = 0;
  std::size_t known = 0;  // of those
};

Plan make_plan(std::vector<config::Change> changes, const Live& live);

// A line for each change and one for all; or one JSON object.
std::string plan_as_text(const Plan& plan);
std::string plan_as_json(const Plan& plan);

}  // namespace weir::proxy
