// Which prepared statements an SQL text names: PREPARE, EXECUTE and DEALLOCATE.
//
// Pure. Tests: tests/protocol/statement_names_test.cpp.
// Source: PostgreSQL documentation, "PREPARE", "EXECUTE", "DEALLOCATE", "Lexical Structure".
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgweir::protocol {

struct sql_statement_name {
    enum class use : std::uint8_t { prepare, execute, deallocate };
    std::string name; // as PostgreSQL knows it: unquoted ones in lower case; empty: all of them
    use is = use::execute;
};

/// False: one statement (as Parse has it) that certainly names none. A look at how it begins.
[[nodiscard]] bool may_name_statements(std::string_view statement);

/// In the order in which they stand. May name more than there are (EXECUTE FUNCTION in a trigger's
/// definition), never fewer. DEALLOCATE ALL and DISCARD ALL name all.
[[nodiscard]] std::vector<sql_statement_name> statement_names(std::string_view sql);

/// What the text, which is PREPARE of one statement and no more, gives a name to. Nothing: it is
/// not.
[[nodiscard]] std::optional<std::string> name_prepared(std::string_view sql);

} // namespace pgweir::protocol
