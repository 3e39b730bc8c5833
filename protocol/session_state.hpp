// What a client has done to its session that another server would not know of, as far as it can be
// told from what the client sends. In transaction mode each kind keeps ("pins") the client on its
// server until it is gone.
//
// Owner: a client. Thread: its worker's. Sans-io. Tests: tests/protocol/session_state_test.cpp.
#pragma once

#include <cstdint>
#include <string_view>

namespace pgweir::protocol {

/// Why a client stays on its server although its transaction has ended. One bit each.
enum class pin_reason : std::uint16_t {
    named_statement = 1 << 0,   // Parse with a name
    unnamed_statement = 1 << 1, // Parse without a name in a batch that did not bind it yet
    setting = 1 << 2,           // SET (not LOCAL), RESET, set_config(…), SET ROLE, …
    listen = 1 << 3,            // LISTEN
    advisory_lock = 1 << 4,     // pg_advisory_lock and its relatives without _xact_
    temporary_object = 1 << 5,  // CREATE TEMP …, SELECT INTO TEMP
    held_cursor = 1 << 6,       // DECLARE … WITH HOLD
    sql_statement = 1 << 7,     // PREPARE
    loaded_library = 1 << 8,    // LOAD
    sequence_value = 1 << 9,    // currval(), lastval(), setseed()
    large_statement = 1 << 10,  // a statement too large to be seen whole: it may do anything
};

[[nodiscard]] std::string_view to_string(pin_reason reason);

class session_state {
public:
    void pin(pin_reason reason) { pins_ |= static_cast<std::uint16_t>(reason); }
    void unpin(pin_reason reason) {
        pins_ = static_cast<std::uint16_t>(pins_ & ~static_cast<unsigned>(reason));
    }
    [[nodiscard]] bool pinned() const { return pins_ != 0; }
    [[nodiscard]] bool has(pin_reason reason) const {
        return (pins_ & static_cast<std::uint16_t>(reason)) != 0;
    }
    [[nodiscard]] std::uint16_t pins() const { return pins_; }
    /// The server is left in a state that nobody else may see (everything but `unnamed_statement`).
    [[nodiscard]] bool dirty() const {
        return (pins_ & ~static_cast<unsigned>(pin_reason::unnamed_statement)) != 0;
    }
    void clear() { pins_ = 0; }
    /// DISCARD ALL was carried out. It unloads no library and does not undo setseed().
    void discarded_all() {
        pins_ =
            static_cast<std::uint16_t>(pins_ & (static_cast<unsigned>(pin_reason::loaded_library) |
                                                static_cast<unsigned>(pin_reason::sequence_value)));
    }

    /// The text of a Query, or of a Parse, is about to be sent: pins for every statement in it
    /// that leaves something behind (protocol/statement_scan.hpp).
    void statement(std::string_view sql, bool complete);

private:
    std::uint16_t pins_ = 0;
};

} // namespace pgweir::protocol
