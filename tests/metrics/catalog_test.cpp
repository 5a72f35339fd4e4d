#include "metrics/catalog.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <vector>

namespace weir::metrics {
namespace {

std::vector<std::string> readme_rows(const std::string& first_cell_begins) {
  const auto page = std::filesystem::path(__FILE__).parent_path() / "../../metrics/README.md";
  std::ifstream file(page);
  std::vector<std::string> rows;
  for (std::string line; std::getline(file, line);) {
    if (line.starts_with(first_cell_begins)) rows.push_back(line);
  }
  return rows;
}

std::string readme_row(const FamilyInfo& family) {
  std::string labels;
  for (std::size_t i = 0; i < family.label_count(); ++i) {
    labels += (i == 0 ? "" : ", ") + std::string(family.labels[i]);
  }
  return "| `" + std::string(family.name) + "` | " + std::string(word(family.kind)) + " | " +
         labels + " | " + std::string(family.help) + " |";
}

bool is_snake_case(std::string_view name) {
  return !name.empty() && std::ranges::all_of(name, [](char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_';
  });
}

TEST(Catalog, IsInTheOrderOfItsFamilies) {
  for (std::size_t i = 0; i < family_count; ++i) {
    EXPECT_EQ(static_cast<std::size_t>(catalog()[i].family), i) << catalog()[i].name;
    EXPECT_EQ(&info(catalog()[i].family), &catalog()[i]);
  }
}

TEST(Catalog, NamesEachFamilyOnce) {
  std::set<std::string_view> names;
  for (const FamilyInfo& family : catalog()) {
    EXPECT_TRUE(names.insert(family.name).second) << family.name;
    EXPECT_TRUE(is_snake_case(family.name)) << family.name;
    EXPECT_TRUE(family.name.starts_with("weir_") || family.name.starts_with("process_"))
        << family.name;
  }
}

TEST(Catalog, EndsCountersAndOnlyCountersWithTotal) {
  for (const FamilyInfo& family : catalog()) {
    EXPECT_EQ(family.name.ends_with("_total"), family.kind == Kind::counter) << family.name;
  }
}

TEST(Catalog, UsesBaseUnits) {
  for (const FamilyInfo& family : catalog()) {
    for (const char* unit : {"_ms", "milliseconds", "microseconds", "nanoseconds", "minutes", "_kb",
                             "kilobytes", "megabytes", "percent"}) {
      EXPECT_EQ(family.name.find(unit), std::string_view::npos) << family.name;
    }
  }
}

TEST(Catalog, GivesHistogramsTheBucketsOfTheirUnit) {
  for (const FamilyInfo& family : catalog()) {
    if (family.kind != Kind::histogram) continue;
    const bool bytes = family.layout == Buckets::bytes;
    EXPECT_TRUE(family.name.ends_with(bytes ? "_bytes" : "_seconds")) << family.name;
    EXPECT_EQ(family.name.ends_with("_rtt_seconds"), family.layout == Buckets::rtt) << family.name;
  }
}

TEST(Catalog, ExplainsEachFamilyInOneSentence) {
  for (const FamilyInfo& family : catalog()) {
    EXPECT_TRUE(family.help.ends_with(".")) << family.name;
    // The text format would need these escaped, a table cell too.
    EXPECT_EQ(family.help.find_first_of("\\\n|"), std::string_view::npos) << family.name;
  }
}

TEST(Catalog, KeepsReservedNamesOutOfItsLabels) {
  for (const FamilyInfo& family : catalog()) {
    std::set<std::string_view> seen;
    for (std::size_t i = 0; i < family.label_count(); ++i) {
      const std::string_view label = family.labels[i];
      EXPECT_TRUE(is_snake_case(label)) << family.name;
      EXPECT_TRUE(seen.insert(label).second) << family.name;
      EXPECT_FALSE(label == "le" || label == "quantile" || label.starts_with("__")) << family.name;
    }
    const auto rest = std::ranges::subrange(
        family.labels.begin() + static_cast<std::ptrdiff_t>(family.label_count()),
        family.labels.end());
    EXPECT_TRUE(std::ranges::all_of(rest, &std::string_view::empty)) << family.name;
  }
}

TEST(Catalog, IsWhatTheReadmeSays) {
  std::vector<std::string> expected;
  for (const FamilyInfo& family : catalog()) expected.push_back(readme_row(family));
  std::vector<std::string> rows = readme_rows("| `weir_");
  std::ranges::copy(readme_rows("| `process_"), std::back_inserter(rows));
  EXPECT_EQ(rows, expected);
}

// The closed list is the proxy's; this folder may not include it, so it stands here once more.
TEST(Readme, HasARowForEachOutcomeReason) {
  for (const char* reason : {"client_closed",
                             "client_reset",
                             "client_timeout",
                             "client_tls_failed",
                             "client_denied",
                             "server_closed",
                             "server_reset",
                             "upstream_refused",
                             "upstream_unreachable",
                             "upstream_timeout",
                             "upstream_tls_failed",
                             "no_route",
                             "no_healthy_endpoint",
                             "pool_full",
                             "acquire_timeout",
                             "idle_timeout",
                             "half_close_timeout",
                             "session_timeout",
                             "drained",
                             "killed",
                             "descriptors",
                             "internal"}) {
    EXPECT_EQ(readme_rows("| `" + std::string(reason) + "` | ").size(), 1U) << reason;
  }
}

}  // namespace
}  // namespace weir::metrics
