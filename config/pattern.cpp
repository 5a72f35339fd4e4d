#include "config/pattern.hpp"

#include <fmt/format.h>

namespace weir::config {
namespace {

constexpr std::string_view positive_duration = "0*[1-9][0-9]*(ms|s|m|h)";
constexpr std::string_view probes = "0*([1-9]|[1-9][0-9]|1[01][0-9]|12[0-7])";  // 1 to 127

constexpr std::string_view ipv6 = "[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*";
constexpr std::string_view label = "[A-Za-z0-9_]([A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?";
constexpr std::string_view unix_socket = "unix:/.{1,106}";
constexpr std::string_view has_letter = "(?=[^:]*[A-Za-z])";  // before a host and its port

// 1 to 65535
constexpr std::string_view port =
    "([1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])";

std::string ipv4() {
  constexpr std::string_view byte = "(25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])";
  return fmt::format("{0}(\\.{0}){{3}}", byte);
}

std::string host_name() {
  return fmt::format("{0}(\\.{0})*", label);
}

std::string whole(std::string_view pattern) {
  return fmt::format("^{}$", pattern);
}

}  // namespace

std::string pattern_of(Type type) {
  switch (type) {
    case Type::duration:
      return whole("(0|[0-9]+(ms|s|m|h))");
    case Type::rate:
      return whole("(0|[0-9]+/[smh])");
    case Type::durations:
      return whole(fmt::format(" *{0} *\\.\\. *{0} *", positive_duration));
    case Type::keepalive:
      return whole(fmt::format(" *{0} *, *{0} *, *{1} *", positive_duration, probes));
    case Type::bytes:
      return whole(R"(([^\\]|\\[rnt\\]|\\x[0-9A-Fa-f]{2})*)");
    case Type::name:
    case Type::reference:
      return whole("[a-z0-9][a-z0-9_-]{0,62}");
    case Type::address:
      return whole(fmt::format("(({}|\\[{}\\]):(0|{})|{})", ipv4(), ipv6, port, unix_socket));
    case Type::endpoint:
      return whole(fmt::format("(({0}|\\[{1}\\]|{2}{3}\\.?):{4}|{5}|srv:{3}\\.?)", ipv4(), ipv6,
                               has_letter, host_name(), port, unix_socket));
    case Type::network:
      return whole(fmt::format("({}(/(3[0-2]|[12]?[0-9]))?|{}(/(12[0-8]|1[01][0-9]|[1-9]?[0-9]))?)",
                               ipv4(), ipv6));
    case Type::host_name:
      return whole(fmt::format("({}|{})", host_name(), ipv6));
    case Type::server_name:
      return whole(fmt::format("(\\*\\.)?{}", host_name()));
    case Type::identity:
      return whole(
          fmt::format("(cn:.+|dns:(\\*\\.)?{}|uri:[A-Za-z][A-Za-z0-9+.-]*:.*)", host_name()));
    default:
      return {};
  }
}

std::string pattern_of_positive_duration() {
  return whole(positive_duration);
}

std::string pattern_of_on() {
  return whole("([Oo][Nn]|[Yy][Ee][Ss]|[Tt][Rr][Uu][Ee])");
}

std::string pattern_of_off() {
  return whole("([Oo][Ff][Ff]|[Nn][Oo]|[Ff][Aa][Ll][Ss][Ee])");
}

}  // namespace weir::config
