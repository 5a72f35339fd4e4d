#include "proxy/growing_table.hpp"

#include <gtest/gtest.h>

#include <vector>

namespace weir::proxy {
namespace {

TEST(GrowingTable, KeepsItsElementsWhereTheyAre) {
  GrowingTable<int> table(1);
  table[0] = 7;
  const int* const first = &table[0];
  std::vector<int*> all;
  for (std::size_t i = 1; i < 1000; ++i) {
    table.grow_to(i + 1);
    EXPECT_EQ(table.size(), i + 1);
    EXPECT_EQ(table[i], 0);
    table[i] = static_cast<int>(i);
    all.push_back(&table[i]);
  }
  EXPECT_EQ(&table[0], first);
  EXPECT_EQ(table[0], 7);
  for (std::size_t i = 1; i < 1000; ++i) {
    EXPECT_EQ(all[i - 1], &table[i]);
    EXPECT_EQ(table[i], static_cast<int>(i));
  }
}

TEST(GrowingTable, DoesNotShrink) {
  GrowingTable<int> table(20);
  table.grow_to(3);
  EXPECT_EQ(table.size(), 20U);
}

}  // namespace
}  // namespace weir::proxy
