#include "proxy/name_check.hpp"

#include <fmt/format.h>

#include <condition_variable>
#include <exception>
#include <mutex>
#include <optional>
#include <string>

#include "pool/discovery.hpp"

namespace weir::proxy {
namespace {

// Each name is looked up at the same time: more of them would be an attack on the resolver.
constexpr std::size_t most_names = 1000;

// The first answer to each query.
class Answers final : public pool::Discovery::Audience {
 public:
  explicit Answers(std::size_t count) : faults_(count), missing_(count) {}

  void found(std::size_t query, std::vector<pool::Found>) override { answer(query, {}); }
  void not_found(std::size_t query, std::string why) override { answer(query, std::move(why)); }

  void wait(std::chrono::milliseconds most) {
    std::unique_lock lock(mutex_);
    all_are_there_.wait_for(lock, most, [this] { return missing_ == 0; });
  }
  // Empty: it was found. Only when the other thread has ended.
  const std::optional<std::string>& fault(std::size_t query) const { return faults_[query]; }

 private:
  void answer(std::size_t query, std::string fault) {
    const std::scoped_lock lock(mutex_);
    if (faults_[query]) return;
    faults_[query] = std::move(fault);
    if (--missing_ == 0) all_are_there_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable all_are_there_;
  std::vector<std::optional<std::string>> faults_;
  std::size_t missing_;
};

config::Problem warning(const config::Place& place, std::string message) {
  config::Problem problem;
  problem.severity = config::Problem::Severity::warning;
  problem.place = place;
  problem.message = std::move(message);
  return problem;
}

}  // namespace

std::vector<config::Problem> names_not_found(const config::Config& config,
                                             std::chrono::milliseconds most) {
  std::vector<pool::Discovery::Query> queries;
  std::vector<config::Place> places;
  for (const config::Upstream& upstream : config.upstreams) {
    for (const config::Endpoint& endpoint : upstream.endpoints) {
      if (endpoint.kind == config::Endpoint::Kind::address) continue;
      if (queries.size() == most_names) break;
      const bool is_service = endpoint.kind == config::Endpoint::Kind::service;
      queries.push_back({endpoint.address.host, is_service, endpoint.address.port, upstream.dns});
      places.push_back(endpoint.place);
    }
  }
  std::vector<config::Problem> problems;
  if (queries.empty()) return problems;
  Answers answers(queries.size());
  try {
    pool::Discovery discovery(queries, answers);
    answers.wait(most);
  } catch (const std::exception& error) {
    problems.push_back(
        warning(places.front(), fmt::format("names cannot be looked up: {}", error.what())));
    return problems;
  }
  for (std::size_t i = 0; i < queries.size(); ++i) {
    const std::string why = answers.fault(i).value_or(
        fmt::format("{}: no answer within {} ms", queries[i].name, most.count()));
    if (!why.empty()) problems.push_back(warning(places[i], "the name is not found here: " + why));
  }
  return problems;
}

}  // namespace weir::proxy
