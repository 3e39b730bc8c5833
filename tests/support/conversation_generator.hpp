// Makes conversations up: 1 to 3 clients, each speaking PostgreSQL's protocol in any order that the
// dice say, mostly right and sometimes wrong. The same seed gives the same conversation.
//
// What a client is told depends on what it says alone: each has tables of its own, nothing looks at
// the clock, and whatever is waited for comes in any case. So two runs of one conversation must be
// told the same, whoever is in between.
//
// Tests only: integration/differential plays it (`--random`), and clients of the simulator do
// (tests/simulation/client_conversation.cpp). The texts of statements come from a dialect: one for
// PostgreSQL, one for tests/support/postgres_model.hpp. Sans-io; any thread.
#pragma once

#include "tests/support/conversation.hpp"

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

namespace pgweir::test {

/// What the generator must know of a statement.
struct statement_text {
    enum class kind : std::uint8_t { ordinary, begins, ends, copies_in };
    std::string text; // `%c` stands for the client's letter
    std::size_t parameters = 0;
    kind does = kind::ordinary;
    unsigned weight = 1;
};

struct dialect {
    std::vector<statement_text> statements;
    std::vector<std::uint32_t> functions; // OIDs, of two parameters each
    std::vector<std::string> copy_lines;  // CopyData, good and bad
    // SQL that makes a client's tables, empties them, shows what is in them, and drops them.
    std::string create, empty, contents, drop;
};

[[nodiscard]] const dialect& postgres_dialect();
/// The language of postgres_model.
[[nodiscard]] const dialect& model_dialect();

struct generator_options {
    std::size_t most_clients = 3;
    std::size_t bursts = 24; // at most so many stretches of messages
    // Clients may leave with work unfinished; the looks from outside need PostgreSQL.
    bool looks_from_outside = true;
    // A COPY may be interrupted by a Sync, or left open with other messages behind it: then nobody
    // but PostgreSQL can know what is answered.
    bool doubtful_copies = true;
    // Half of the clients leave in whatever they are doing: a Terminate behind work, the end of
    // their sending direction, a socket closed or reset. How much of it is still done and told is
    // for the player to know.
    bool leave_in_the_middle = false;
};

struct generated_conversation {
    std::size_t clients = 1; // a, b, …; also how many servers they may need at the same time
    conversation steps;
};

[[nodiscard]] generated_conversation generate(std::uint64_t seed, const dialect& language,
                                              const generator_options& options = {});

/// SQL of the dialect for the first so many clients.
[[nodiscard]] std::string for_clients(const std::string& sql, std::size_t clients);

} // namespace pgweir::test
