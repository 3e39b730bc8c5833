#include "protocol/sequence_memory.hpp"

#include "protocol/own_statement.hpp"
#include "protocol/sql_lexer.hpp"

#include <algorithm>
#include <array>

namespace pgweir::protocol {

namespace {

void append_discard_sequences(std::string& out, reply_queue& owed, ask how) {
    append_own_statement(out, owed, "pgw_discard_sequences", "DISCARD SEQUENCES", how);
}

// In a failed transaction PostgreSQL carries out nothing before one of these.
bool begins_by_ending_transaction(std::string_view sql) {
    constexpr std::array<std::string_view, 5> ends = {"rollback", "commit", "abort", "end",
                                                      "prepare"};
    sql_lexer lexer(sql);
    auto token = lexer.next();
    while (token.is == sql_token::kind::symbol && token.text == ";") {
        token = lexer.next();
    }
    return token.is == sql_token::kind::word &&
           std::any_of(ends.begin(), ends.end(),
                       [&](std::string_view word) { return same_word(token.text, word); });
}

} // namespace

routing forget_others_sequences(frontend type, const scanned_statement& what,
                                const statement_link& link, reply_queue& owed, relay_sink& to) {
    if ((what.effects & reads_sequences) != 0) {
        link.counted.reads_sequences = true;
    }
    auto* const memory = link.sequences;
    if (memory == nullptr || !memory->foreign || memory->forgets_in == owed.batch()) {
        return {};
    }
    if (owed.ours_may_go_soon()) {
        return {routing::how::wait};
    }
    if (!owed.ours_may_go()) {
        return {routing::how::not_to_be_run};
    }
    const bool extended = type == frontend::parse || type == frontend::bind;
    if (extended || !owed.between_batches()) {
        // Where it fails the client hears of it, and PostgreSQL skips the rest of the batch.
        append_discard_sequences(to.own(), owed, {.errors_to_client = true});
        memory->forgets_in = owed.batch();
        return {};
    }
    if (owed.owed_ready(fate::forward) != 0 || link.cancel_under_way) {
        return {routing::how::wait}; // whether the transaction has failed
    }
    if (link.status == transaction_status::failed) {
        return {begins_by_ending_transaction(what.sql) ? routing::how::not_to_be_run
                                                       : routing::how::as_is};
    }
    append_discard_sequences(to.own(), owed, {});
    append_own_sync(to.own(), owed);
    link.counted.sequences_apart = true;
    memory->foreign = false; // or else the client's session ends
    return {};
}

} // namespace pgweir::protocol
