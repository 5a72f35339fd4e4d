#pragma once
// Finds the line that is to blame where the indentation of a document makes no sense: the parser
// notices at the end of a block what has gone wrong at its beginning.

#include "config/diagnostic.hpp"
#include "config/source.hpp"

namespace weir::config {

// `mark` is in the line whose indentation fits nothing above it. True when the beginning of the
// block before it is to blame, as it is not indented as the rest of the file is; it is reported.
bool report_indentation(const Source& source, Mark mark, Report& report);

}  // namespace weir::config
