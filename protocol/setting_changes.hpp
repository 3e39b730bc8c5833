// Which settings an SQL text may have changed for the session: what is asked of PostgreSQL when the
// transaction has ended. Whether it has, nobody but PostgreSQL knows (ROLLBACK, savepoints,
// errors, functions); so this errs to the side of asking, and where it cannot tell which, it says
// so
// (`unknown`).
//
// Owner: a client's session_state, between what it sends and the end of the transaction. Sans-io.
// Tests: tests/protocol/setting_changes_test.cpp.
// Source: PostgreSQL documentation, "SET", "RESET", "SET ROLE", "SET SESSION AUTHORIZATION", "SET
// TRANSACTION", "DISCARD", "Configuration Settings Functions"; VariableSetStmt in gram.y.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>

namespace pgweir::protocol {

class name_effects; // name_effects.hpp

struct setting_changes {
    enum class how : std::uint8_t {
        set,            // to a value that PostgreSQL will tell
        reset,          // to what it was at the session's start, and to nothing else
        set_then_reset, // in this order, as far as the text shows
    };
    /// By name, in lower case.
    std::map<std::string, how, std::less<>> names;
    /// RESET ALL or DISCARD ALL: all but those that have been set besides.
    bool all_reset = false;
    /// Some may have been changed of which no text speaks: those that PostgreSQL can list.
    bool some_listed = false;
    /// Any may have been changed, also those that applications make up, which PostgreSQL does not
    /// list (app.user): it cannot be asked.
    bool unknown = false;
    /// What could not be read may have reset any.
    bool hidden_reset = false;
    /// Something has failed since: they may have been undone.
    bool failed = false;

    [[nodiscard]] bool empty() const { return !can_be_asked() && !unknown; }
    /// PostgreSQL can tell of these.
    [[nodiscard]] bool can_be_asked() const {
        return !names.empty() || all_reset || some_listed || hidden_reset;
    }
    [[nodiscard]] bool only_hidden_reset() const {
        return hidden_reset && names.empty() && !all_reset && !some_listed;
    }
    void note(std::string name, how what);
    void add(const setting_changes& more);
    void clear() { *this = {}; }
    bool operator==(const setting_changes&) const = default;
};

/// The text of a Query or Parse, one or several statements. A text that scan() says sets nothing
/// need not be read. What text it executes when it is put together while it runs is not seen here:
/// of that scan() says `large_statement`.
[[nodiscard]] setting_changes read_setting_changes(std::string_view sql,
                                                   const name_effects* names = nullptr);
/// The body of a function.
[[nodiscard]] setting_changes read_setting_changes_in_code(std::string_view code);

} // namespace pgweir::protocol
