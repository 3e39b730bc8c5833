// Reads out of PostgreSQL's catalogues what the names in a database hide (name_effects.hpp).
//
// One question is put to a server; it needs no privileges. PostgreSQL picks the functions whose
// bodies may do something to a session, and whatever they are reached by: functions that mention
// them, triggers, views, rules, defaults, checks, policies, indexes, types, and the tables of
// these. The bodies are read here, as the texts of clients are (statement_scan.hpp), parsed
// expressions for what they call, and what they do is carried on from each to those that reach it.
//
// Of languages other than SQL and PL/pgSQL only the strings are understood, and the names of what
// they keep in memory (%_SHARED, GD, SD). Of functions in C a few are known by name, and those that
// an application has made for itself may keep anything. The settings in a function's own SET
// clauses end with the function.
//
// Owner: a server, while it is asked. Thread: its worker's. Sans-io.
// Tests: tests/protocol/hidden_effects_test.cpp, integration/functions_test.py.
// Source: PostgreSQL documentation, "System Catalogs"; pg_node_tree in src/backend/nodes.
#pragma once

#include "protocol/message.hpp"
#include "protocol/name_effects.hpp"
#include "protocol/reply_queue.hpp"

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace pgweir::protocol {

/// Appends the question, in a batch of its own that touches no statement of a client's, and to
/// `owed` that its answers are ours. Whatever it sets ends with it. PostgreSQL gives it up after
/// `patience`.
void append_hidden_effects_question(std::string& out, reply_queue& owed,
                                    std::chrono::milliseconds patience);

class hidden_effects_reader {
public:
    /// The body of a DataRow. Empty: it was too long.
    void take_row(bytes body);
    /// An error came (this is its text): nothing is known.
    void fail(std::string_view why) {
        if (failure_.empty()) {
            failure_ = why;
        }
    }
    [[nodiscard]] const std::string& failure() const { return failure_; }

    /// When all has been answered. Nothing: it could not be found out.
    [[nodiscard]] std::shared_ptr<const name_effects> result();

private:
    // Something in the catalogues: a function, a trigger, a table, …
    struct node {
        std::string name;     // that texts know it by; empty: none
        std::string language; // a function's
        std::string code;
        bool has_name = false;
        bool writes = false;                 // what PostgreSQL has parsed of it does
        std::vector<std::string> reached_by; // others, and …
        hidden_effects effects;
    };

    void read_code(node& what) const;
    void reach_by_names();
    void carry_on();

    std::map<std::string, node, std::less<>> nodes_; // by "class.number"
    std::size_t bytes_ = 0;
    std::string failure_; // empty: none
};

} // namespace pgweir::protocol
