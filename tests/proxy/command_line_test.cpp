#include "proxy/command_line.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <vector>

namespace weir::proxy {
namespace {

std::expected<CommandLine, Answer> parse(std::vector<const char*> words) {
  words.insert(words.begin(), "weir");
  return parse_command_line(static_cast<int>(words.size()), words.data());
}

TEST(CommandLine, RunsByTheDefaultFile) {
  const auto line = parse({"run"}).value();
  EXPECT_EQ(line.command, CommandLine::Command::run);
  EXPECT_EQ(line.config_path, "/etc/weir/weir.yaml");
}

TEST(CommandLine, TakesAnotherFile) {
  EXPECT_EQ(parse({"run", "-c", "x.yaml"}).value().config_path, "x.yaml");
  EXPECT_EQ(parse({"check", "--config", "y.yaml"}).value().config_path, "y.yaml");
}

TEST(CommandLine, TakesTheFormatOfACheck) {
  EXPECT_EQ(parse({"check"}).value().check_format, "text");
  EXPECT_EQ(parse({"check", "--format", "json"}).value().check_format, "json");
  EXPECT_EQ(parse({"check", "--format", "xml"}).error().status, 2);
}

TEST(CommandLine, ShowsAConfiguration) {
  const auto line = parse({"show-config", "--defaults", "-c", "x.yaml"}).value();
  EXPECT_EQ(line.command, CommandLine::Command::show_config);
  EXPECT_TRUE(line.show_defaults);
  EXPECT_EQ(line.config_path, "x.yaml");
  EXPECT_FALSE(parse({"show-config"}).value().show_defaults);
}

TEST(CommandLine, TakesTheDemosPorts) {
  const auto line =
      parse({"demo", "--tls-port", "1", "--plain-port", "2", "--admin-port", "3"}).value();
  EXPECT_EQ(line.demo_tls_port, 1);
  EXPECT_EQ(line.demo_plain_port, 2);
  EXPECT_EQ(line.demo_admin_port, 3);
}

TEST(CommandLine, TakesWhatToPlanAndWhomToAsk) {
  const auto line =
      parse({"plan", "new.yaml", "-c", "x.yaml", "--exit-code", "--format", "json"}).value();
  EXPECT_EQ(line.command, CommandLine::Command::plan);
  EXPECT_EQ(line.plan_path, "new.yaml");
  EXPECT_EQ(line.config_path, "x.yaml");
  EXPECT_TRUE(line.exit_code);
  EXPECT_EQ(line.plan_format, "json");
  EXPECT_FALSE(line.admin);
  EXPECT_EQ(parse({"plan", "new.yaml", "--admin", "unix:/a"}).value().admin->text(), "unix:/a");
  EXPECT_EQ(parse({"plan"}).error().status, 2);
  EXPECT_EQ(parse({"plan", "x", "--admin", "nowhere"}).error().status, 2);
  EXPECT_EQ(parse({"plan", "x", "--admin", "unix:/a", "-c", "x"}).error().status, 2);
}

TEST(CommandLine, TakesTheConnectionToExplain) {
  const auto line = parse({"explain", "--listener", "web", "--server-name", "a.example", "--alpn",
                           "h2", "--client", "10.0.0.1", "-c", "x.yaml"})
                        .value();
  EXPECT_EQ(line.command, CommandLine::Command::explain);
  EXPECT_EQ(line.question.listener, "web");
  EXPECT_EQ(line.question.server_name, "a.example");
  EXPECT_EQ(line.question.alpn, std::vector<std::string>{"h2"});
  EXPECT_EQ(line.question.client, "10.0.0.1");
  EXPECT_EQ(line.config_path, "x.yaml");
  EXPECT_EQ(parse({"explain"}).error().status, 2);
}

TEST(CommandLine, PrintsTheSchema) {
  EXPECT_EQ(parse({"schema"}).value().command, CommandLine::Command::schema);
  EXPECT_FALSE(parse({"schema"}).value().as_reference);
  EXPECT_TRUE(parse({"schema", "--reference"}).value().as_reference);
}

TEST(CommandLine, ShowsHelpForNothing) {
  EXPECT_EQ(parse({}).error().status, 0);
  EXPECT_THAT(parse({"help"}).error().text, testing::HasSubstr("check"));
  EXPECT_EQ(parse({"--help"}).error().status, 0);
}

TEST(CommandLine, SuggestsANearCommand) {
  const Answer answer = parse({"chek"}).error();
  EXPECT_EQ(answer.status, 2);
  EXPECT_THAT(answer.text, testing::HasSubstr("`check`"));
}

TEST(CommandLine, SaysWhatIsNotSupportedYet) {
  for (const char* word : {"drain", "status", "top", "kill"}) {
    const Answer answer = parse({word}).error();
    EXPECT_EQ(answer.status, 2) << word;
    EXPECT_THAT(answer.text, testing::HasSubstr("not supported yet")) << word;
  }
  EXPECT_EQ(parse({"check", "--probe"}).error().status, 2);
}

TEST(CommandLine, RefusesUnknownOptionsAndPorts) {
  EXPECT_EQ(parse({"run", "--fast"}).error().status, 2);
  EXPECT_EQ(parse({"demo", "--tls-port", "70000"}).error().status, 2);
}

}  // namespace
}  // namespace weir::proxy
