// A statement's text without its literals, for the log of slow queries: operators see what was run,
// never with which data.
//
// Strings ('…', E'…', B'…', X'…', N'…', U&'…'), dollar-quoted strings and numbers become `?`;
// comments go (they carry data too); white space becomes single spaces. Keywords, names, quoted
// identifiers and parameters ($1) stay. What a setting is given as a bare word is a string
// (`SET app.password TO hunter2`), and becomes `?` as well, unless it is DEFAULT or a boolean.
//
// It scans as PostgreSQL's lexer does, but it cannot know the session's
// standard_conforming_strings or client_encoding. Where these decide where a literal ends, or where
// the text is none that PostgreSQL accepts, the rest of the text is left out: a statement may lose
// its end, a literal is never shown. A text that was cut off anywhere is safe for the same reason.
//
// A pure function, linear in the text. Thread: any. Tests:
// tests/protocol/statement_redact_test.cpp. Source: PostgreSQL documentation, "Lexical Structure"
// (sql-syntax-lexical.html).
#pragma once

#include <cstddef>
#include <string>
#include <string_view>

namespace pgweir::protocol {

/// At most `max_bytes` bytes (3 or more); what was left out at the end shows as `…`.
[[nodiscard]] std::string redact_statement(std::string_view statement,
                                           std::size_t max_bytes = 1024);

} // namespace pgweir::protocol
