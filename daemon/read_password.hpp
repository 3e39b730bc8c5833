// A password from whoever sits at the terminal, unseen, or from a pipe.
// For the command line: one thread. Tests: integration/passwd_test.py (with a pseudo-terminal).
#pragma once

#include "protocol/secret.hpp"

#include <optional>

namespace pgweir::daemon {

/// One line of standard input. At a terminal it is asked for twice, and what is typed is not shown;
/// a signal leaves the terminal as it was. Nothing, and why on standard error: there is none.
[[nodiscard]] std::optional<protocol::secret> read_password();

} // namespace pgweir::daemon
