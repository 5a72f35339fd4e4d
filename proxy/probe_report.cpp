#include "proxy/probe_report.hpp"

#include <fmt/format.h>

#include <algorithm>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/value.hpp>
#include <functional>

#include "proxy/json_text.hpp"
#include "proxy/tls_certificate.hpp"

namespace weir::proxy {
namespace {

namespace json = boost::json;
using Kind = ProbeResult::Kind;

// A column is as wide as what is in it, but for what is very long.
constexpr std::size_t widest_column = 48;

std::string_view word(Kind kind) {
  switch (kind) {
    case Kind::listener:
      return "listener";
    case Kind::admin:
      return "admin";
    case Kind::certificate:
      return "certificate";
    case Kind::endpoint:
      break;
  }
  return "endpoint";
}

std::string subject_of(const ProbeResult& result) {
  std::string text(word(result.kind));
  if (!result.name.empty()) text += " " + result.name;
  return text;
}

std::string target_of(const ProbeResult& result) {
  return result.written.empty() ? result.address
                                : fmt::format("{} ({})", result.written, result.address);
}

std::string tls_in_words(const ProbeResult& result) {
  std::string text = fmt::format(", {} {}", result.tls->version, result.tls->cipher);
  if (!result.tls->alpn.empty()) text += ", protocol " + result.tls->alpn;
  if (!result.certificate) return text;
  const std::string end = utc(result.certificate->not_after);
  if (!result.verified) {
    return text + fmt::format(", certificate of {} (not verified) until {}",
                              names_in_words(*result.certificate), end);
  }
  const std::string& name = result.matched;
  return text + fmt::format(", certificate of {} until {}",
                            name.empty() ? names_in_words(*result.certificate) : name, end);
}

std::string text_of(const ProbeResult& result) {
  std::string text;
  if (result.kind == Kind::certificate) {
    text = fmt::format("of {} until {}", names_in_words(*result.certificate),
                       utc(result.certificate->not_after));
  } else if (result.kind != Kind::endpoint) {
    text = result.fault.empty() ? "can be bound" : "";
  } else if (result.connected_milliseconds) {
    text = fmt::format("connected in {:.1f} ms", *result.connected_milliseconds);
    if (result.tls) text += tls_in_words(result);
    if (result.check && result.check->passed) {
      text += fmt::format(", {} check passed in {:.1f} ms", result.check->type,
                          result.check->milliseconds);
    }
  }
  const auto add = [&text](std::string_view mark, const std::string& more) {
    text += fmt::format("{}{}{}", text.empty() ? "" : "; ", mark, more);
  };
  if (!result.fault.empty()) add("FAILED: ", result.fault);
  for (const std::string& warning : result.warnings) add("", warning);
  for (const std::string& note : result.notes) add("", note);
  return text;
}

std::size_t width(const std::vector<ProbeResult>& results,
                  std::string (*column)(const ProbeResult&)) {
  std::size_t widest = 0;
  for (const ProbeResult& result : results) widest = std::max(widest, column(result).size());
  return std::min(widest, widest_column);
}

// As the log has it: "upstream api: endpoint 10.0.0.5:9000 ...".
std::string place_in_words(const ProbeResult& result) {
  switch (result.kind) {
    case Kind::listener:
    case Kind::admin:
      return subject_of(result);
    case Kind::certificate:
      return fmt::format("{} {}", subject_of(result), result.address);
    case Kind::endpoint:
      break;
  }
  return fmt::format("upstream {}: endpoint {}", result.name, target_of(result));
}

config::Problem problem(config::Problem::Severity severity, const ProbeResult& result,
                        std::string_view what) {
  config::Problem problem;
  problem.severity = severity;
  problem.place = result.place;
  problem.message = fmt::format("{}: {}", place_in_words(result), what);
  return problem;
}

json::array list(const std::vector<std::string>& texts) {
  json::array all;
  for (const std::string& text : texts) all.push_back(valid_json(text));
  return all;
}

json::object json_of(const CertificateFacts& certificate) {
  return {{"subject", valid_json(certificate.subject)},
          {"issuer", valid_json(certificate.issuer)},
          {"names", list(certificate.names)},
          {"not_after", in_iso8601(certificate.not_after)}};
}

json::object json_of(const ProbeResult& result) {
  json::object object{{"kind", word(result.kind)},
                      {"name", valid_json(result.name)},
                      {"address", valid_json(result.address)},
                      {"good", is_good(result)},
                      {"fault", valid_json(result.fault)},
                      {"warnings", list(result.warnings)},
                      {"notes", list(result.notes)},
                      {"file", valid_json(result.place.file)},
                      {"line", result.place.line},
                      {"column", result.place.column}};
  if (!result.written.empty()) object["written"] = valid_json(result.written);
  if (result.connected_milliseconds) object["connected_ms"] = *result.connected_milliseconds;
  if (result.tls) {
    object["tls"] = json::object{{"version", result.tls->version},
                                 {"cipher", result.tls->cipher},
                                 {"alpn", valid_json(result.tls->alpn)},
                                 {"verified", result.verified},
                                 {"matched", valid_json(result.matched)}};
  }
  if (result.certificate) object["certificate"] = json_of(*result.certificate);
  if (result.check) {
    object["check"] = json::object{{"type", result.check->type},
                                   {"passed", result.check->passed},
                                   {"ms", result.check->milliseconds}};
  }
  return object;
}

}  // namespace

bool is_good(const ProbeResult& result) {
  return result.fault.empty();
}

std::string probes_as_text(const std::vector<ProbeResult>& results) {
  std::string text;
  const std::size_t first = width(results, &subject_of);
  const std::size_t second = width(results, &target_of);
  for (const ProbeResult& result : results) {
    const std::string line = fmt::format("{:<{}}  {:<{}}  {}", subject_of(result), first,
                                         target_of(result), second, text_of(result));
    text += config::without_controls(line) + "\n";
  }
  const auto failed = std::ranges::count_if(results, std::not_fn(is_good));
  if (failed == 0) return text + fmt::format("all {} probes are good\n", results.size());
  return text + fmt::format("{} of {} probes failed\n", failed, results.size());
}

std::vector<config::Problem> problems_of(const std::vector<ProbeResult>& results) {
  using Severity = config::Problem::Severity;
  std::vector<config::Problem> problems;
  for (const ProbeResult& result : results) {
    if (!is_good(result)) problems.push_back(problem(Severity::error, result, result.fault));
    for (const std::string& warning : result.warnings) {
      problems.push_back(problem(Severity::warning, result, warning));
    }
  }
  return problems;
}

json::array probes_as_json(const std::vector<ProbeResult>& results) {
  json::array all;
  for (const ProbeResult& result : results) all.push_back(json_of(result));
  return all;
}

}  // namespace weir::proxy
