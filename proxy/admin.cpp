#include "proxy/admin.hpp"

#include <algorithm>
#include <array>
#include <boost/json/serialize.hpp>
#include <charconv>
#include <functional>
#include <optional>
#include <string_view>

#include "proxy/connection_list.hpp"

namespace weir::proxy {
namespace {

namespace http = boost::beast::http;
namespace json = boost::json;

constexpr std::string_view connection_prefix = "/connections/";

std::string_view text(boost::beast::string_view view) {
  return {view.data(), view.size()};
}

HttpResponse plain(http::status status, std::string body,
                   std::string_view type = "text/plain; charset=utf-8") {
  HttpResponse response{status, 11};
  response.set(http::field::content_type, boost::beast::string_view(type.data(), type.size()));
  response.set(http::field::cache_control, "no-store");
  response.body() = std::move(body);
  return response;
}

HttpResponse as_json(const json::value& value, http::status status = http::status::ok) {
  return plain(status, json::serialize(value) + "\n", "application/json");
}

HttpResponse wrong_method(std::string_view allowed) {
  HttpResponse response = plain(http::status::method_not_allowed, "method not allowed\n");
  response.set(http::field::allow, boost::beast::string_view(allowed.data(), allowed.size()));
  return response;
}

// A page of another site must not end connections through its visitor's browser.
bool is_cross_site(const HttpRequest& request) {
  const std::string_view site = text(request["Sec-Fetch-Site"]);
  return request.find(http::field::origin) != request.end() ||
         (!site.empty() && site != "same-origin" && site != "none");
}

HttpResponse one_connection(AdminSource& source, const HttpRequest& request,
                            std::string_view rest) {
  std::uint64_t id = 0;
  const auto [end, error] = std::from_chars(rest.data(), rest.data() + rest.size(), id);
  const bool is_id = error == std::errc() && end == rest.data() + rest.size();
  const json::value missing = json::object{{"error", "no such connection"}};
  if (request.method() == http::verb::delete_) {
    if (is_cross_site(request)) return plain(http::status::forbidden, "cross-site request\n");
    if (!is_id || !source.kill(id)) return as_json(missing, http::status::not_found);
    return as_json(json::object{{"killed", id}});
  }
  if (request.method() != http::verb::get && request.method() != http::verb::head) {
    return wrong_method("GET, HEAD, DELETE");
  }
  const std::vector<ConnectionFacts> all = source.connections();
  const auto found = std::ranges::find(all, id, &ConnectionFacts::id);
  if (!is_id || found == all.end()) return as_json(missing, http::status::not_found);
  return as_json(connection_json(*found));
}

HttpResponse list_connections(AdminSource& source, std::string_view query) {
  const auto wanted = parse_connection_query(query);
  if (!wanted) return plain(http::status::bad_request, wanted.error() + "\n");
  return as_json(connection_list(source.connections(), *wanted));
}

HttpResponse configuration(AdminSource& source) {
  std::string text = source.configuration();
  if (text.empty()) return plain(http::status::not_found, "no configuration file\n");
  return plain(http::status::ok, std::move(text), "application/yaml");
}

constexpr std::string_view index_page =
    "weir\n\n/metrics\n/healthz\n/readyz\n/status\n/config\n"
    "/connections?sort=bytes|age|rate&limit=&listener=&upstream=\n"
    "/connections/{id}  (DELETE ends it)\n";

}  // namespace

Admin::Admin(const config::Address& bind, AdminSource& source, OpenBinding given)
    : http_(
          "admin", bind,
          [&source](const HttpRequest& request) { return answer_admin(source, request); },
          std::chrono::seconds(10), std::move(given)) {}

HttpResponse answer_admin(AdminSource& source, const HttpRequest& request) {
  const std::string_view target = text(request.target());
  const std::size_t mark = target.find('?');
  const std::string_view path = target.substr(0, mark);
  const std::string_view query = mark == std::string_view::npos ? "" : target.substr(mark + 1);
  if (path.starts_with(connection_prefix)) {
    return one_connection(source, request, path.substr(connection_prefix.size()));
  }
  static constexpr std::array<std::string_view, 7> paths{
      "/", "/metrics", "/healthz", "/readyz", "/status", "/config", "/connections"};
  if (std::ranges::find(paths, path) == paths.end()) {
    return plain(http::status::not_found, "not found\n");
  }
  if (request.method() != http::verb::get && request.method() != http::verb::head) {
    return wrong_method("GET, HEAD");
  }
  if (path == "/metrics") {
    return plain(http::status::ok, source.metrics(), "text/plain; version=0.0.4; charset=utf-8");
  }
  if (path == "/healthz") return plain(http::status::ok, "ok\n");
  if (path == "/readyz") {
    return source.ready() ? plain(http::status::ok, "ready\n")
                          : plain(http::status::service_unavailable, "not ready\n");
  }
  if (path == "/status") return as_json(source.status());
  if (path == "/config") return configuration(source);
  if (path == "/connections") return list_connections(source, query);
  return plain(http::status::ok, std::string(index_page));
}

}  // namespace weir::proxy
