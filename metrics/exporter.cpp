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

// The length of the character at the front of `text`, or 0 if it is not UTF-8. The ranges are those
// of the Unicode standard, table 3-7: no overlong forms, no surrogates, nothing above U+10FFFF.
std::size_t character_length(std::string_view text) {
  const auto byte = [&](std::size_t i) { return static_cast<unsigned char>(text[i]); };
  const unsigned char first = byte(0);
  if (first < 0x80) return 1;
  if (first < 0xC2 || first > 0xF4) return 0;
  const std::size_t length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
  if (text.size() < length) return 0;
  const unsigned char lowest = first == 0xE0 ? 0xA0 : first == 0xF0 ? 0x90 : 0x80;
  const unsigned char highest = first == 0xED ? 0x9F : first == 0xF4 ? 0x8F : 0xBF;
  if (byte(1) < lowest || byte(1) > highest) return 0;
  for (std::size_t i = 2; i < length; ++i) {
    if (byte(i) < 0x80 || byte(i) > 0xBF) return 0;
  }
  return length;
}

// Prometheus refuses a whole scrape for one byte that is not UTF-8.
std::string valid_utf8(std::string_view text) {
  std::string valid;
  valid.reserve(text.size());
  while (!text.empty()) {
    const std::size_t length = character_length(text);
    valid += length == 0 ? std::string_view("\xEF\xBF\xBD") : text.substr(0, length);
    text.remove_prefix(length == 0 ? 1 : length);
  }
  return valid;
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
      metric.label.push_back({std::string(described.labels[position++]), valid_utf8(value)});
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
  must(sum.layout() == info(family).layout, info(family), "other buckets than the catalog says");
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

std::string Scrape::text() const {
  return prometheus::TextSerializer().Serialize(families_->Collect());
}

std::string render(const std::function<void(Scrape&)>& fill) {
  Scrape scrape;
  fill(scrape);
  return scrape.text();
}

}  // namespace weir::metrics
