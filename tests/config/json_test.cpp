#include "config/json.hpp"

#include <gtest/gtest.h>

namespace weir::config {
namespace {

TEST(Json, KeepsTheOrderOfMembers) {
  Json json = Json::object();
  json.add("b", Json::number(-1)).add("a", Json::boolean(true)).add("c", Json::verbatim("1.0"));
  EXPECT_EQ(json.written(), R"({ "b": -1, "a": true, "c": 1.0 })");
}

TEST(Json, WritesEscapes) {
  EXPECT_EQ(Json::text("a \"b\" \\ \n \xC3\xA9").written(), R"("a \"b\" \\ \u000a é")");
  EXPECT_EQ(Json::object().add("\"", Json::text("")).written(), R"({ "\"": "" })");
}

TEST(Json, WritesWhatIsEmpty) {
  EXPECT_EQ(Json::object().written(), "{}");
  EXPECT_EQ(Json::array().written(), "[]");
  EXPECT_EQ(Json::object().add("not", Json::object()).written(), R"({ "not": {} })");
}

TEST(Json, IndentsWhatIsDeepOrLong) {
  const Json flat = Json::object().add("enum", Json::array({Json::text("a"), Json::text("b")}));
  EXPECT_EQ(flat.written(), R"({ "enum": ["a", "b"] })");
  EXPECT_EQ(Json::array({flat}).written(), "[\n  { \"enum\": [\"a\", \"b\"] }\n]");
  const std::string word(100, 'x');
  EXPECT_EQ(Json::array({Json::text(word)}).written(), "[\n  \"" + word + "\"\n]");
}

}  // namespace
}  // namespace weir::config
