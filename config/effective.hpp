#pragma once
// Writes the configuration that is in force as YAML that loads again to the same: all files in one,
// the environment replaced, paths from the root, and on demand every default. Driven by the schema
// and the document, so that a key needs nothing here. Pure but for asking for the current
// directory.

#include <string>

#include "config/document.hpp"
#include "config/source.hpp"

namespace weir::config {

// `root` is a document without errors, its included files merged. With defaults, every key of this
// build is there, with a comment that says where its value comes from; what has no default and is
// not written is named in a comment.
std::string write_effective(const Node& root, const Sources& sources, bool with_defaults);

}  // namespace weir::config
