// Mistakes as people make them, in configurations as people write them: each is found where it was
// made, and a misspelt key is answered with the right one.

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <iterator>
#include <optional>
#include <random>
#include <regex>
#include <sstream>

#include "tests/config/load.hpp"

namespace weir::config {
namespace {

using Lines = std::vector<std::string>;

Lines lines_of(const std::string& text) {
  Lines lines;
  std::istringstream stream(text);
  for (std::string line; std::getline(stream, line);) lines.push_back(line);
  return lines;
}

std::string text_of(const Lines& lines) {
  std::string text;
  for (const std::string& line : lines) text += line + "\n";
  return text;
}

std::vector<Lines> examples() {
  std::vector<Lines> all;
  for (const std::string& text : example_texts()) all.push_back(lines_of(text));
  return all;
}

// A key as it is written: a line, and where in it.
struct Key {
  std::size_t line;
  std::size_t column;
  std::string name;
};

// The keys of the language, without the names that the operator has chosen.
std::vector<Key> keys_of(const Lines& lines) {
  static const std::regex key("(^ *|[{,] *|- )([a-z_]+):( |$)");
  std::vector<Key> keys;
  std::string top;
  for (std::size_t i = 0; i < lines.size(); ++i) {
    const std::string line = lines[i].substr(0, lines[i].find('#'));
    for (std::sregex_iterator match(line.begin(), line.end(), key), end; match != end; ++match) {
      const auto column = static_cast<std::size_t>(match->position(2));
      if (column == 0) top = match->str(2);
      const bool is_named = top == "tls" || top == "listeners" || top == "upstreams";
      const bool is_name = is_named && column == 2 && match->str(1) == "  ";
      if (!is_name) keys.push_back({i, column, match->str(2)});
    }
  }
  return keys;
}

std::optional<std::size_t> section_of(const Lines& lines, std::size_t at) {
  const std::size_t indentation = lines[at].find_first_not_of(' ');
  while (at-- > 0) {
    if (!lines[at].empty() && lines[at].find_first_not_of(' ') < indentation) return at;
  }
  return std::nullopt;
}

struct Mutation {
  std::string kind;
  Lines lines;
  std::size_t at = 0;  // the line, from 0
  std::string written{};
  std::string meant{};
  std::optional<std::size_t> section{};  // the line of the key that what is removed belonged to
};

class Mutator {
 public:
  explicit Mutator(std::uint64_t seed) : random_(seed) {}

  Mutation misspell(Lines lines) {
    const auto keys = keys_of(lines);
    const Key& key = keys[below(keys.size())];
    const std::string written = edited(key.name);
    lines[key.line].replace(key.column, key.name.size(), written);
    return {"misspelt", lines, key.line, written, key.name};
  }

  Mutation change_type(Lines lines) {
    static const std::regex value("^([ -]*[a-z_]+: )([^#]*[^# ])( *#.*)?$");
    static const std::string wrong[] = {"{ no: such }", "[[1]]", "{}", "!", "-", "1 2 3", "[{}]"};
    std::vector<std::size_t> with_value;
    for (std::size_t i = 0; i < lines.size(); ++i) {
      if (std::regex_match(lines[i], value)) with_value.push_back(i);
    }
    const std::size_t at = with_value[below(with_value.size())];
    const std::string& by = wrong[below(std::size(wrong))];
    std::smatch match;
    std::regex_match(lines[at], match, value);
    lines[at] = match.str(1) + by;
    return {"type", lines, at};
  }

  Mutation remove_line(Lines lines) {
    const std::size_t at = below(lines.size());
    const auto section = section_of(lines, at);
    lines.erase(lines.begin() + static_cast<std::ptrdiff_t>(at));
    return {"removed", lines, at, {}, {}, section};
  }

