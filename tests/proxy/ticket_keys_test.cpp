#include "proxy/ticket_keys.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <openssl/evp.h>

#include <array>
#include <string>
#include <vector>

#include "proxy/ticket_key_file.hpp"

namespace weir::proxy {
namespace {

using testing::HasSubstr;
using testing::Not;

// 80 bytes in base64: 106 times the letter, and the end.
std::string key(char letter) {
  return std::string(106, letter) + "A=";
}

std::vector<TicketKeys::Key> keys_of(const std::string& text) {
  auto keys = parse_ticket_keys(text);
  EXPECT_TRUE(keys) << keys.error();
  return keys ? std::move(*keys) : std::vector<TicketKeys::Key>();
}

std::string fault_of(const std::string& text) {
  const auto keys = parse_ticket_keys(text);
  return keys ? "" : keys.error();
}

TEST(TicketKeyFile, HasNameMacAndCipherInThisOrder) {
  const std::string bytes = std::string(16, 1) + std::string(32, 2) + std::string(32, 3);
  std::array<unsigned char, 109> text{};
  EVP_EncodeBlock(text.data(), reinterpret_cast<const unsigned char*>(bytes.data()), 80);
  const auto keys = keys_of(reinterpret_cast<const char*>(text.data()));
  ASSERT_EQ(keys.size(), 1U);
  EXPECT_THAT(keys[0].name, testing::Each(1));
  EXPECT_THAT(keys[0].mac, testing::Each(2));
  EXPECT_THAT(keys[0].cipher, testing::Each(3));
  EXPECT_TRUE(keys[0].valid);
}

TEST(TicketKeyFile, IsReadHoweverItIsBroken) {
  const std::string first = key('a');
  const std::string second = key('b');
  EXPECT_EQ(keys_of(first).size(), 1U);
  EXPECT_EQ(keys_of(first + "\n" + second).size(), 2U);
  EXPECT_EQ(keys_of("# fleet\r\n\r\n  " + first + " \r\n\n# next\n" + second + "\n").size(), 2U);
  const auto wrapped =
      keys_of(first.substr(0, 64) + "\n" + first.substr(64) + "\n" + second + "\n");
  ASSERT_EQ(wrapped.size(), 2U);
  EXPECT_EQ(wrapped[0].cipher, keys_of(first)[0].cipher);
}

TEST(TicketKeyFile, CountsTheLastThree) {
  const auto keys = keys_of(key('a') + "\n" + key('b') + "\n" + key('c') + "\n" + key('d') + "\n");
  ASSERT_EQ(keys.size(), 3U);
  EXPECT_EQ(keys[0].name, keys_of(key('b'))[0].name);
  EXPECT_EQ(keys[2].name, keys_of(key('d'))[0].name);
}

TEST(TicketKeyFile, SaysWhatIsWrongAndShowsNoKey) {
  const std::string good = key('a') + "\n";
  const std::pair<std::string, std::string> cases[] = {
      {"", "it holds no key"},
      {"# nothing\n\n", "it holds no key"},
      {std::string(64, 'x') + "\n", "key 1 (line 1) is not 80 bytes in base64"},
      {good + "\n" + std::string(63, 'x') + "=\n", "key 2 (line 3) is not"},
      {good + std::string(107, 'x') + "\n" + key('b'), "key 2 (line 2) is not"},
      {std::string(110, 'x'), "key 1 (line 1) is not"},
      {std::string(108, 'x') + "\n", "key 1 (line 1) is not"},
      {std::string(106, 'x') + "==\n", "key 1 (line 1) is not"},
      {std::string(50, 'x') + "=" + std::string(56, 'x') + "=\n", "key 1 (line 1) is not"},
      {std::string(106, '-') + "A=\n", "key 1 (line 1) is not"},
      {good + std::string(1, '\0') + "\n", "key 2 (line 2) is not"},
      {good + key('b') + "\n" + good, "keys 1 and 3 are the same"},
      // The first 16 bytes tell keys apart.
      {std::string(22, 'a') + std::string(84, 'b') + "A=\n" + good, "keys 1 and 2 are the same"},
  };
  for (const auto& [text, fault] : cases) {
    EXPECT_THAT(fault_of(text), HasSubstr(fault)) << text;
    EXPECT_THAT(fault_of(text), Not(HasSubstr("xxxx")));
    EXPECT_THAT(fault_of(text), Not(HasSubstr("aaaa")));
  }
}

TEST(TicketKeys, SealWithTheLastButOneOfAFile) {
  const std::string a = key('a') + "\n";
  const std::string b = key('b') + "\n";
  const std::string c = key('c') + "\n";
  EXPECT_EQ(TicketKeys(keys_of(a)).current().name, keys_of(a)[0].name);
  EXPECT_EQ(TicketKeys(keys_of(a + b)).current().name, keys_of(a)[0].name);
  TicketKeys keys(keys_of(a + b + c));
  EXPECT_EQ(keys.current().name, keys_of(b)[0].name);
  for (const auto& [text, is_current] : {std::pair(a, false), {b, true}, {c, true}}) {
    const auto expected = keys_of(text)[0];
    const TicketKeys::Found found = keys.find(expected.name.data());
    EXPECT_TRUE(found.key.valid);
    EXPECT_EQ(found.key.cipher, expected.cipher);
    EXPECT_EQ(found.is_current, is_current);
  }
  EXPECT_FALSE(keys.find(keys_of(key('d'))[0].name.data()).key.valid);
}

TEST(TicketKeys, InMemoryAreTheirOwn) {
  TicketKeys keys(std::chrono::hours(1));
  TicketKeys others(std::chrono::hours(1));
  const auto current = keys.current();
  EXPECT_TRUE(current.valid);
  EXPECT_TRUE(keys.find(current.name.data()).is_current);
  EXPECT_FALSE(others.find(current.name.data()).key.valid);
  // No key has no name.
  EXPECT_FALSE(keys.find(TicketKeys::Key().name.data()).key.valid);
}

TEST(TicketKeys, InMemoryRotateAndTheOneBeforeIsAccepted) {
  TicketKeys keys(std::chrono::milliseconds(200));
  const auto first = keys.current();
  auto second = first;
  while (second.name == first.name) second = keys.current();
  const auto found = keys.find(first.name.data());
  // Unless this machine has slept through another period.
  if (keys.find(second.name.data()).is_current) {
    EXPECT_TRUE(found.key.valid);
    EXPECT_FALSE(found.is_current);
  }
  auto third = second;
  while (third.name == second.name) third = keys.current();
  EXPECT_FALSE(keys.find(first.name.data()).key.valid);
}

}  // namespace
}  // namespace weir::proxy
