#include "config/include.hpp"

#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "tests/config/load.hpp"

namespace weir::config {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::IsEmpty;

namespace fs = std::filesystem;

const std::string web = "listeners:\n  web: { bind: \"127.0.0.1:0\", upstream: api }\n";
const std::string api = "upstreams:\n  api: { endpoints: [{ address: \"10.0.0.5:9000\" }] }\n";

std::vector<std::string> paths_of(const LoadResult& result) {
  std::vector<std::string> paths;
  for (const FileRead& file : result.files) paths.push_back(file.path);
  return paths;
}

// A directory with files, while a test runs.
class Include : public testing::Test {
 protected:
  Include() {
    fs::remove_all(directory_);
    fs::create_directories(directory_);
  }
  ~Include() override { fs::remove_all(directory_); }

  std::string path(const std::string& name) const { return directory_ + "/" + name; }

  void write(const std::string& name, const std::string& text) const {
    fs::create_directories(fs::path(path(name)).parent_path());
    std::ofstream(path(name)) << text;
  }

  LoadResult load_main(const std::string& text) const {
    write("weir.yaml", "version: 1\n" + text);
    return load_file(path("weir.yaml"));
  }

  // As they are shown, without the directory.
  std::string shown(const LoadResult& result) const {
    std::string text = render(result.problems, false);
    for (std::size_t i = 0; (i = text.find(directory_ + "/")) != std::string::npos;) {
      text.erase(i, directory_.size() + 1);
    }
    return text;
  }

