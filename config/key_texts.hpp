#pragma once
// The values of a configuration by the names of their keys, as text: to see which differ, and to
// show how. Values that are equal have equal texts, and others have others. Pure.

#include <string>
#include <vector>

#include "config/change.hpp"

namespace weir::config {

struct KeyText {
  std::string key;
  std::string text;
  Effect effect = Effect::none;  // of a change of it
};

// In the order of the language. What is not set is not there; a section that is chosen by its
// presence has a text of its own before those of its keys.
std::vector<KeyText> process_texts(const Config& config);
std::vector<KeyText> texts(const TlsSettings& settings);
std::vector<KeyText> texts(const Listener& listener);  // without its routes
std::vector<KeyText> texts(const Route& route);
std::vector<KeyText> texts(const Upstream& upstream);  // without its endpoints
std::vector<KeyText> texts(const Endpoint& endpoint);

}  // namespace weir::config
