#include "pool/connection.hpp"

#include <array>

namespace weir::pool {
namespace {

constexpr std::array<std::string_view, failure_count> failure_words{
    "none",           "refused",     "unreachable",         "timeout",
    "tls_failed",     "descriptors", "no_healthy_endpoint", "pool_full",
    "acquire_timeout"};

constexpr std::array<std::string_view, closed_count> closed_words{
    "consumed",    "idle_timeout",     "fresh_age",    "lifetime",  "uses",
    "peer_closed", "unexpected_bytes", "reset_failed", "unhealthy", "removed",
    "surplus",     "descriptors",      "shutdown"};

constexpr std::array<std::string_view, source_count> source_words{"idle", "other_worker", "opened"};

}  // namespace

std::string_view word(Failure failure) {
  return failure_words[static_cast<std::size_t>(failure)];
}
std::string_view word(Closed closed) {
  return closed_words[static_cast<std::size_t>(closed)];
}
std::string_view word(Source source) {
  return source_words[static_cast<std::size_t>(source)];
}

}  // namespace weir::pool
