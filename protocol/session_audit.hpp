// The audit of a server that nobody has: is its session what it is believed to be? PostgreSQL is
// asked for all that it shows of a session. What is there and should not be is a leak: something
// that a client has left and the next one would find.
//
// Settings are compared with those that the server is believed to carry; where a text differs,
// PostgreSQL says what it makes of the value that is believed (`64MB` and `65536` are the same), so
// that there may be a second question. Settings that applications have made up PostgreSQL does not
// list: those that are believed to be carried are asked for, others cannot be found. The same goes
// for what pgweir keeps on servers: statements with names of its own.
//
// Owner: a server, while it is audited. Thread: its worker's. Sans-io.
// Tests: tests/protocol/session_audit_test.cpp, integration/audit_test.py.
#pragma once

#include "protocol/message.hpp"
#include "protocol/reply_queue.hpp"
#include "protocol/session_state.hpp"
#include "protocol/setting_replay.hpp"

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace pgweir::protocol {

class session_audit {
public:
    /// What is looked for.
    static constexpr std::array<pin_reason, 7> kinds = {
        pin_reason::named_statement, pin_reason::setting,          pin_reason::listen,
        pin_reason::advisory_lock,   pin_reason::temporary_object, pin_reason::held_cursor,
        pin_reason::sql_statement};

    /// `carried`: what the server is believed to have of settings. `own`: who it is where
    /// nobody has set anything. `ignored`: kinds that may be left behind.
    session_audit(const setting_map& carried, const login_identity& own, std::uint16_t ignored);

    /// Appends what is to be asked next, and to `owed` what that will be answered with.
    void append(std::string& out, reply_queue& owed);

    /// The body of an answer: DataRow or FunctionCallResponse. Empty: it was too long.
    void take(backend type, bytes body);
    /// An error came.
    void fail();
    /// A ReadyForQuery has come that answers it. True: it was the last of those that append() has
    /// asked for.
    [[nodiscard]] bool ready_came();
    /// … and more is to be asked.
    [[nodiscard]] bool asks_more() const { return !failed_ && !differing_.empty(); }

    struct leak {
        pin_reason kind;
        std::string name; // of the setting, table, cursor, …; no value
        bool operator==(const leak&) const = default;
    };
    /// When all has been answered; at most `most_leaks`. Nothing: it could not be found out.
    [[nodiscard]] std::optional<std::vector<leak>> result() const;
    static constexpr std::size_t most_leaks = 20;

private:
    struct setting {
        std::string name, believed;
        std::optional<std::string> is = {}; // nothing: null
    };

    void take_row(bytes body);
    void compare();
    void add(pin_reason kind, std::string_view name);

    std::vector<setting> settings_;
    std::vector<setting> differing_; // of which PostgreSQL is yet to say what is meant
    bool reading_ = false;           // that is being asked
    std::uint16_t ignored_;
    bool readable_; // what is meant may be asked: an error does not end the server
    std::vector<leak> leaks_;
    std::size_t answered_ = 0; // calls, of `settings_` or `differing_`
    bool failed_ = false;
};

} // namespace pgweir::protocol
