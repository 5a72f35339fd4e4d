#include "proxy/explain.hpp"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include <algorithm>
#include <iterator>
#include <map>
#include <optional>
#include <vector>

#include "config/diagnostic.hpp"
#include "config/host_name.hpp"
#include "config/schema.hpp"
#include "proxy/route.hpp"
#include "proxy/tls_store.hpp"

namespace weir::proxy {
namespace {

using config::in_backticks;

// What routes are chosen by.
struct Facts {
  std::string server_name;
  std::vector<std::string_view> protocols;
  SocketAddress client;
  std::string client_text;
};

// The word that an enumeration's value is written as.
std::string_view word_of(std::string_view path, int value) {
  const auto key = std::ranges::find(config::all_keys(), path, &config::Key::path);
  return config::split_words(key->words).at(static_cast<std::size_t>(value));
}

std::optional<SocketAddress> parse_client(const std::string& text) {
  sockaddr_in6 v6{};
  v6.sin6_family = AF_INET6;
  if (::inet_pton(AF_INET6, text.c_str(), &v6.sin6_addr) == 1) {
    return SocketAddress::from(reinterpret_cast<const sockaddr*>(&v6));
  }
  sockaddr_in v4{};
  v4.sin_family = AF_INET;
  if (::inet_pton(AF_INET, text.c_str(), &v4.sin_addr) == 1) {
    return SocketAddress::from(reinterpret_cast<const sockaddr*>(&v4));
  }
  return std::nullopt;
}

// True when a table of this condition alone chooses its route: the server's own judgement.
bool holds(config::RouteMatch condition, const Facts& facts) {
  std::vector<config::Upstream> upstreams(1);
  upstreams[0].name = "it";
  config::Listener listener;
  config::Route& route = listener.routes.emplace_back();
  route.match = std::move(condition);
  route.upstream = "it";
  const RouteTable table(listener, by_position(upstreams));
  return table.choose(facts.server_name, facts.protocols, facts.client).upstream == 0;
}

std::string mismatch(std::string_view what, const std::string& is,
                     const std::vector<std::string>& wanted) {
  const std::string list = fmt::format("{}", fmt::join(wanted, ", "));
  if (is.empty()) return fmt::format("there is no {}, and it wants {}", what, list);
  return wanted.size() == 1 ? fmt::format("the {} {} is not {}", what, is, list)
                            : fmt::format("the {} {} is none of {}", what, is, list);
}

// Why a route is passed over: every condition that does not hold. Empty when it matches.
std::string why_not(const config::RouteMatch& match, const Facts& facts) {
  std::vector<std::string> reasons;
  if (!holds({.server_name = match.server_name}, facts)) {
    reasons.push_back(mismatch("server name", facts.server_name, match.server_name));
  }
  if (!holds({.alpn = match.alpn}, facts)) {
    reasons.push_back(
        mismatch("protocol", fmt::format("{}", fmt::join(facts.protocols, ", ")), match.alpn));
  }
  if (!holds({.client = match.client}, facts)) {
    std::vector<std::string> networks;
    for (const config::Network& network : match.client) networks.push_back(network.text);
    reasons.push_back(mismatch("client address", facts.client_text, networks));
  }
  return fmt::format("{}", fmt::join(reasons, "; "));
}

class Explainer {
 public:
  Explainer(const config::Config& config, const TlsStore& tls, const config::Listener& listener,
            Facts facts)
      : config_(config), tls_(tls), listener_(listener), facts_(std::move(facts)) {}

  Explanation run() {
    describe_listener();
    if (listener_.tls.empty() ? describe_without_tls() : shake_hands()) choose_route();
    return std::move(result_);
  }

 private:
  template <class... Arguments>
  void say(fmt::format_string<Arguments...> format, Arguments&&... arguments) {
    fmt::format_to(std::back_inserter(result_.text), format, std::forward<Arguments>(arguments)...);
    result_.text += '\n';
  }

  void describe_listener() {
    std::vector<std::string> binds;
    for (const config::Address& address : listener_.bind) binds.push_back(address.text());
    const auto proxy = static_cast<int>(listener_.proxy_protocol);
    say("listener {}: {}{}{}", listener_.name, fmt::join(binds, ", "),
        listener_.passthrough   ? ", tls passthrough"
        : listener_.tls.empty() ? ""
                                : fmt::format(", tls {}", listener_.tls),
        proxy == 0
            ? ""
            : fmt::format(", proxy_protocol {}", word_of("listeners.*.proxy_protocol", proxy)));
  }

  bool describe_without_tls() {
    if (listener_.passthrough) {
      say("certificate: that of the server, TLS passes through");
      return true;
    }
    say("certificate: none, the listener terminates no TLS");
    if (facts_.server_name.empty() && facts_.protocols.empty()) return true;
    if (listener_.proxy_protocol == config::AcceptProxy::off) {
      say("note: without TLS or a PROXY header nothing tells a server name or a protocol");
      facts_.server_name.clear();
      facts_.protocols.clear();
    } else {
      say("note: server name and protocol are what a PROXY header (version 2) says");
    }
    return true;
  }

