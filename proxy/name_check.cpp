#include "proxy/name_check.hpp"

#include <fmt/format.h>

#include <condition_variable>
#include <exception>
#include <mutex>
#include <string>
#include <utility>

namespace weir::proxy {
namespace {

// Each name is looked up at the same time: more of them would be an attack on the resolver.
constexpr std::size_t most_names = 1000;

// The first answer to each query.
class Answers final : public pool::Discovery::Audience {
 public:
  explicit Answers(std::vector<NameAnswer>& answers)
      : answers_(answers), answered_(answers.size()), missing_(answers.size()) {}

  void found(std::size_t query, std::vector<pool::Found> endpoints) override {
    answer(query, std::move(endpoints), {});
  }
  void not_found(std::size_t query, std::string why) override { answer(query, {}, std::move(why)); }

  void wait(std::chrono::milliseconds most) {
    std::unique_lock lock(mutex_);
    all_are_there_.wait_for(lock, most, [this] { return missing_ == 0; });
  }

 private:
  void answer(std::size_t query, std::vector<pool::Found> endpoints, std::string fault) {
    const std::scoped_lock lock(mutex_);
    if (answered_[query]) return;
    answered_[query] = true;
    answers_[query].found = std::move(endpoints);
    answers_[query].fault = std::move(fault);
    if (--missing_ == 0) all_are_there_.notify_all();
  }

  std::mutex mutex_;
  std::condition_variable all_are_there_;
  std::vector<NameAnswer>& answers_;  // the discovery thread's until it has ended
  std::vector<bool> answered_;
  std::size_t missing_;
};

}  // namespace

std::vector<NameAnswer> look_up_names(const config::Config& config,
                                      std::chrono::milliseconds most) {
  std::vector<pool::Discovery::Query> queries;
  std::vector<NameAnswer> names;
  for (const config::Upstream& upstream : config.upstreams) {
    for (const config::Endpoint& endpoint : upstream.endpoints) {
      if (endpoint.kind == config::Endpoint::Kind::address) continue;
      if (queries.size() == most_names) break;
      const bool is_service = endpoint.kind == config::Endpoint::Kind::service;
      queries.push_back({endpoint.address.host, is_service, endpoint.address.port, upstream.dns});
      names.push_back(
          {&endpoint,
           {},
           fmt::format("{}: no answer within {} ms", queries.back().name, most.count())});
    }
  }
  if (queries.empty()) return names;
  Answers answers(names);
  try {
    pool::Discovery discovery(queries, answers);
    answers.wait(most);
  } catch (const std::exception& error) {
    for (NameAnswer& name : names) {
      name.fault = fmt::format("names cannot be looked up: {}", error.what());
    }
  }
  return names;
}

std::vector<config::Problem> names_not_found(const std::vector<NameAnswer>& answers) {
  std::vector<config::Problem> problems;
  for (const NameAnswer& answer : answers) {
    if (answer.fault.empty()) continue;
    config::Problem& problem = problems.emplace_back();
    problem.severity = config::Problem::Severity::warning;
    problem.place = answer.endpoint->place;
    problem.message = "the name is not found here: " + answer.fault;
  }
  return problems;
}

}  // namespace weir::proxy