 private:
  const std::string directory_ = fs::weakly_canonical(testing::TempDir()).string() +
                                 "/weir_include_" +
                                 testing::UnitTest::GetInstance()->current_test_info()->name();
};

TEST_F(Include, MergesListenersUpstreamsAndTls) {
  write("conf.d/10-web.yaml", "version: 1\n" + web);
  write("conf.d/20-api.yaml", api);
  write("conf.d/.hidden.yaml", "nonsense");
  write("conf.d/readme.txt", "nonsense");
  write("tls.yaml",
        "tls: { public: { certificates: [{ cert: pem/a, key: pem/b }] } }\n"
        "listeners: { secure: { bind: \"127.0.0.1:0\", tls: public, upstream: own } }\n");
  write("pem/a", "");
  write("pem/b", "");
  const LoadResult result = load_main(
      "include: [conf.d/*.yaml, tls.yaml]\n"
      "upstreams: { own: { endpoints: [{ address: \"10.0.0.6:1\" }] } }\n");
  ASSERT_EQ(shown(result), "");
  const Config& config = result.config.value();
  ASSERT_EQ(config.listeners.size(), 2U);
  EXPECT_EQ(config.listeners[0].name, "web");
  EXPECT_EQ(config.listeners[0].place.file, path("conf.d/10-web.yaml"));
  EXPECT_EQ(config.listeners[0].place.line, 3);
  EXPECT_EQ(config.listeners[1].name, "secure");
  ASSERT_EQ(config.upstreams.size(), 2U);
  EXPECT_EQ(config.upstreams[0].name, "own");
  EXPECT_EQ(config.upstreams[1].name, "api");
  EXPECT_EQ(config.tls.at("public").certificates[0].cert, path("pem/a"));
  EXPECT_THAT(paths_of(result), ElementsAre(path("weir.yaml"), path("conf.d/10-web.yaml"),
                                            path("conf.d/20-api.yaml"), path("tls.yaml")));
}

TEST_F(Include, IsRelativeToTheFileThatSaysIt) {
  write("a/one.yaml", "include: [b/two.yaml]\n");
  write("a/b/two.yaml", "include: [../three.yaml]\n" + web);
  write("a/three.yaml", api);
  EXPECT_EQ(shown(load_main("include: [a/one.yaml]\n")), "");
}

TEST_F(Include, FindsPatternsInDirectories) {
  write("teams/x/weir.yaml", web);
  write("teams/y/weir.yaml", api);
  write("teams/z/other", "");
  const LoadResult result = load_main("include: [\"teams/[xyz]/weir.yaml\"]\n");
  EXPECT_EQ(shown(result), "");
  EXPECT_THAT(paths_of(result), Contains(path("teams/y/weir.yaml")));
}

TEST_F(Include, TellsWhatItHasReadAndWhere) {
  write("conf.d/api.yaml", api);
  write("conf.d/old", "nonsense");
  std::filesystem::create_symlink("conf.d/api.yaml", path("same.yaml"));
  const LoadResult result = load_main("include: [\"conf.d/*.yaml\", same.yaml, absent]\n" + web);
  EXPECT_THAT(paths_of(result), ElementsAre(path("weir.yaml"), path("conf.d/api.yaml"),
                                            path("same.yaml"), path("absent")));
  EXPECT_EQ(*result.files[1].text, api);
  EXPECT_EQ(result.files[2].text, result.files[1].text);
  EXPECT_EQ(result.files[3].text, nullptr);
  ASSERT_EQ(result.patterns.size(), 1U);
  EXPECT_EQ(result.patterns[0].directory, path(""));
  EXPECT_EQ(result.patterns[0].pattern, "conf.d/*.yaml");
  EXPECT_THAT(result.patterns[0].found.files, ElementsAre(path("conf.d/api.yaml")));
}

TEST_F(Include, TellsWhereItLooksEvenInTheWorkingDirectory) {
  const LoadResult result =
      load_text("version: 1\ninclude: [\"absent.d/*\", absent]\n" + web + api, "weir.yaml");
  ASSERT_EQ(result.patterns.size(), 1U);
  EXPECT_TRUE(fs::equivalent(result.patterns[0].directory, "."));
  EXPECT_EQ(result.files.at(1).text, nullptr);
}

TEST_F(Include, ReplacesTheEnvironmentInPaths) {
  ::setenv("WEIR_TEST_PART", "part", 1);
  write("part.yaml", web + api);
  EXPECT_EQ(shown(load_main("include: [\"${WEIR_TEST_PART}.yaml\"]\n")), "");
}

TEST_F(Include, ShowsBothPlacesOfANameThatIsDefinedTwice) {
  write("more.yaml", api);
  EXPECT_EQ(shown(load_main("include: [more.yaml]\n" + web + api)),
            "more.yaml:2:3: error: `api` is already defined in `upstreams` at weir.yaml:6:3\n"
            "    api: { endpoints: [{ address: \"10.0.0.5:9000\" }] }\n"
            "    ^\n");
}

TEST_F(Include, ShowsTheLineOfTheRightFile) {
  write("more.yaml", "\n\n" + replaced(api, "endpoints", "endpoint"));
  EXPECT_EQ(shown(load_main("include: [more.yaml]\nworkers: many\n" + web)),
            "weir.yaml:3:10: error: `workers` must be a whole number, or `auto`, not `many`\n"
            "  workers: many\n"
            "           ^\n"
            "more.yaml:4:10: error: unknown key `endpoint` in `upstreams.api`\n"
            "    api: { endpoint: [{ address: \"10.0.0.5:9000\" }] }\n"
            "           ^\n"
            "  help: did you mean `endpoints`?\n");
}

TEST_F(Include, ReportsBindsThatOverlapInTheOrderOfTheFiles) {
  write("more.yaml", "listeners: { web: { bind: \"127.0.0.1:80\", upstream: api } }\n");
  const LoadResult result =
      load_main("include: [more.yaml]\n" + api +
                "listeners: { own: { bind: \"0.0.0.0:80\", upstream: api } }\n");
  EXPECT_EQ(shown(result),
            "more.yaml:1:27: error: `127.0.0.1:80` overlaps `0.0.0.0:80` of `listeners.own`, which "
            "stands at weir.yaml:5:27\n"
            "  listeners: { web: { bind: \"127.0.0.1:80\", upstream: api } }\n"
            "                            ^\n");
}

TEST_F(Include, ReportsACycleWithItsChain) {
  write("a.yaml", "include: [b.yaml]\n" + web);
  write("b.yaml", "include: [./a.yaml]\n" + api);
  EXPECT_THAT(shown(load_main("include: [a.yaml]\n")),
              testing::HasSubstr("b.yaml:1:11: error: the file includes itself: a.yaml -> b.yaml "
                                 "-> ./a.yaml\n"));
  EXPECT_THAT(shown(load_main("include: [weir.yaml]\n" + web + api)),
              testing::HasSubstr("the file includes itself: weir.yaml -> weir.yaml\n"));
}

TEST_F(Include, ReadsNoFileTwice) {
  write("a.yaml", web + api);
  EXPECT_THAT(load_main("include: [a.yaml, \"*a.yaml\"]\n").problems,
              ElementsAre(error_at(2, 19, "is already included at")));
}

TEST_F(Include, SaysWhereOtherKeysBelong) {
  write("more.yaml", "workers: 4\nlistners: {}\nversion: 2\nupstreams: []\n");
  const LoadResult result = load_main("include: [more.yaml]\n" + web + api);
  EXPECT_THAT(result.problems,
              ElementsAre(error_at(1, 1, "`workers` cannot stand in an included file"),
                          error_at(2, 1, "unknown key `listners` in the file"),
                          error_at(3, 10, "it must be 1"),
                          error_at(4, 12, "`upstreams` must be a map of keys, not a list")));
  EXPECT_EQ(result.problems[0].hint, "this key belongs in `" + path("weir.yaml") + "`");
  EXPECT_EQ(result.problems[1].hint, "did you mean `listeners`?");
}

TEST_F(Include, TakesTheVersionOfTheFirstFileOnly) {
  write("more.yaml", "version: 1\n" + web + api);
  write("weir.yaml", "include: [more.yaml]\n");
  EXPECT_THAT(load_file(path("weir.yaml")).problems, ElementsAre(error_at(1, 1, "`version`")));
}

TEST_F(Include, ReportsWhatCannotBeReadAndNoFalseReference) {
  const LoadResult absent = load_main("include: [absent.yaml]\n" + web);
  EXPECT_THAT(absent.problems, ElementsAre(error_at(2, 11, "No such file or directory")));
  EXPECT_THAT(paths_of(absent), Contains(path("absent.yaml")));
  EXPECT_THAT(load_main("include: [\"/\"]\n" + web).problems,
              ElementsAre(error_at(2, 11, "Is a directory")));
  EXPECT_THAT(load_main("include: [/dev/zero]\n" + web).problems,
              ElementsAre(error_at(2, 11, "no ordinary file")));
  write("broken.yaml", "upstreams: {\n");
  EXPECT_THAT(load_main("include: [broken.yaml]\n" + web).problems,
              ElementsAre(error_at(2, 1, "a `{` is not closed here")));
  write("list.yaml", "- a\n");
  EXPECT_THAT(load_main("include: [list.yaml]\n" + web + api).problems,
              ElementsAre(error_at(1, 1, "an included file must be a map of keys, not a list")));
}

TEST_F(Include, AcceptsNothingToInclude) {
  write("empty.yaml", "# nothing\n");
  EXPECT_EQ(shown(load_main("include: [empty.yaml]\n" + web + api)), "");
  const LoadResult result = load_main("include: [conf.d/*.yaml]\n" + web + api);
  EXPECT_TRUE(result.config);
  EXPECT_THAT(result.problems, ElementsAre(warning_at(2, 11, "no file matches `conf.d/*.yaml`")));
  ASSERT_EQ(result.patterns.size(), 1U);
  EXPECT_THAT(result.patterns[0].found.files, IsEmpty());
}

TEST_F(Include, IsAListOfPaths) {
  EXPECT_THAT(load_main("include: a.yaml\n" + web + api).problems,
              ElementsAre(error_at(2, 10, "`include` must be a list")));
  EXPECT_THAT(load_main("include: [[a.yaml], \"\"]\n" + web + api).problems,
              ElementsAre(error_at(2, 11, "must be the path of a file"),
                          error_at(2, 21, "`include` is an empty path")));
  EXPECT_THAT(load_main("include:\n" + web + api).problems,
              ElementsAre(error_at(2, 1, "`include` has no value")));
}

TEST_F(Include, TriesAtMostAThousandFilesAndPatterns) {
  for (const std::string item : {"absent", "\"*.absent\""}) {
    std::string list = item;
    for (int i = 0; i < 10'000; ++i) list += "," + item;
    const LoadResult result = load_main("include: [" + list + "]\n" + web + api);
    EXPECT_LE(result.files.size() + result.patterns.size(), 1001U);
    EXPECT_FALSE(result.config);
  }
}

TEST_F(Include, ReadsAtMostAThousandFiles) {
  for (int i = 0; i < 1002; ++i) write("many/" + std::to_string(i), "");
  EXPECT_THAT(load_main("include: [\"many/*\"]\n" + web + api).problems,
              ElementsAre(error_at(2, 11, "more than 1000 files match")));
  EXPECT_THAT(load_main("include: [\"many/*[0-4]\", \"many/*[5-9]\"]\n" + web + api).problems,
              ElementsAre(error_at(2, 26, "more than 1000 files are included")));
}

}  // namespace
}  // namespace weir::config
