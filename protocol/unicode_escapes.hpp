// Undoes the escapes of U&"…" and U&'…': whatever is spelled like that may be the name of a
// function, or code.
//
// Pure. Tests: tests/protocol/unicode_escapes_test.cpp.
// Source: PostgreSQL documentation, "String Constants With Unicode Escapes"; str_udeescape() and
// base_yylex() in src/backend/parser/parser.c.
#pragma once

#include "protocol/sql_lexer.hpp"

#include <optional>
#include <string>

namespace pgweir::protocol {

/// What `token`, which has unicode_escapes, says without them, in UTF-8. `behind` stands behind it;
/// where UESCAPE '…' follows, that is taken. Nothing: PostgreSQL refuses it, or the escape
/// character is itself spelled in escapes.
[[nodiscard]] std::optional<std::string> take_unescaped(const sql_token& token, sql_lexer& behind);

} // namespace pgweir::protocol
