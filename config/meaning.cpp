#include "config/meaning.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "config/diagnostic.hpp"
#include "config/value.hpp"

namespace weir::config {
namespace {

std::string range_of(const Key& key) {
  const bool is_duration = key.type == Type::duration;
  const auto text = [&](std::int64_t number) {
    return is_duration ? duration_text(number) : std::to_string(number);
  };
  if (key.least == key.most && key.most > 0) return fmt::format(", always {}", text(key.most));
  if (key.most > 0) return fmt::format(", {} to {}", text(key.least), text(key.most));
  return key.least > 0 ? fmt::format(", at least {}", text(key.least)) : "";
}

}  // namespace

std::string meaning(const Key& key) {
  std::string text(key.help);
  if (!key.zero.empty()) text += fmt::format(" `0` or `off`: {}.", key.zero);
  if (!key.supported) {
    text += key.harmless.empty() ? " Not supported yet: leave it out."
                                 : fmt::format(" Not supported yet: leave it out, or write {}.",
                                               in_backticks(key.harmless));
  }
  if (!key.later.empty()) {
    text += fmt::format(" Not supported yet: {}.", word_list(split_words(key.later)));
  }
  return text;
}

std::string type_text(const Key& key) {
  std::string text = key.type == Type::choice ? word_list(supported_words(key)) : describe(key);
  // "a whole number, 1 to 1024, or `auto`"
  text.insert(key.words.empty() ? text.size() : std::min(text.find(", or "), text.size()),
              range_of(key));
  if (key.many == Many::list) return fmt::format("a list, each item {}", text);
  if (key.many == Many::one_or_list) return fmt::format("{}; or a list of them", text);
  return text;
}

std::vector<std::string_view> supported_words(const Key& key) {
  const auto later = split_words(key.later);
  auto words = split_words(key.words);
  std::erase_if(
      words, [&](std::string_view word) { return std::ranges::find(later, word) != later.end(); });
  return words;
}

}  // namespace weir::config