  // False when the handshake fails.
  bool shake_hands() {
    const config::TlsSettings& settings = config_.tls.at(listener_.tls);
    const CertificateChoice choice =
        tls_.server(listener_.tls)->certificates_for(facts_.server_name);
    if (choice.places.empty()) {
      say("certificate: none, the handshake is refused: no certificate is for {}, and "
          "`unknown_server_name` is `reject`",
          facts_.server_name.empty() ? "a client without a server name" : facts_.server_name);
      return false;
    }
    const auto file = [&](std::size_t i) { return settings.certificates[choice.places[i]].cert; };
    say("certificate: {}{}",
        choice.places.size() == 1
            ? file(0)
            : fmt::format("{} for clients that take ECDSA, else {}", file(0), file(1)),
        choice.by_name ? "" : " (the default)");
    describe_client_certificate(settings.client_certificate);
    if (facts_.protocols.empty()) return true;
    if (settings.alpn.empty()) {
      say("protocol: none is agreed on, tls {} offers none", settings.name);
      facts_.protocols.clear();
      return true;
    }
    const auto agreed = std::ranges::find_first_of(settings.alpn, facts_.protocols);
    if (agreed != settings.alpn.end()) {
      if (facts_.protocols.size() > 1) say("protocol: {} is agreed on", *agreed);
      facts_.protocols = {*agreed};
      return true;
    }
    say("protocol: the handshake fails, tls {} offers {}", settings.name,
        fmt::join(settings.alpn, ", "));
    return false;
  }

  void describe_client_certificate(const config::ClientCertificate& client) {
    if (client.verify == config::ClientVerify::off) return;
    std::vector<std::string> patterns;
    for (const config::IdentityPattern& pattern : client.allow) patterns.push_back(pattern.text());
    say("client certificate: {}, signed by an authority in {}{}{}",
        word_of("tls.*.client_certificate.verify", static_cast<int>(client.verify)), client.ca,
        client.crl.empty() ? "" : fmt::format(", not revoked in {}", client.crl),
        patterns.empty() ? "" : fmt::format(", of {}", fmt::join(patterns, " or ")));
  }

  void choose_route() {
    const RouteChoice choice = RouteTable(listener_, by_position(config_.upstreams))
                                   .choose(facts_.server_name, facts_.protocols, facts_.client);
    bool matched = false;
    for (std::size_t i = 0; i < listener_.routes.size() && !matched; ++i) {
      const config::Route& route = listener_.routes[i];
      const std::string reason = why_not(route.match, facts_);
      matched = reason.empty();
      say("route {}{}: {}", i + 1, route.name.empty() ? "" : fmt::format(" ({})", route.name),
          matched ? "matches" : fmt::format("no, {}", reason));
    }
    result_.has_upstream = choice.upstream != RouteChoice::no_upstream;
    if (!result_.has_upstream) {
      say("upstream: none, no route matches and the listener has no `upstream`: the connection is "
          "closed (no_route)");
      return;
    }
    describe_upstream(config_.upstreams[choice.upstream], !matched);
  }

  void describe_upstream(const config::Upstream& upstream, bool is_default) {
    const auto balance = word_of("upstreams.*.balance", static_cast<int>(upstream.balance));
    const bool hashes = upstream.balance == config::Balance::hash;
    say("upstream: {}{}, balance {}{}{}", upstream.name, is_default ? " (the listener's own)" : "",
        balance,
        hashes ? fmt::format(" on {}",
                             word_of("upstreams.*.hash_on", static_cast<int>(upstream.hash_on)))
               : "",
        upstream.tls ? ", over TLS" : "");
    std::map<std::uint32_t, std::vector<std::string>> tiers;
    for (const config::Endpoint& endpoint : upstream.endpoints) {
      tiers[endpoint.tier].push_back(
          endpoint.text() +
          (endpoint.weight == 1 ? "" : fmt::format(" (weight {})", endpoint.weight)));
    }
    for (const auto& [tier, endpoints] : tiers) {
      say("  tier {}: {}", tier, fmt::join(endpoints, ", "));
    }
  }

  const config::Config& config_;
  const TlsStore& tls_;
  const config::Listener& listener_;
  Facts facts_;
  Explanation result_;
};

std::string unknown_listener(const config::Config& config, const std::string& name) {
  std::vector<std::string_view> names;
  for (const config::Listener& listener : config.listeners) names.push_back(listener.name);
  const std::string near = config::did_you_mean(name, names);
  return fmt::format("there is no listener {}: {}", in_backticks(name),
                     near.empty() ? fmt::format("there is {}", fmt::join(names, ", ")) : near);
}

}  // namespace

std::expected<Explanation, std::string> explain(const config::Config& config, const TlsStore& tls,
                                                const ExplainQuestion& question) {
  const auto listener =
      std::ranges::find(config.listeners, question.listener, &config::Listener::name);
  if (listener == config.listeners.end()) {
    return std::unexpected(unknown_listener(config, question.listener));
  }
  Facts facts;
  if (!question.server_name.empty()) {
    const auto name = config::parse_host_name(question.server_name);
    if (!name) return std::unexpected(name.error());
    facts.server_name = *name;
  }
  facts.protocols.assign(question.alpn.begin(), question.alpn.end());
  if (!question.client.empty()) {
    const auto client = parse_client(question.client);
    if (!client) {
      return std::unexpected(fmt::format("{} is not an IP address", in_backticks(question.client)));
    }
    facts.client = *client;
    facts.client_text = question.client;
  }
  return Explainer(config, tls, *listener, std::move(facts)).run();
}

}  // namespace weir::proxy
