// What is asked of PostgreSQL when a transaction has ended that may have made, or given up, what
// keeps a client on its server: whether it is there. Nobody else knows (ROLLBACK, ON COMMIT DROP,
// errors, code that a DO block puts together).
//
// One row for each kind, from a statement that the server keeps prepared, so that asking costs a
// few microseconds; only pg_locks is dear, and only asked for after a text about advisory locks.
// The questions travel behind the client's answer; their own answers are swallowed.
//
// Owner: a server, while it is asked. Thread: its worker's. Sans-io.
// Tests: tests/protocol/pin_question_test.cpp.
// Source: PostgreSQL documentation, "pg_depend", "pg_cursors", "pg_prepared_statements",
// "pg_locks", "Session Information Functions".
#pragma once

#include "protocol/message.hpp"
#include "protocol/reply_queue.hpp"
#include "protocol/session_state.hpp"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>

namespace pgweir::protocol {

class pin_question {
public:
    /// `about`: some of session_state::askable.
    explicit pin_question(std::uint16_t about)
        : about_(about) {}

    /// Appends the messages, and to `owed` what they will be answered with. `prepared`: the kinds
    /// whose statement the server is believed to have; afterwards it will have these.
    void append(std::string& out, reply_queue& owed, std::uint16_t& prepared);

    /// The body of an answer, a DataRow. Empty: it was too long.
    void take(bytes body);
    /// An error came: nothing is known.
    void fail() { failed_ = true; }

    [[nodiscard]] std::uint16_t about() const { return about_; }
    /// When ReadyForQuery has come: those that are there. Nothing: it could not be found out.
    [[nodiscard]] std::optional<std::uint16_t> there() const;
    /// It failed, and may not if it is asked again with nothing believed to be prepared.
    [[nodiscard]] bool worth_repeating() const { return failed_ && relied_on_prepared_; }

private:
    std::uint16_t about_;
    std::uint16_t answered_ = 0, there_ = 0;
    bool failed_ = false;
    bool relied_on_prepared_ = false;
};

/// The names of all statements that servers keep prepared for these.
void for_each_pin_statement(const std::function<void(std::string_view)>& visit);

} // namespace pgweir::protocol
