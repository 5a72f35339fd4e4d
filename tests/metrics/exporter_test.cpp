#include "metrics/exporter.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "metrics/process.hpp"

namespace weir::metrics {
namespace {

using namespace std::chrono_literals;

TEST(Histogram, CountsAValueOnABoundInThatBucket) {
  Histogram histogram(Buckets::durations);
  histogram.observe(100us);
  histogram.observe(100us + 1ns);
  histogram.observe(200s);
  HistogramSum sum(Buckets::durations);
  sum.add(histogram);
  EXPECT_EQ(sum.count_in(0), 1U);
  EXPECT_EQ(sum.count_in(1), 1U);
  EXPECT_EQ(sum.count_in(bounds(Buckets::durations).size()), 1U);
  EXPECT_EQ(sum.count(), 3U);
}

TEST(Histogram, AddsTheWorkers) {
  Histogram one(Buckets::bytes);
  Histogram two(Buckets::bytes);
  one.observe_bytes(64);
  two.observe_bytes(1000);
  HistogramSum sum(Buckets::bytes);
  sum.add(one);
  sum.add(two);
  EXPECT_EQ(sum.count(), 2U);
  EXPECT_DOUBLE_EQ(sum.sum(), 1064);
}

TEST(Histogram, HasAscendingBoundsThatSpanWhatIsDocumented) {
  for (const Buckets layout : {Buckets::durations, Buckets::bytes, Buckets::rtt}) {
    EXPECT_TRUE(std::ranges::is_sorted(bounds(layout)));
  }
  EXPECT_EQ(bounds(Buckets::durations).front(), 100'000U);
  EXPECT_EQ(bounds(Buckets::durations).back(), 100'000'000'000U);
  EXPECT_EQ(bounds(Buckets::bytes).back(), 1ULL << 30);
}

TEST(Exporter, RendersTheTextFormat) {
  const std::string text = render([](Scrape& scrape) {
    scrape.gauge(Family::workers, {}, 2);
    scrape.counter(Family::connections_accepted_total, {"web"}, std::uint64_t{9007199254740992});
  });
  EXPECT_THAT(text, testing::HasSubstr("# TYPE weir_workers gauge\nweir_workers 2\n"));
  EXPECT_THAT(text, testing::HasSubstr(
                        "weir_connections_accepted_total{listener=\"web\"} 9007199254740992\n"));
}

TEST(Exporter, RendersHistogramsCumulatively) {
  Histogram histogram(Buckets::durations);
  histogram.observe(200us);
  histogram.observe(200s);
  HistogramSum sum(Buckets::durations);
  sum.add(histogram);
  const std::string text = render(
      [&](Scrape& scrape) { scrape.histogram(Family::tls_handshake_seconds, {"web"}, sum); });
  EXPECT_THAT(text, testing::HasSubstr("weir_tls_handshake_seconds_count{listener=\"web\"} 2\n"));
  EXPECT_THAT(text, testing::HasSubstr("le=\"0.0001\"} 0\n"));
  EXPECT_THAT(text, testing::HasSubstr("le=\"0.00025\"} 1\n"));
  EXPECT_THAT(text, testing::HasSubstr("le=\"+Inf\"} 2\n"));
}

TEST(Exporter, EscapesLabelValues) {
  const std::string text = render([](Scrape& scrape) {
    scrape.counter(Family::connections_accepted_total, {"a\"b\\c\nd"}, std::uint64_t{1});
  });
  EXPECT_THAT(text, testing::HasSubstr(R"({listener="a\"b\\c\nd"})"));
}

TEST(Exporter, RefusesLabelsThatDoNotFit) {
  EXPECT_DEATH(render([](Scrape& scrape) { scrape.gauge(Family::workers, {"x"}, 1); }), "labels");
  EXPECT_DEATH(render([](Scrape& scrape) { scrape.gauge(Family::sessions_total, {}, 1); }), "type");
}

TEST(Catalog, IsInTheOrderOfItsFamiliesAndNamesThemWell) {
  for (std::size_t i = 0; i < family_count; ++i) {
    const FamilyInfo& family = catalog()[i];
    EXPECT_EQ(static_cast<std::size_t>(family.family), i) << family.name;
    EXPECT_EQ(family.name.ends_with("_total"), family.kind == Kind::counter) << family.name;
    EXPECT_TRUE(family.help.ends_with(".")) << family.name;
  }
}

TEST(Catalog, IsWhatTheReadmeSays) {
  const auto page = std::filesystem::path(__FILE__).parent_path() / "../../metrics/README.md";
  std::ifstream file(page);
  std::stringstream text;
  text << file.rdbuf();
  for (const FamilyInfo& family : catalog()) {
    std::string labels;
    for (std::size_t i = 0; i < family.label_count(); ++i) {
      labels += (i == 0 ? "" : ", ") + std::string(family.labels[i]);
    }
    const std::string row = "| `" + std::string(family.name) + "` | " +
                            std::string(word(family.kind)) + " | " + labels + " | " +
                            std::string(family.help) + " |";
    EXPECT_THAT(text.str(), testing::HasSubstr(row));
  }
}

TEST(Process, ShowsTheStandardFigures) {
  const std::string text = render([](Scrape& scrape) { add_process_figures(scrape); });
  for (const char* name : {"process_cpu_seconds_total", "process_open_fds", "process_max_fds",
                           "process_resident_memory_bytes", "process_start_time_seconds"}) {
    EXPECT_THAT(text, testing::HasSubstr(std::string("\n") + name + " ")) << name;
  }
}

}  // namespace
}  // namespace weir::metrics
