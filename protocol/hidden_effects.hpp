// Reads out of PostgreSQL's catalogues what the names in a database hide (name_effects.hpp).
//
// One question is put to a server; it needs no privileges. PostgreSQL picks the functions whose
// bodies may do something to a session, and whatever they are reached by: functions that mention
// them, triggers, views, rules, defaults, checks, policies, indexes, types, and the tables of
// these. The bodies are read here, as the texts of clients are (statement_scan.hpp), parsed
// expressions for what they call, and what they do is carried on from each to those that reach it.
//
// That takes some 30 ns a byte, half a second for the most that is taken: far too long for a
// worker, which has others to serve. So there are two parts: hidden_effects_answer only keeps the
// rows as they come, and read_hidden_effects() makes of them what there is to know, elsewhere.
//
// Of languages other than SQL and PL/pgSQL only the strings are understood, and the names of what
// they keep in memory (%_SHARED, GD, SD). Of functions in C a few are known by name, and those that
// an application has made for itself may keep anything. The settings in a function's own SET
// clauses end with the function.
//
// Owner: a server, while it is asked; then whoever reads it (daemon/engine/names_reading.hpp).
// Thread: the owner's. Sans-io.
// Tests: tests/protocol/hidden_effects_test.cpp, integration/functions_test.py.
// Source: PostgreSQL documentation, "System Catalogs"; pg_node_tree in src/backend/nodes.
#pragma once

#include "protocol/message.hpp"
#include "protocol/name_effects.hpp"
#include "protocol/reply_queue.hpp"

#include <chrono>
#include <cstddef>
#include <deque>
#include <memory>
#include <string>
#include <string_view>

namespace pgweir::protocol {

/// Appends the question, in a batch of its own that touches no statement of a client's, and to
/// `owed` that its answers are ours. Whatever it sets ends with it. PostgreSQL gives it up after
/// `patience`.
void append_hidden_effects_question(std::string& out, reply_queue& owed,
                                    std::chrono::milliseconds patience);

/// The rows, unread.
class hidden_effects_answer {
public:
    /// The body of a DataRow. Empty: it was too long.
    void take_row(bytes body);
    /// An error came (this is its text), or there is too much of it: nothing is known.
    void fail(std::string_view why);
    [[nodiscard]] const std::string& failure() const { return failure_; }

private:
    friend class hidden_effects_reader;

    // Blocks, since one string for all would be copied again and again while it grows. In them,
    // each row has its length in front.
    std::deque<std::string> blocks_;
    std::size_t bytes_ = 0;
    std::string failure_; // empty: none
};

struct hidden_effects_found {
    std::shared_ptr<const name_effects> names; // nothing: it could not be found out
    std::string failure;                       // … why
};
/// When all has been answered. Pure, and slow (above).
[[nodiscard]] hidden_effects_found read_hidden_effects(hidden_effects_answer answer);

} // namespace pgweir::protocol
