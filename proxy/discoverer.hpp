#pragma once
// Follows the names of the configuration: asks discovery, and makes what it finds the endpoints of
// the upstreams. An answer that changes nothing is only counted; one that fails leaves everything
// as it was. A reload that leaves a name leaves what was found of it. Lives on the main thread;
// figures() may be asked from any.

#include <atomic>
#include <boost/asio/io_context.hpp>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <vector>

#include "pool/discovery.hpp"
#include "pool/upstream.hpp"
#include "proxy/growing_table.hpp"

namespace weir::proxy {

class Discoverer final : private pool::Discovery::Audience {
 public:
  // Told who sits where: before sessions can get there, and after.
  struct Host {
    std::function<void(pool::Upstream&, const std::vector<pool::EndpointPointer>&)> before;
    std::function<void(pool::Upstream&, const std::vector<pool::EndpointPointer>&)> after;
  };

  Discoverer(boost::asio::io_context& io, Host host);
  ~Discoverer();

  // Those are the upstreams from now on. One that has `changed` gets its endpoints anew, of those
  // that are known.
  struct Followed {
    pool::Upstream* upstream;
    const config::Upstream* config;
    bool changed;
  };
  void follow(const std::vector<Followed>& upstreams);
  // Begins to look the names up, if there are any; those of a later follow() at once. Throws
  // std::runtime_error.
  void start();
  void stop();

  struct Figures {
    bool has_names = false;
    std::uint64_t good = 0;
    std::uint64_t failed = 0;
    double age_seconds = 0;  // since all of its names were answered; since the start if never
  };
  Figures figures(std::size_t upstream) const;

 private:
  struct Counts {
    std::atomic<bool> has_names{false};
    std::atomic<std::uint64_t> good{0};
    std::atomic<std::uint64_t> failed{0};
    std::atomic<pool::TimePoint> answered_at{};
  };
  struct Known {
    pool::Upstream* upstream;
    pool::Roster roster;
    bool short_of_seats = false;
  };
  struct Query {
    std::size_t upstream;  // by number
    std::size_t number;    // of the upstream's
    pool::Discovery::Query asks;
    std::string fault{};  // the last answer's; empty = it was good
    bool asked = false;   // there was an answer, good or not

    auto what() const { return std::tie(upstream, number, asks); }
  };

  void found(std::size_t query, std::vector<pool::Found> endpoints) override;
  void not_found(std::size_t query, std::string why) override;
  void answered(Query& query, std::vector<pool::Found> endpoints);
  void failed(Query& query, std::string why);
  bool all_are_asked(std::size_t upstream) const;
  void ask();
  void add(const Followed& followed, std::vector<Query>& queries);
  void expect_endpoints(std::size_t upstream);
  void seat(std::size_t index, bool changed);
  static std::vector<std::string> present_names(const pool::Upstream& upstream);
  static void log_changes(const pool::Upstream& upstream, const std::vector<std::string>& before);

  boost::asio::io_context& io_;
  Host host_;
  std::map<std::size_t, Known> known_;  // by upstream
  GrowingTable<Counts> counts_;         // by upstream
  std::vector<Query> queries_;
  bool started_ = false;
  // The answers posted to the main thread may outlive the discovery that gave them.
  std::shared_ptr<bool> alive_;
  std::unique_ptr<pool::Discovery> discovery_;
};

}  // namespace weir::proxy
