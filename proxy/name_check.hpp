#pragma once
// Looks the names of a configuration up once, as discovery will when it runs, with the same
// servers: for `weir check`, whose reader wants to know of a misspelt name, and dials what they
// lead to. Nothing of it stops a configuration: names come and go.

#include <chrono>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "config/diagnostic.hpp"
#include "pool/discovery.hpp"

namespace weir::proxy {

struct NameAnswer {
  const config::Endpoint* endpoint;  // the entry, of the configuration that was asked about
  std::vector<pool::Found> found;
  std::string fault;  // empty: it was found
};

// One for each entry that is a name, in their order, but for very many the first ones. `most` is
// for all of them together: waits no longer.
std::vector<NameAnswer> look_up_names(const config::Config& config, std::chrono::milliseconds most);

// A warning for each endpoint whose name was not found.
std::vector<config::Problem> names_not_found(const std::vector<NameAnswer>& answers);

}  // namespace weir::proxy
