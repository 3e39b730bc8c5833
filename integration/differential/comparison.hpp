// Two transcripts, side by side: are they the same, and if not, where do they part?
//
// Pure. Used by runner.cpp.
#pragma once

#include "integration/differential/player.hpp"

#include <string>

namespace pgweir::differential {

/// Empty when they are the same; otherwise, for each client whose transcripts differ, the last
/// lines they have in common and the first in which they do not.
[[nodiscard]] std::string difference(const transcripts& direct, const transcripts& through);

} // namespace pgweir::differential
