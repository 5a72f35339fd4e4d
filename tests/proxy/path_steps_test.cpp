#include "proxy/path_steps.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/support/scratch_directory.hpp"

namespace weir::proxy {
namespace {

using testing::ElementsAre;

class Way : public testing::Test {
 protected:
  // The steps below the directory of the test, as "directory name".
  std::vector<std::string> way(const std::string& path) {
    PathWalk walk;
    std::vector<std::string> shown;
    for (const PathStep& step : walk.steps_to(at_.path(path)).steps) {
      const std::string inside = step.directory + "/";
      if (!inside.starts_with(at_.path(""))) continue;
      shown.push_back("/" + inside.substr(at_.path("").size()) + " " + step.name);
    }
    return shown;
  }

  ScratchDirectory at_;
};

TEST_F(Way, GoesThroughEveryDirectory) {
  at_.write("a/b", "");
  EXPECT_THAT(way("a/b"), ElementsAre("/ a", "/a/ b"));
  EXPECT_THAT(way("a//.//b"), ElementsAre("/ a", "/a/ b"));
  PathWalk walk;
  EXPECT_EQ(walk.steps_to(at_.path("a/b")).end, at_.path("a/b"));
  EXPECT_THAT(walk.steps_to("/").steps, testing::IsEmpty());
  EXPECT_EQ(walk.steps_to("/..").end, "/");
}

TEST_F(Way, GoesThroughLinksAsTheKernelDoes) {
  at_.write("x/y/a", "");
  at_.link("y/a", "x/a");
  at_.link(at_.path("x/y"), "deep");
  EXPECT_THAT(way("x/a"), ElementsAre("/ x", "/x/ a", "/x/ y", "/x/y/ a"));
  // What is above a link's target, not above the link.
  EXPECT_THAT(way("deep/../a"), ElementsAre("/ deep", "/ x", "/x/ y", "/x/ a", "/x/ y", "/x/y/ a"));
}

TEST_F(Way, EndsWhereSomethingIsMissing) {
  at_.write("a", "");
  at_.link("absent/b", "link");
  EXPECT_THAT(way("x/y"), ElementsAre("/ x"));
  EXPECT_THAT(way("link"), ElementsAre("/ link", "/ absent"));
  EXPECT_THAT(way("a/b"), ElementsAre("/ a", "/a/ b"));
}

TEST_F(Way, EndsWhenLinksLeadInCircles) {
  at_.link("b", "a");
  at_.link("a", "b");
  at_.link("c/c/c/c/c/c/c/c", "c");
  EXPECT_EQ(way("a").size(), most_links + 1);
  EXPECT_EQ(way("c").size(), most_links + 1);
}

}  // namespace
}  // namespace weir::proxy
