#pragma once
// A configuration with all that it names: the file, what it includes, certificates and keys. What
// `weir check`, a start and a reload have in common.

#include <memory>
#include <string>
#include <vector>

#include "config/config.hpp"
#include "config/diagnostic.hpp"
#include "proxy/followed_content.hpp"
#include "proxy/tls_store.hpp"

namespace weir::proxy {

struct Loaded {
  std::shared_ptr<const config::Config> config;  // null when there is an error
  TlsStore tls;
  std::vector<config::Problem> problems;
  // What all that was loaded from, as it was then, for a FileWatch: the file itself and what it
  // includes; certificates, keys and authorities (none where the file has errors).
  std::vector<FollowedContent> configuration_files;
  std::vector<FollowedContent> tls_files;
};

// `before`: what is in force, of which certificates that have not changed are taken.
Loaded load(const std::string& path, const TlsStore& before = {});

// Of problems that were found after the reader had gone: their lines are read again.
void add_source_lines(std::vector<config::Problem>& problems);

bool is_error(const config::Problem& problem);

}  // namespace weir::proxy
