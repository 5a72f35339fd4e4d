#pragma once
// What `weir check --probe` found, and how it is told: a line for each thing that was tried,
// problems at their places, JSON for programs. Pure; probe.hpp is what tries.

#include <boost/json/fwd.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "config/config.hpp"
#include "config/diagnostic.hpp"
#include "proxy/certificate_facts.hpp"

namespace weir::proxy {

struct ProbeResult {
  enum class Kind { listener, admin, certificate, endpoint };

  struct Tls {
    std::string version;
    std::string cipher;
    std::string alpn;  // agreed on; empty = none
  };
  struct Check {
    std::string type;
    bool passed = false;
    double milliseconds = 0;
  };

  Kind kind = Kind::endpoint;
  std::string name;     // of the listener, the `tls` settings, the upstream; empty for admin
  std::string address;  // what was tried: an address, a file
  std::string written;  // an endpoint that DNS has found: the entry that led to it; else empty
  config::Place place;
  std::string fault;                    // why it failed, in words; empty = it is good
  std::vector<std::string> warnings{};  // that do not make it fail
  std::vector<std::string> notes{};     // what else is worth telling

  // Of endpoints, as far as they got:
  std::optional<double> connected_milliseconds{};
  std::optional<Tls> tls{};
  std::optional<Check> check{};
  // Of certificates, and of endpoints that have shown one:
  std::optional<CertificateFacts> certificate{};
  std::string matched{};  // the name by which an endpoint was verified
  bool verified = false;  // an endpoint's certificate was accepted for that
};

bool is_good(const ProbeResult& result);

// An aligned line for each, and a last one that counts.
std::string probes_as_text(const std::vector<ProbeResult>& results);
// An error for each that failed, and the warnings; without source lines.
std::vector<config::Problem> problems_of(const std::vector<ProbeResult>& results);
boost::json::array probes_as_json(const std::vector<ProbeResult>& results);

}  // namespace weir::proxy
