// Whom the daemon runs as. As root it does not: a hole in it would be a hole in the machine.
// Thread: main's, before any other exists. Tests: integration/run_as_test.py.
#pragma once

#include <string>

namespace pgweir::daemon {

/// Becomes that user, with its groups and nothing of root's; empty: stays whoever it is. Answers
/// what is wrong, or nothing. Root is only become, or stayed, where it is named.
[[nodiscard]] std::string run_as(const std::string& user);

} // namespace pgweir::daemon