  Mutation shift(Lines lines) {
    const std::size_t at = below(lines.size());
    const std::size_t by = 1 + below(3);
    const std::size_t indentation = std::min(lines[at].find_first_not_of(' '), lines[at].size());
    if (below(2) == 0 && indentation >= by) {
      lines[at].erase(0, by);
    } else {
      lines[at].insert(0, by, ' ');
    }
    return {"shifted", lines, at};
  }

  Mutation any(const Lines& lines) {
    switch (below(4)) {
      case 0:
        return misspell(lines);
      case 1:
        return change_type(lines);
      case 2:
        return remove_line(lines);
      default:
        return shift(lines);
    }
  }

 private:
  std::size_t below(std::size_t limit) { return random_() % limit; }

  // One letter more, less or other, or two that have changed places.
  std::string edited(const std::string& name) {
    std::string text = name;
    while (text == name || text.empty()) {
      text = name;
      const std::size_t at = below(text.size());
      const char letter = static_cast<char>('a' + below(26));
      switch (below(4)) {
        case 0:
          text.insert(text.begin() + static_cast<std::ptrdiff_t>(at), letter);
          break;
        case 1:
          text.erase(at, 1);
          break;
        case 2:
          text[at] = letter;
          break;
        default:
          if (at + 1 < text.size()) std::swap(text[at], text[at + 1]);
      }
    }
    return text;
  }

  std::mt19937_64 random_;
};

bool is_error(const Problem& problem) {
  return problem.severity == Problem::Severity::error;
}

// Loaded, or refused at the line or beside it. What is missing from a section may be missed there.
bool is_found(const Mutation& mutation, const LoadResult& result) {
  const auto is_near = [&](const Problem& problem) {
    const int line = static_cast<int>(mutation.at) + 1;
    const bool is_section =
        mutation.section && problem.place.line == static_cast<int>(*mutation.section) + 1;
    return is_error(problem) && (is_section || std::abs(problem.place.line - line) <= 1);
  };
  return result.config || std::ranges::any_of(result.problems, is_near);
}

TEST(Mistake, IsFoundWhereItWasMade) {
  const std::uint64_t seed = 20251125;
  SCOPED_TRACE(seed);
  Mutator mutator(seed);
  const std::vector<Lines> all = examples();
  ASSERT_FALSE(all.empty());
  for (std::size_t i = 0; i < 1000; ++i) {
    const Mutation mutation = mutator.any(all[i % all.size()]);
    const LoadResult result = load(text_of(mutation.lines));
    EXPECT_TRUE(is_found(mutation, result))
        << mutation.kind << " at line " << mutation.at + 1 << "\n"
        << render(result.problems, false) << text_of(mutation.lines);
  }
}

TEST(Mistake, OfSpellingIsAnsweredWithTheRightKey) {
  const std::uint64_t seed = 20251126;
  SCOPED_TRACE(seed);
  Mutator mutator(seed);
  const std::vector<Lines> all = examples();
  std::size_t refused = 0;
  std::size_t answered = 0;
  std::string others;
  for (std::size_t i = 0; i < 2000; ++i) {
    const Mutation mutation = mutator.misspell(all[i % all.size()]);
    const LoadResult result = load(text_of(mutation.lines));
    if (result.config) continue;
    ++refused;
    const bool is_answered = std::ranges::any_of(result.problems, [&](const Problem& problem) {
      return problem.hint == "did you mean `" + mutation.meant + "`?";
    });
    if (is_answered) {
      ++answered;
    } else {
      others += fmt::format("{} for {}\n", mutation.written, mutation.meant);
    }
  }
  EXPECT_GE(refused, 1500U);
  EXPECT_GE(answered * 100, refused * 95) << answered << " of " << refused << "\n" << others;
}

TEST(Mistake, StartsFromGoodConfigurations) {
  for (const Lines& lines : examples()) {
    const LoadResult result = load(text_of(lines));
    EXPECT_EQ(render(result.problems, false), "");
    EXPECT_GE(keys_of(lines).size(), 8U);
  }
}

}  // namespace
}  // namespace weir::config
