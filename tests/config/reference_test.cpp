#include "config/reference.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <iterator>

#include "config/schema.hpp"

namespace weir::config {
namespace {

using testing::HasSubstr;

TEST(Reference, IsWhatStandsInTheRepository) {
  std::ifstream file(WEIR_ROOT "/config/reference.md");
  const std::string written{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  // Not EXPECT_EQ: it would print both pages.
  EXPECT_TRUE(written == reference_page())
      << "config/reference.md is not what the table of keys says; to make it current:\n"
      << "  weir schema --reference > config/reference.md";
}

TEST(Reference, HasARowForEveryKey) {
  const std::string page = reference_page();
  std::size_t rows = 0;
  for (std::size_t at = page.find("\n| `"); at != std::string::npos;
       at = page.find("\n| `", at + 1))
    ++rows;
  // The names and items of maps and lists share the section of what they belong to.
  const auto members = std::ranges::count_if(all_keys(), [](const Key& key) {
    return key.path.ends_with(".*") || key.path.ends_with("[]");
  });
  EXPECT_EQ(rows, all_keys().size() - static_cast<std::size_t>(members));
}

TEST(Reference, SaysTypeDefaultAndMeaning) {
  const std::string page = reference_page();
  EXPECT_THAT(page, HasSubstr("| `version` | a whole number, always 1 | *required* |"));
  EXPECT_THAT(page, HasSubstr("| `idle` | a duration such as `10s` | `5m` | No byte in either "
                              "direction. `0` or `off`: no limit. |"));
  EXPECT_THAT(page, HasSubstr("| `access_log` | a map: [access_log](#access_log), or `off` |"));
}

TEST(Reference, LinksToSectionsThatExist) {
  const std::string page = reference_page();
  EXPECT_THAT(page, HasSubstr("[listeners.NAME.routes\\[].match](#listenersnameroutesmatch)"));
  EXPECT_THAT(page, HasSubstr("\n## listeners.NAME.routes\\[].match\n"));
}

}  // namespace
}  // namespace weir::config
