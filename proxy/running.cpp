#include "proxy/running.hpp"

#include <fmt/format.h>

#include <boost/json/parse.hpp>
#include <exception>
#include <utility>

#include "config/reader.hpp"
#include "proxy/admin_client.hpp"
#include "proxy/connection_facts.hpp"

namespace weir::proxy {
namespace {

namespace json = boost::json;

std::string text_of(const json::value& object, std::string_view key) {
  return std::string(std::string_view(object.at(key).as_string()));
}

bool is_connected(std::string_view state) {
  return state == word(Stage::open) || state == word(Stage::client_done) ||
         state == word(Stage::server_done);
}

// Throw where something is missing or of another type.
void read_endpoints(const json::value& status, Live& live) {
  for (const json::value& upstream : status.at("upstreams").as_array()) {
    for (const json::value& endpoint : upstream.at("endpoints").as_array()) {
      live.endpoints.push_back({text_of(upstream, "name"), text_of(endpoint, "address"),
                                text_of(endpoint, "configured")});
    }
  }
}

void read_sessions(const json::value& connections, Live& live) {
  live.open = connections.at("total").to_number<std::size_t>();
  for (const json::value& each : connections.at("connections").as_array()) {
    live.sessions.push_back({each.at("id").to_number<std::uint64_t>(), text_of(each, "listener"),
                             text_of(each, "upstream"), text_of(each, "endpoint"),
                             is_connected(text_of(each, "state"))});
  }
}

}  // namespace

std::expected<Live, std::string> read_live(std::string_view status, std::string_view connections) {
  Live live;
  try {
    read_endpoints(json::parse({status.data(), status.size()}), live);
    read_sessions(json::parse({connections.data(), connections.size()}), live);
  } catch (const std::exception& error) {
    return std::unexpected(error.what());
  }
  return live;
}

std::expected<Running, std::string> look_at_running(const config::Address& admin) {
  const auto yaml = read_admin(admin, "/config");
  if (!yaml) return std::unexpected(yaml.error());
  const auto status = read_admin(admin, "/status");
  if (!status) return std::unexpected(status.error());
  const auto connections = read_admin(admin, "/connections?limit=100000");
  if (!connections) return std::unexpected(connections.error());
  const auto not_understood = [&](std::string_view why) {
    return std::unexpected(
        fmt::format("the answer of weir at {} is not understood: {}", admin.text(), why));
  };
  config::LoadResult read = config::load_checked(*yaml, "config");
  if (!read.config) return not_understood(read.problems.front().message);
  auto live = read_live(*status, *connections);
  if (!live) return not_understood(live.error());
  return Running{std::move(*read.config), std::move(*live)};
}

}  // namespace weir::proxy
