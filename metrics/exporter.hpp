#pragma once
// Turns figures into the Prometheus text format. A Scrape collects the samples of one moment; the
// rendering is prometheus-cpp's, behind a Collectable. Single-threaded, on whoever asks.

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

  using Labels = std::initializer_list<std::string_view>;  // in the catalog's order
  void counter(Family family, Labels labels, std::uint64_t value);
  void counter(Family family, Labels labels, double value);
  void gauge(Family family, Labels labels, double value);
  void histogram(Family family, Labels labels, const HistogramSum& sum);

 private:
  friend std::string render(const std::function<void(Scrape&)>& fill);
  class Families;
  std::unique_ptr<Families> families_;
};

// Text format 0.0.4; families in the catalog's order, those without a sample left out.
std::string render(const std::function<void(Scrape&)>& fill);

}  // namespace weir::metrics
