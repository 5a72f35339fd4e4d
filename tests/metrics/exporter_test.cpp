#include "metrics/exporter.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <array>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

namespace weir::metrics {
namespace {

using namespace std::chrono_literals;

// Adds one sample with labels that fit.
void add_a_sample_of(const FamilyInfo& family, Scrape& scrape) {
  const auto add = [&](Scrape::Labels labels) {
    switch (family.kind) {
      case Kind::counter:
        return scrape.counter(family.family, labels, std::uint64_t{1});
      case Kind::gauge:
        return scrape.gauge(family.family, labels, 0.5);
      case Kind::histogram:
        return scrape.histogram(family.family, labels, HistogramSum(family.layout));
    }
  };
  switch (family.label_count()) {
    case 0:
      return add({});
    case 1:
      return add({"a"});
    case 2:
      return add({"a", "b"});
    case 3:
      return add({"a", "b", "c"});
    case 4:
      return add({"a", "b", "c", "d"});
    default:
      return add({"a", "b", "c", "d", "e"});
  }
}

std::string listener_label(std::string_view value) {
  const std::string text =
      render([&](Scrape& scrape) { scrape.gauge(Family::connections_open, {value}, 1); });
  const std::size_t open = text.find('{');
  return text.substr(open, text.rfind('}') + 1 - open);
}

TEST(Exporter, RendersTheTextFormat) {
  Scrape scrape;
  scrape.counter(Family::connections_accepted_total, {"web"}, std::uint64_t{7});
  scrape.gauge(Family::workers, {}, 2);
  scrape.counter(Family::connections_accepted_total, {"mail"}, std::uint64_t{0});
  EXPECT_EQ(scrape.text(),
            "# HELP weir_workers Worker threads.\n"
            "# TYPE weir_workers gauge\n"
            "weir_workers 2\n"
            "# HELP weir_connections_accepted_total Client connections that became sessions.\n"
            "# TYPE weir_connections_accepted_total counter\n"
            "weir_connections_accepted_total{listener=\"web\"} 7\n"
            "weir_connections_accepted_total{listener=\"mail\"} 0\n");
}

TEST(Exporter, RendersHistogramsCumulatively) {
  Histogram histogram(Buckets::bytes);
  for (const std::uint64_t bytes : {10ULL, 64ULL, 65ULL, 5'000'000'000ULL}) {
    histogram.observe_bytes(bytes);
  }
  HistogramSum sum(Buckets::bytes);
  sum.add(histogram);
  Scrape scrape;
  scrape.histogram(Family::session_sent_bytes, {"web"}, sum);
  EXPECT_EQ(scrape.text(),
            "# HELP weir_session_sent_bytes Bytes that were sent to a client in its session.\n"
            "# TYPE weir_session_sent_bytes histogram\n"
            "weir_session_sent_bytes_count{listener=\"web\"} 4\n"
            "weir_session_sent_bytes_sum{listener=\"web\"} 5000000139\n"
            "weir_session_sent_bytes_bucket{listener=\"web\",le=\"64\"} 2\n"
            "weir_session_sent_bytes_bucket{listener=\"web\",le=\"512\"} 3\n"
            "weir_session_sent_bytes_bucket{listener=\"web\",le=\"4096\"} 3\n"
            "weir_session_sent_bytes_bucket{listener=\"web\",le=\"32768\"} 3\n"
            "weir_session_sent_bytes_bucket{listener=\"web\",le=\"262144\"} 3\n"
            "weir_session_sent_bytes_bucket{listener=\"web\",le=\"2097152\"} 3\n"
            "weir_session_sent_bytes_bucket{listener=\"web\",le=\"16777216\"} 3\n"
            "weir_session_sent_bytes_bucket{listener=\"web\",le=\"134217728\"} 3\n"
            "weir_session_sent_bytes_bucket{listener=\"web\",le=\"1073741824\"} 3\n"
            "weir_session_sent_bytes_bucket{listener=\"web\",le=\"+Inf\"} 4\n");
}

TEST(Exporter, WritesTheBoundsOfTimesShortly) {
  const std::string text = render([](Scrape& scrape) {
    scrape.histogram(Family::tls_handshake_seconds, {"web"}, HistogramSum(Buckets::durations));
    scrape.histogram(Family::client_rtt_seconds, {"web"}, HistogramSum(Buckets::rtt));
  });
  for (const char* bound : {"5e-05", "0.0001", "0.00025", "0.0005", "0.001", "0.0025", "0.005",
                            "0.01",  "0.025",  "0.05",    "0.1",    "0.25",  "0.5",    "1",
                            "2.5",   "5",      "10",      "25",     "50",    "100"}) {
    EXPECT_THAT(text, testing::HasSubstr(std::string("le=\"") + bound + "\"} 0\n"));
  }
}

TEST(Exporter, KeepsIntegersExactUpTo2To53) {
  const std::string text = render([](Scrape& scrape) {
    for (const std::uint64_t n : {(1ULL << 53) - 1, 1ULL << 53}) {
      scrape.counter(Family::client_sent_bytes_total, {std::to_string(n)}, n);
    }
  });
  EXPECT_THAT(text, testing::HasSubstr("{listener=\"9007199254740991\"} 9007199254740991\n"));
  EXPECT_THAT(text, testing::HasSubstr("{listener=\"9007199254740992\"} 9007199254740992\n"));
}

TEST(Exporter, WritesInfinityAndFractions) {
  Scrape scrape;
  scrape.gauge(Family::process_virtual_memory_max_bytes, {},
               std::numeric_limits<double>::infinity());
  scrape.counter(Family::process_cpu_seconds_total, {}, 0.25);
  EXPECT_THAT(scrape.text(), testing::HasSubstr("\nprocess_virtual_memory_max_bytes +Inf\n"));
  EXPECT_THAT(scrape.text(), testing::HasSubstr("\nprocess_cpu_seconds_total 0.25\n"));
}

TEST(Exporter, EscapesLabelValues) {
  EXPECT_EQ(listener_label("a\"b\\c\nd"), R"({listener="a\"b\\c\nd"})");
  EXPECT_EQ(listener_label(""), R"({listener=""})");
}

TEST(Exporter, KeepsLabelValuesThatAreUtf8) {
  for (const std::string text : {"caf\xC3\xA9", "\xE2\x82\xAC", "\xED\x9F\xBF", "\xEE\x80\x80",
                                 "\xF0\x90\x80\x80", "\xF4\x8F\xBF\xBF"}) {
    EXPECT_EQ(listener_label(text), "{listener=\"" + text + "\"}");
  }
}

TEST(Exporter, ReplacesBytesThatAreNotUtf8) {
  const std::string bad = "\xEF\xBF\xBD";
  EXPECT_EQ(listener_label("a\xFF"
                           "b"),
            "{listener=\"a" + bad + "b\"}");
  EXPECT_EQ(listener_label("\xC3"), "{listener=\"" + bad + "\"}");
  EXPECT_EQ(listener_label("\xC0\xAF"), "{listener=\"" + bad + bad + "\"}");
  EXPECT_EQ(listener_label("\xED\xA0\x80"), "{listener=\"" + bad + bad + bad + "\"}");
  EXPECT_EQ(listener_label("\xE0\x80\x80"), "{listener=\"" + bad + bad + bad + "\"}");
  EXPECT_EQ(listener_label("\xF4\x90\x80\x80"), "{listener=\"" + bad + bad + bad + bad + "\"}");
  EXPECT_EQ(listener_label("\xE2\x82"), "{listener=\"" + bad + bad + "\"}");
}

TEST(Exporter, ShowsFamiliesInTheCatalogsOrderWhateverTheOrderOfTheSamples) {
  Scrape forwards;
  Scrape backwards;
  for (std::size_t i = 0; i < family_count; ++i) {
    add_a_sample_of(catalog()[i], forwards);
    add_a_sample_of(catalog()[family_count - 1 - i], backwards);
  }
  const std::string text = forwards.text();
  EXPECT_EQ(text, backwards.text());
  std::size_t last = 0;
  for (const FamilyInfo& family : catalog()) {
    const std::size_t found = text.find("# TYPE " + std::string(family.name) + " ");
    ASSERT_NE(found, std::string::npos) << family.name;
    EXPECT_GE(found, last) << family.name;
    last = found;
  }
}

TEST(Exporter, RendersNothingForNoSamples) {
  EXPECT_EQ(render([](Scrape&) {}), "");
}

TEST(Exporter, RefusesSamplesThatDoNotFitTheCatalog) {
  Scrape scrape;
  EXPECT_DEATH(scrape.gauge(Family::workers, {"x"}, 1), "weir_workers: the labels do not fit");
  EXPECT_DEATH(scrape.gauge(Family::connections_open, {}, 1), "the labels do not fit");
  EXPECT_DEATH(scrape.gauge(Family::sessions_total, {}, 1), "a sample of another type");
  EXPECT_DEATH(scrape.histogram(Family::workers, {}, HistogramSum(Buckets::rtt)), "another type");
  EXPECT_DEATH(scrape.histogram(Family::client_rtt_seconds, {"a"}, HistogramSum(Buckets::bytes)),
               "other buckets");
}

TEST(Exporter, HasNothingForPromtoolToSay) {
  if (std::system("command -v promtool > /dev/null 2>&1") != 0) {
    GTEST_SKIP() << "promtool is not installed";
  }
  const std::filesystem::path page =
      std::filesystem::path(testing::TempDir()) / ("scrape." + std::to_string(::getpid()));
  std::ofstream(page) << render([](Scrape& scrape) {
    for (const FamilyInfo& family : catalog()) add_a_sample_of(family, scrape);
  });
  const std::string command = "promtool check metrics < '" + page.string() + "' 2>&1";
  FILE* promtool = ::popen(command.c_str(), "r");
  ASSERT_NE(promtool, nullptr);
  std::string said;
  std::array<char, 4096> buffer{};
  while (const std::size_t n = std::fread(buffer.data(), 1, buffer.size(), promtool)) {
    said.append(buffer.data(), n);
  }
  EXPECT_EQ(::pclose(promtool), 0);
  EXPECT_EQ(said, "");
  std::filesystem::remove(page);
}

}  // namespace
}  // namespace weir::metrics
