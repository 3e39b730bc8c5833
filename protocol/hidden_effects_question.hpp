// The question that hidden_effects.hpp puts to PostgreSQL, in SQL, for versions 12 to 18.
//
// Its rows are (what, id, value): what is known of something in the catalogues that may do
// something to a session, or is used where that happens. The id is the number of its catalogue and
// its own. `n` the name that texts know it by, `l` the language of a function, `c` the next piece
// of its code, `e` the id of something that it uses; of what PostgreSQL has parsed: `t` the number
// of a built-in function that is called there, and the bytes of its first argument, if that is a
// constant; `w` it writes.
//
// It waits for no lock but those on catalogues (VACUUM FULL), and for these not long.
//
// Pure. Tests: integration/functions_test.py.
#pragma once

#include <chrono>
#include <string>
#include <string_view>

namespace pgweir::protocol {

/// Comes first, in the same transaction: where names are looked for and how long it may take.
[[nodiscard]] std::string hidden_effects_settings(std::chrono::milliseconds patience);
[[nodiscard]] std::string_view hidden_effects_question();

} // namespace pgweir::protocol
