#include "config/json_schema.hpp"

#include <fmt/format.h>

#include <algorithm>

#include "config/json.hpp"
#include "config/meaning.hpp"
#include "config/pattern.hpp"
#include "config/schema.hpp"
#include "config/value.hpp"

namespace weir::config {
namespace {

Json member(const SchemaNode& node);

Json reference(std::string_view definition) {
  return Json::object().add("$ref", Json::text(fmt::format("#/definitions/{}", definition)));
}

Json texts(std::string_view pattern) {
  return Json::object().add("type", Json::text("string")).add("pattern", Json::text(pattern));
}

Json any_of(std::vector<Json> choices) {
  return Json::object().add("anyOf", Json::array(std::move(choices)));
}

Json constant(Json value) {
  return Json::object().add("const", std::move(value));
}

Json types(std::initializer_list<std::string_view> names) {
  std::vector<Json> items;
  for (const std::string_view name : names) items.push_back(Json::text(name));
  return Json::object().add("type", Json::array(std::move(items)));
}

// The name under `definitions` of what a text of this type looks like.
std::string_view definition_of(const Key& key) {
  switch (key.type) {
    case Type::boolean:
      return "boolean";
    case Type::duration:
      return key.zero.empty() ? "positive_duration" : "duration";
    case Type::rate:
      return "rate";
    case Type::durations:
      return "durations";
    case Type::keepalive:
      return "keepalive";
    case Type::name:
    case Type::reference:
      return "name";
    case Type::address:
      return "address";
    case Type::endpoint:
      return "endpoint";
    case Type::network:
      return "network";
    case Type::host_name:
      return "host_name";
    case Type::server_name:
      return "server_name";
    case Type::bytes:
      return "bytes";
    case Type::protocol:
      return "protocol";
    case Type::identity:
      return "identity";
    case Type::path:
      return "path";
    default:
      return "text";
  }
}

// Text that YAML takes for a number or a boolean is text to the reader.
Json free_text(Json text) {
  return any_of({std::move(text), types({"number", "boolean"})});
}

Json definitions() {
  const auto text = [] { return Json::object().add("type", Json::text("string")); };
  Json all = Json::object();
  all.add("variable", texts(R"(\$\{)"));
  all.add("off", any_of({constant(Json::boolean(false)), texts(pattern_of_off())}));
  all.add("on", any_of({constant(Json::boolean(true)), texts(pattern_of_on())}));
  all.add("boolean", any_of({Json::object().add("type", Json::text("boolean")),
                             texts(pattern_of_on()), texts(pattern_of_off())}));
  all.add("duration", any_of({texts(pattern_of(Type::duration)), constant(Json::number(0))}));
  all.add("positive_duration", texts(pattern_of_positive_duration()));
  all.add("rate", any_of({texts(pattern_of(Type::rate)), constant(Json::number(0))}));
  all.add("durations", texts(pattern_of(Type::durations)));
  all.add("keepalive", texts(pattern_of(Type::keepalive)));
  all.add("name", free_text(texts(pattern_of(Type::name))));
  all.add("address", texts(pattern_of(Type::address)));
  all.add("endpoint", texts(pattern_of(Type::endpoint)));
  all.add("network", texts(pattern_of(Type::network)));
  all.add("host_name",
          free_text(texts(pattern_of(Type::host_name)).add("maxLength", Json::number(253))));
  all.add("server_name",
          free_text(texts(pattern_of(Type::server_name)).add("maxLength", Json::number(255))));
  all.add("bytes", free_text(texts(pattern_of(Type::bytes))));
  all.add("protocol",
          free_text(text().add("minLength", Json::number(1)).add("maxLength", Json::number(255))));
  all.add("identity", texts(pattern_of(Type::identity)));
  all.add("path", free_text(text().add("minLength", Json::number(1))));
  all.add("text", free_text(text()));
  return all;
}

Json number(const Key& key) {
  const bool is_whole = key.type == Type::count;
  if (is_whole && key.least == key.most && key.most > 0) {
    return constant(Json::number(key.least));
  }
  Json range = Json::object().add("type", Json::text(is_whole ? "integer" : "number"));
  range.add("minimum", Json::number(key.zero.empty() ? key.least : 0));
  if (key.most > 0 || is_whole) {
    range.add("maximum", Json::number(key.most > 0 ? key.most : largest_count));
  }
  return range;
}

// One value as the key's type, its words apart. Where a word is also what the type looks like,
// those that are not supported yet have to be kept out.
Json typed(const Key& key) {
  if (key.type == Type::count || key.type == Type::number) return number(key);
  if (key.later.empty()) return reference(definition_of(key));
  std::vector<Json> words;
  for (const std::string_view word : split_words(key.later)) words.push_back(Json::text(word));
  return texts(pattern_of(key.type))
      .add("not", Json::object().add("enum", Json::array(std::move(words))));
}

void add_words(const Key& key, std::vector<Json>& choices) {
  const auto words = supported_words(key);
  if (words.empty()) return;
  std::vector<Json> items;
  for (const std::string_view word : words) items.push_back(Json::text(word));
  choices.push_back(Json::object().add("enum", Json::array(std::move(items))));
  for (const std::string_view word : words) {
    if (word == "on" || word == "off") choices.push_back(reference(word));
  }
}

// All that one value of the key can be.
std::vector<Json> choices_of(const Key& key) {
  std::vector<Json> choices;
  add_words(key, choices);
  if (key.type != Type::choice) choices.push_back(typed(key));
  if (!key.zero.empty()) choices.push_back(reference("off"));
  choices.push_back(reference("variable"));
  return choices;
}

// The default is written in the table as in YAML.
Json default_of(const Key& key) {
  const auto words = split_words(key.words);
  const bool is_word = std::ranges::find(words, key.standard) != words.end();
  const bool is_number = key.type == Type::count || key.type == Type::number ||
                         key.type == Type::boolean || key.standard == "0";
  const bool is_spelt_alike = key.standard.starts_with('[') || key.standard.starts_with('"');
  return is_spelt_alike || (is_number && !is_word) ? Json::verbatim(key.standard)
                                                   : Json::text(key.standard);
}

Json described(const Key& key) {
  std::string text = meaning(key);
  const bool is_value =
      key.type != Type::section && key.type != Type::named && key.type != Type::list;
  if (is_value && key.supported) text += fmt::format(" Type: {}.", type_text(key));
  Json schema = Json::object().add("description", Json::text(text));
  if (!key.standard.empty()) schema.add("default", default_of(key));
  return schema;
}

Json list_of(Json schema, const Key& key, Json item) {
  schema.add("type", Json::text("array"));
  if (key.required) schema.add("minItems", Json::number(1));
  schema.add("items", std::move(item));
  return schema;
}

// Only what changes nothing may be written.
Json unsupported(const Key& key) {
  Json schema = described(key);
  if (key.harmless.empty()) return schema.add("not", Json::object());
  if (key.harmless == "[]") {
    return schema.add("type", Json::text("array")).add("maxItems", Json::number(0));
  }
  std::vector<Json> choices;
  choices.push_back(key.zero.empty() ? reference(key.harmless == "false" ? "off" : "on")
                                     : constant(Json::number(0)));
  if (key.type == Type::rate) choices.push_back(texts("^0(/[smh])?$"));
  if (!key.zero.empty()) choices.push_back(reference("off"));
  choices.push_back(reference("variable"));
  return schema.add("anyOf", Json::array(std::move(choices)));
}

Json values(const Key& key) {
  if (!key.supported) return unsupported(key);
  switch (key.many) {
    case Many::list:
      return list_of(described(key), key, any_of(choices_of(key)));
    case Many::one_or_list: {
      std::vector<Json> choices = choices_of(key);
      choices.push_back(list_of(Json::object(), key, any_of(choices_of(key))));
      return described(key).add("anyOf", Json::array(std::move(choices)));
    }
    case Many::one:
      break;
  }
  return described(key).add("anyOf", Json::array(choices_of(key)));
}

// What other files may add to: it has to be there only where nothing is included.
bool may_be_elsewhere(const Key& key) {
  return key.type == Type::named && schema().child("include")->key->supported;
}

// A map with these keys and no others. With nothing after it, it is an empty one where that is
// good.
Json map_of(Json schema, const SchemaNode& node, bool may_be_nothing) {
  std::vector<Json> required;
  Json properties = Json::object();
  for (const SchemaNode& child : node.children) {
    properties.add(child.name, member(child));
    if (!child.key->required || may_be_elsewhere(*child.key)) continue;
    required.push_back(Json::text(child.name));
  }
  schema.add("type", may_be_nothing && required.empty()
                         ? Json::array({Json::text("object"), Json::text("null")})
                         : Json::text("object"));
  if (!required.empty()) schema.add("required", Json::array(std::move(required)));
  schema.add("properties", std::move(properties));
  return schema.add("additionalProperties", Json::boolean(false));
}

Json section(const SchemaNode& node) {
  const Key& key = *node.key;
  const bool may_be_nothing = node.name != "[]" && (key.set == nullptr || node.name == "*");
  if (key.off_is.empty()) return map_of(described(key), node, may_be_nothing);
  return described(key).add(
      "anyOf",
      Json::array({Json::object().add("enum", Json::array({Json::text("off")})), reference("off"),
                   reference("variable"), map_of(Json::object(), node, may_be_nothing)}));
}

Json named(const SchemaNode& node) {
  Json schema = described(*node.key);
  if (node.key->required && !may_be_elsewhere(*node.key)) {
    schema.add("type", Json::text("object")).add("minProperties", Json::number(1));
  } else {
    schema.add("type", Json::array({Json::text("object"), Json::text("null")}));
  }
  schema.add("patternProperties",
             Json::object().add(pattern_of(Type::name), member(*node.child("*"))));
  return schema.add("additionalProperties", Json::boolean(false));
}

Json list(const SchemaNode& node) {
  Json schema = described(*node.key);
  if (node.key->required) return list_of(std::move(schema), *node.key, member(*node.child("[]")));
  schema.add("type", Json::array({Json::text("array"), Json::text("null")}));
  return schema.add("items", member(*node.child("[]")));
}

Json member(const SchemaNode& node) {
  switch (node.key->type) {
    case Type::section:
      return section(node);
    case Type::named:
      return named(node);
    case Type::list:
      return list(node);
    default:
      return values(*node.key);
  }
}

void require_without_include(Json& whole) {
  std::vector<Json> required;
  Json properties = Json::object();
  for (const SchemaNode& child : schema().children) {
    if (!child.key->required || !may_be_elsewhere(*child.key)) continue;
    required.push_back(Json::text(child.name));
    properties.add(
        child.name,
        Json::object().add("type", Json::text("object")).add("minProperties", Json::number(1)));
  }
  if (required.empty()) return;
  whole.add("if", Json::object()
                      .add("type", Json::text("object"))
                      .add("required", Json::array({Json::text("include")}))
                      .add("properties", Json::object().add("include", Json::boolean(true))));
  whole.add("else", Json::object()
                        .add("type", Json::text("object"))
                        .add("required", Json::array(std::move(required)))
                        .add("properties", std::move(properties)));
}

}  // namespace

std::string json_schema() {
  Json whole = Json::object();
  whole.add("$schema", Json::text("http://json-schema.org/draft-07/schema#"));
  whole.add("title", Json::text("Weir's configuration, version 1"));
  whole = map_of(std::move(whole), schema(), false);
  require_without_include(whole);
  whole.add("definitions", definitions());
  return whole.written() + '\n';
}

}  // namespace weir::config
