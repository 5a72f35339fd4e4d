#include "proxy/probe.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <memory>
#include <utility>

#include "pool/roster.hpp"
#include "proxy/chain_check.hpp"
#include "proxy/endpoint_probe.hpp"
#include "proxy/sockets.hpp"

namespace weir::proxy {
namespace {

using Kind = ProbeResult::Kind;

// More at once would look like an attack, and cost each of them time.
constexpr std::size_t most_at_once = 64;

ProbeResult try_bind(Kind kind, const std::string& name, const config::Address& address,
                     const config::Place& place) {
  ProbeResult result{kind, name, address.text(), {}, place, {}};
  const auto possible = may_listen_on(address);
  if (!possible) {
    result.fault = possible.error();
  } else if (!possible->empty()) {
    result.notes.push_back(*possible);
  }
  return result;
}

void try_binds(const config::Config& config, std::vector<ProbeResult>& results) {
  for (const config::Listener& listener : config.listeners) {
    for (std::size_t i = 0; i < listener.bind.size(); ++i) {
      results.push_back(
          try_bind(Kind::listener, listener.name, listener.bind[i], listener.bind_places[i]));
    }
  }
  if (config.admin.bind) {
    results.push_back(try_bind(Kind::admin, {}, *config.admin.bind, config.admin.place));
  }
}

void look_at_certificates(const config::Config& config, std::vector<ProbeResult>& results) {
  const ChainCheck chains;
  const auto look = [&](const std::string& name, const config::Certificate& files) {
    auto looked = chains.look_at(files);
    if (!looked) return;
    ProbeResult& result =
        results.emplace_back(Kind::certificate, name, files.cert, "", files.cert_place, "");
    result.certificate = std::move(looked->facts);
    if (!looked->note.empty()) result.notes.push_back(std::move(looked->note));
  };
  for (const auto& [name, settings] : config.tls) {
    for (const config::Certificate& files : settings.certificates) look(name, files);
  }
  for (const config::Upstream& upstream : config.upstreams) {
    if (upstream.tls && upstream.tls->certificate) look(upstream.name, *upstream.tls->certificate);
  }
}

// An address to dial, and where its result goes.
struct Target {
  const config::Upstream* upstream;
  pool::EndpointPointer endpoint;
  std::size_t result;
};

std::vector<Target> targets_of(const config::Config& config, const std::vector<NameAnswer>& names,
                               std::vector<ProbeResult>& results) {
  std::vector<Target> targets;
  const auto add = [&](const config::Upstream& upstream, const config::Endpoint& written,
                       pool::EndpointPointer endpoint) {
    const bool is_found = written.kind != config::Endpoint::Kind::address;
    targets.push_back({&upstream, endpoint, results.size()});
    results.push_back({Kind::endpoint, upstream.name, endpoint->name,
                       is_found ? written.text() : "", written.place, ""});
  };
  for (const config::Upstream& upstream : config.upstreams) {
    for (const config::Endpoint& written : upstream.endpoints) {
      if (written.kind == config::Endpoint::Kind::address) {
        add(upstream, written, pool::endpoint_at(written));
        continue;
      }
      const auto answer = std::ranges::find(names, &written, &NameAnswer::endpoint);
      const bool known = answer != names.end() && answer->fault.empty();
      if (!known) {
        results.push_back({Kind::endpoint, upstream.name, written.text(), "", written.place,
                           answer == names.end() ? "the name was not looked up: there are too many"
                                                 : "the name is not found here: " + answer->fault});
        continue;
      }
      for (const pool::Found& found : answer->found) {
        add(upstream, written, pool::endpoint_of(written, found));
      }
    }
  }
  return targets;
}

// Tries them all, a certain number at a time. What begins, begins behind the loop's wait: what then
// ends at once, and was the last, is not waited for.
class Run final : private Unfinished {
 public:
  Run(const TlsStore& tls, std::vector<Target> targets, std::vector<ProbeResult>& results)
      : tls_(tls), targets_(std::move(targets)), results_(results) {}

  void all() {
    if (targets_.empty()) return;
    loop_.go_on_later(*this);
    loop_.run();
  }

 private:
  void go_on() override {
    while (next_ < targets_.size() && next_ - done_ < most_at_once) {
      const Target& target = targets_[next_];
      std::shared_ptr<const TlsClient>& client =
          clients_.emplace_back(tls_.client(target.upstream->name));
      probes_.push_back(std::make_unique<EndpointProbe>(
          *target.upstream, client.get(), target.endpoint, next_, results_[target.result]));
      ++next_;
      probes_.back()->start(loop_, [this] { one_is_done(); });
    }
  }

  // The probe is still on the stack: what comes next does not begin here.
  void one_is_done() {
    ++done_;
    if (done_ == targets_.size()) return loop_.stop();
    loop_.go_on_later(*this);
  }

  const TlsStore& tls_;
  std::vector<Target> targets_;
  std::vector<ProbeResult>& results_;
  std::size_t next_ = 0;
  std::size_t done_ = 0;
  EventLoop loop_;
  std::vector<std::shared_ptr<const TlsClient>> clients_;
  std::vector<std::unique_ptr<EndpointProbe>> probes_;  // before the loop they are on
};

}  // namespace

std::vector<ProbeResult> probe(const config::Config& config, const TlsStore& tls,
                               const std::vector<NameAnswer>& names) {
  // A peer that closes is no reason to end: OpenSSL writes with write().
  std::signal(SIGPIPE, SIG_IGN);
  std::vector<ProbeResult> results;
  try_binds(config, results);
  look_at_certificates(config, results);
  std::vector<Target> targets = targets_of(config, names, results);
  Run(tls, std::move(targets), results).all();
  return results;
}

}  // namespace weir::proxy
