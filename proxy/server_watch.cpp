// What the server does when files change by themselves: with `watch: true` it reloads, and in any
// case it takes renewed certificates up, without a change of anything else.

#include <fmt/ranges.h>
#include <spdlog/spdlog.h>

#include <exception>

#include "config/diagnostic.hpp"
#include "proxy/server.hpp"

namespace weir::proxy {

// After each load, also one that has failed: then what is wrong is waited for to change. Of a
// configuration that cannot be read nobody knows the certificates: those that were followed are.
void Server::follow_files(Loaded& loaded) {
  const InForcePointer in_force = this->in_force();
  const bool watch = loaded.config != nullptr ? loaded.config->watch : in_force->config->watch;
  if (!watch) loaded.configuration_files.clear();
  configuration_watch_.follow(std::move(loaded.configuration_files));
  if (!loaded.tls_files.empty() || loaded.config != nullptr) {
    tls_watch_.follow(std::move(loaded.tls_files));
  }
}

void Server::configuration_changed(const std::vector<std::string>& paths) {
  spdlog::info("changed: {}", fmt::join(paths, ", "));
  reload();
}

void Server::certificates_changed(const std::vector<std::string>& paths) {
  if (phase_.load() != Phase::serving) return;
  spdlog::info("changed: {}", fmt::join(paths, ", "));
  try {
    take_up_certificates();
  } catch (const std::exception& error) {
    refuse("certificates in force stay", error.what());
  }
}

void Server::take_up_certificates() {
  Loaded loaded;
  loaded.config = in_force()->config;
  loaded.tls_files = contents_now(tls_files(*loaded.config));
  loaded.tls = in_force()->tls.renewed(*loaded.config, loaded.problems);
  add_source_lines(loaded.problems);
  tls_watch_.follow(std::move(loaded.tls_files));
  const std::string problems = config::render(loaded.problems, false);
  const bool is_good = std::ranges::none_of(loaded.problems, is_error);
  if (is_good && !problems.empty()) spdlog::warn("certificates are odd:\n{}", problems);
  // What could be renewed is, whatever is wrong with others.
  change_to(*prepare(loaded));
  if (!is_good) return refuse("certificates in force stay where there is an error", problems);
  accept("certificates taken up");
}

}  // namespace weir::proxy
