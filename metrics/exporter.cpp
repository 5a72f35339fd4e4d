#include "metrics/exporter.hpp"

#include <prometheus/collectable.h>
#include <prometheus/text_serializer.h>

#include <cstdio>
#include <cstdlib>
#include <limits>
#include <vector>

namespace weir::metrics {
namespace {

// What the proxy passes is our own doing: a wrong number of labels is a bug to be seen at once.
void must(bool condition, const FamilyInfo& family, const char* lesson) {
  if (condition) return;
  std::fprintf(stderr, "metrics: %.*s: %s\n", static_cast<int>(family.name.size()),
               family.name.data(), lesson);
  std::abort();
}

prometheus::MetricType type_of(Kind kind) {
  switch (kind) {
    case Kind::counter:
      return prometheus::MetricType::Counter;
    case Kind::gauge:
      return prometheus::MetricType::Gauge;
    case Kind::histogram:
      break;
  }
  return prometheus::MetricType::Histogram;
}

}  // namespace

class Scrape::Families final : public prometheus::Collectable {
 public:
  Families() {
    for (const FamilyInfo& family : catalog()) {
      prometheus::MetricFamily& made = families_.emplace_back();
      made.name = family.name;
      made.help = family.help;
      made.type = type_of(family.kind);
    }
  }

  prometheus::ClientMetric& add(Family family, Kind kind, Labels labels) {
    const FamilyInfo& described = info(family);
    must(described.kind == kind, described, "a sample of another type");
    must(described.label_count() == labels.size(), described, "the labels do not fit");
    prometheus::ClientMetric& metric =
        families_[static_cast<std::size_t>(family)].metric.emplace_back();
    std::size_t position = 0;
    for (const std::string_view value : labels) {
      metric.label.push_back({std::string(described.labels[position++]), std::string(value)});
    }
    return metric;
  }

  std::vector<prometheus::MetricFamily> Collect() const override {
    std::vector<prometheus::MetricFamily> filled;
    for (const prometheus::MetricFamily& family : families_) {
      if (!family.metric.empty()) filled.push_back(family);
    }
    return filled;
  }

 private:
  std::vector<prometheus::MetricFamily> families_;
};

Scrape::Scrape() : families_(std::make_unique<Families>()) {}
Scrape::~Scrape() = default;

void Scrape::counter(Family family, Labels labels, std::uint64_t value) {
  counter(family, labels, static_cast<double>(value));
}

void Scrape::counter(Family family, Labels labels, double value) {
  families_->add(family, Kind::counter, labels).counter.value = value;
}

void Scrape::gauge(Family family, Labels labels, double value) {
  families_->add(family, Kind::gauge, labels).gauge.value = value;
}

void Scrape::histogram(Family family, Labels labels, const HistogramSum& sum) {
  auto& made = families_->add(family, Kind::histogram, labels).histogram;
  const std::size_t bound_count = bounds(sum.layout()).size();
  std::uint64_t below = 0;
  for (std::size_t i = 0; i < bound_count; ++i) {
    below += sum.count_in(i);
    made.bucket.push_back({below, sum.upper_bound(i)});
  }
  made.sample_count = below + sum.count_in(bound_count);
  made.sample_sum = sum.sum();
  made.bucket.push_back({made.sample_count, std::numeric_limits<double>::infinity()});
}

std::string render(const std::function<void(Scrape&)>& fill) {
  Scrape scrape;
  fill(scrape);
  return prometheus::TextSerializer().Serialize(scrape.families_->Collect());
}

}  // namespace weir::metrics
