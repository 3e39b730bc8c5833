// Looks at SQL text for statements that leave something behind in the session. A lexer, not a
// parser: it knows strings, quoted identifiers, dollar quotes and comments, and looks at words. It
// errs to the side of pinning.
//
// Pure. Tests: tests/protocol/statement_scan_test.cpp.
// Source: PostgreSQL documentation, "Lexical Structure", and the pages of the statements named.
#pragma once

#include <cstdint>
#include <string_view>

namespace pgweir::protocol {

/// The text of a Query or Parse (one or several statements): the `pin_reason`s, one bit each, that
/// it gives. `complete`: this is all of the text. Else it may do anything (`large_statement`).
[[nodiscard]] std::uint16_t scan(std::string_view sql, bool complete);

} // namespace pgweir::protocol
