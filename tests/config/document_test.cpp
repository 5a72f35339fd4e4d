#include "config/document.hpp"

#include <gtest/gtest.h>

#include "tests/config/load.hpp"

namespace weir::config {
namespace {

using testing::Contains;
using testing::ElementsAre;

std::vector<Problem> document_problems(const std::string& text) {
  Sources sources;
  const Source& source = sources.add(text, file_name);
  Report report(sources);
  read_document(source, report);
  return report.take();
}

TEST(Document, KnowsThePlaceOfEveryKeyAndValue) {
  Sources sources;
  const Source& source = sources.add("a: 1\nb:\n  - x\n  - {c: \"d\"}\n", file_name);
  Report report(sources);
  const auto root = read_document(source, report);
  ASSERT_TRUE(root);
  ASSERT_EQ(root->entries.size(), 2U);
  EXPECT_EQ(root->entries[0].key_mark, (Mark{1, 1}));
  EXPECT_EQ(root->entries[0].value.mark, (Mark{1, 4}));
  const Node& list = root->entries[1].value;
  EXPECT_EQ(root->entries[1].key_mark, (Mark{2, 1}));
  ASSERT_EQ(list.items.size(), 2U);
  EXPECT_EQ(list.items[0].mark, (Mark{3, 5}));
  EXPECT_EQ(list.items[1].entries[0].key_mark, (Mark{4, 6}));
  EXPECT_EQ(list.items[1].entries[0].value.mark, (Mark{4, 9}));
  EXPECT_TRUE(list.items[1].entries[0].value.is_text);
  EXPECT_FALSE(list.items[0].is_text);
}

TEST(Document, ReportsTabsAsIndentation) {
  EXPECT_THAT(document_problems("a:\n\tb: 1\n"), ElementsAre(error_at(2, 1, "a tab is used")));
  EXPECT_THAT(document_problems("a:\n  b: 1\n  \tc: 1\n"),
              ElementsAre(error_at(3, 3, "a tab is used")));
  EXPECT_THAT(document_problems("a: {\n\tb: 1,\n\tc: 2}\n"),
              ElementsAre(error_at(2, 1, "a tab is used"), error_at(3, 1, "a tab is used")));
  EXPECT_THAT(document_problems("a:\t1\t# tab\nb: 'x\n\ty'\n"), ElementsAre());
}

TEST(Document, BlamesTheLineWhoseIndentationIsOdd) {
  // The parser stops at the last line of each.
  const std::string usual = "u:\n  v:\n    w: 1\n";
  EXPECT_THAT(document_problems(usual + "a:\n  b: 1\n  x:\n     c: 1\n    d: 1\n"),
              ElementsAre(error_at(7, 6, "is indented by 5, and line 8 below it by 4")));
  EXPECT_THAT(document_problems(usual + "a:\n  b:\n   x:\n      - c\n    d: 1\n"),
              ElementsAre(error_at(6, 4, "is indented by 3, and line 8 below it by 4")));
  EXPECT_THAT(document_problems(" a: 1\n\nb:\n  c: 1\n"),
              ElementsAre(error_at(1, 2, "is indented by 1, and line 3 below it by 0")));
  EXPECT_THAT(document_problems(usual + "a:\n  b: 1\n d: 1\n"),
              ElementsAre(error_at(6, 2, "fits no key above")));
  EXPECT_THAT(document_problems("a: 1\n---\nb: 1\n"),
              ElementsAre(error_at(2, 1, "a second document starts here")));
}

TEST(Document, ReportsDuplicateKeysWithBothPlaces) {
  EXPECT_THAT(document_problems("a: 1\nb: {c: 1, c: 2}\na: 3\na: 4\n"),
              ElementsAre(error_at(2, 11, "`c` is already written at weir.yaml:2:5"),
                          error_at(3, 1, "`a` is already written at weir.yaml:1:1"),
                          error_at(4, 1, "`a` is already written at weir.yaml:1:1")));
}

TEST(Document, RepeatsAnchoredValuesAtTheAlias) {
  Sources sources;
  const Source& source = sources.add("a: &x {k: v}\nb: *x\n", file_name);
  Report report(sources);
  const auto root = read_document(source, report);
  ASSERT_TRUE(root);
  const Node& repeated = root->entries[1].value;
  EXPECT_EQ(repeated.mark, (Mark{2, 4}));
  ASSERT_EQ(repeated.entries.size(), 1U);
  EXPECT_EQ(repeated.entries[0].value.text, "v");
  EXPECT_EQ(repeated.entries[0].value.mark, (Mark{1, 11}));
}

TEST(Document, ReportsAliasCycles) {
  EXPECT_THAT(document_problems("a: &x [1, *x]\n"),
              ElementsAre(error_at(1, 11, "inside the value it refers to")));
  EXPECT_THAT(document_problems("a: &x\n  b: {c: *x}\n"),
              ElementsAre(error_at(2, 10, "inside the value it refers to")));
}

TEST(Document, ReportsUnknownAliases) {
  EXPECT_THAT(document_problems("a: *.example.com\n"), ElementsAre(error_at(1, 4, "alias")));
}

TEST(Document, StopsAliasExplosions) {
  std::string text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n";
  for (int i = 1; i < 30; ++i) {
    const std::string before = "*a" + std::to_string(i - 1);
    text += "a" + std::to_string(i) + ": &a" + std::to_string(i) + " [" + before;
    for (int j = 0; j < 9; ++j) text += ", " + before;
    text += "]\n";
  }
  EXPECT_THAT(document_problems(text),
              ElementsAre(testing::Field(&Problem::message,
                                         testing::HasSubstr("aliases make this document too"))));
  const std::string large = "a: &a " + std::string(1 << 20, 'x') + "\nb: [";
  std::string aliases;
  for (int i = 0; i < 1000; ++i) aliases += "*a,";
  EXPECT_EQ(document_problems(large + aliases + "]\n").size(), 1U);
}

TEST(Document, ReportsMergeKeys) {
  EXPECT_THAT(document_problems("a: &x {b: 1}\nc:\n  <<: *x\n"),
              ElementsAre(error_at(3, 3, "merge keys")));
  EXPECT_THAT(document_problems("\"<<\": 1\n"), ElementsAre());
}

TEST(Document, ReportsASecondDocument) {
  EXPECT_THAT(document_problems("a: 1\n---\nb: 2\n"),
              ElementsAre(error_at(2, 1, "a second document")));
  EXPECT_THAT(document_problems("---\na: 1\n...\n"), ElementsAre());
}

TEST(Document, ReportsNumbersThatLookOctal) {
  EXPECT_THAT(
      document_problems("a: 017\nb: 0o17\nc: [00, -08]\n"),
      ElementsAre(error_at(1, 4, "`017` looks like an octal number"), error_at(2, 4, "`0o17`"),
                  error_at(3, 5, "`00`"), error_at(3, 9, "`-08`")));
  EXPECT_THAT(document_problems("a: 0\nb: \"017\"\nc: 0s\nd: 0.0.0.0:80\n"), ElementsAre());
}

TEST(Document, ReportsWhatIsNoText) {
  EXPECT_THAT(document_problems(std::string("a: 1\nb: \0\n", 9)),
              ElementsAre(error_at(2, 4, "NUL byte")));
  EXPECT_THAT(document_problems("a: \"\\0\"\n"), ElementsAre(error_at(1, 4, "NUL character")));
  for (const char* bytes : {"\xFF", "\xC0\xAF", "\xE0\x80\x80", "\xED\xA0\x80", "\xF4\x90\x80\x80",
                            "\xF8\x88\x80\x80\x80", "\xC3"}) {
    EXPECT_THAT(document_problems("a: 1\nb: x" + std::string(bytes)),
                ElementsAre(error_at(2, 5, "not valid UTF-8")));
  }
  EXPECT_THAT(document_problems("a: \xF0\x9F\x8C\x8A\n"), ElementsAre());
}

TEST(Document, DropsAByteOrderMark) {
  EXPECT_THAT(document_problems("\xEF\xBB\xBF"
                                "a: 1\na: 2\n"),
              ElementsAre(error_at(2, 1, "weir.yaml:1:1")));
}

TEST(Document, RefusesFilesThatAreTooLarge) {
  EXPECT_THAT(document_problems("#" + std::string(largest_file, 'x')),
              ElementsAre(error_at(0, 0, "4 MiB")));
}

TEST(Document, RefusesDeepNesting) {
  EXPECT_THAT(document_problems("a: " + std::string(63, '[') + std::string(63, ']') + "\n"),
              ElementsAre());
  EXPECT_THAT(document_problems("a: " + std::string(64, '[') + std::string(64, ']') + "\n"),
              ElementsAre(error_at(1, 67, "more than 64 levels")));
  EXPECT_EQ(document_problems(std::string(1'000'000, '[')).size(), 1U);
}

TEST(Document, RefusesQuotesThatAreNeverClosed) {
  EXPECT_THAT(document_problems("a: 1\nb: \"x\nc: 2\n"),
              ElementsAre(error_at(2, 4, "never closed")));
  EXPECT_THAT(document_problems("b: 'it''s\n"), ElementsAre(error_at(1, 4, "never closed")));
  EXPECT_THAT(document_problems("b: 'it''s'\nc: \"\\\"\"\n"), ElementsAre());
}

TEST(Document, RefusesTagsAndKeysThatAreNoNames) {
  EXPECT_THAT(document_problems("a: !!str 1\n"), ElementsAre(error_at(1, 4, "tags")));
  EXPECT_THAT(document_problems("? [a]\n: 1\n"), ElementsAre(error_at(1, 3, "a key must be")));
}

TEST(Document, ExplainsBrokenSyntaxInPlainWords) {
  EXPECT_THAT(document_problems("a: 1\n b: 2\n"), ElementsAre(error_at(2, 3, "`:` is not")));
  EXPECT_THAT(document_problems("a:\n   b: 1\n  c: 2\n"),
              ElementsAre(error_at(3, 3, "indentation")));
  EXPECT_THAT(document_problems("a: [1, 2\nb: 3\n"), ElementsAre(error_at(2, 2, "`[`")));
  EXPECT_THAT(document_problems("a: {b: 1\n"), Contains(error_at(2, 1, "`{`")));
  EXPECT_THAT(document_problems("a: @b\n"), ElementsAre(error_at(1, 4, "cannot start")));
  EXPECT_THAT(document_problems("a: }\n"), ElementsAre(error_at(1, 4, "closes nothing")));
}

}  // namespace
}  // namespace weir::config
