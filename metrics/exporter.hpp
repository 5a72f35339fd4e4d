#pragma once
// Turns figures into the Prometheus text format. A Scrape collects the samples of one moment; the
// rendering is prometheus-cpp's, behind a Collectable. It keeps nothing between two scrapes, and it
// is no registry. Single-threaded, on whoever asks. A sample that does not fit the catalog (type,
// number of labels, buckets) aborts: it is a bug of the caller, in every build.

#include <cstdint>
#include <functional>
#include <initializer_list>
#include <memory>
#include <string>
#include <string_view>

#include "metrics/catalog.hpp"
#include "metrics/histogram.hpp"

namespace weir::metrics {

class Scrape {
 public:
  Scrape();
  ~Scrape();
  Scrape(const Scrape&) = delete;
  Scrape& operator=(const Scrape&) = delete;

  // The values in the catalog's order. A byte that is not UTF-8 becomes U+FFFD: one bad name, say
  // in a certificate, must not cost the whole scrape.
  using Labels = std::initializer_list<std::string_view>;
  // Exact up to 2^53.
  void counter(Family family, Labels labels, std::uint64_t value);
  void counter(Family family, Labels labels, double value);
  void gauge(Family family, Labels labels, double value);
  void histogram(Family family, Labels labels, const HistogramSum& sum);

  // Text format 0.0.4; families in the catalog's order, those without a sample left out.
  std::string text() const;

 private:
  class Families;
  std::unique_ptr<Families> families_;
};

// The text of one scrape that `fill` fills.
std::string render(const std::function<void(Scrape&)>& fill);

}  // namespace weir::metrics
