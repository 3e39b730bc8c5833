#include "protocol/lent_statements.hpp"

#include "protocol/own_statement.hpp"
#include "protocol/pin_question.hpp"
#include "protocol/setting_replay.hpp"
#include "protocol/setting_trial.hpp"
#include "protocol/statement_names.hpp"

#include <algorithm>
#include <array>
#include <memory>
#include <string>
#include <vector>

namespace pgweir::protocol {

namespace {

// Statements of ours that are closed where they have been run, and left where they have failed.
constexpr std::string_view prepare_name = "pgw_prepare";
constexpr std::array<std::string_view, 7> passing_names = {
    "pgw_names", "pgw_settings", "pgw_channels", "pgw_discard_sequences",
    trial_name,  apart_name,     prepare_name};

void close_kept_statements(kept_statements& kept, reply_queue& owed, std::string& out) {
    const auto close = [&](std::string_view name) {
        append_close_statement(out, name); // which never fails, be it there or not
        owed.sent(frontend::close, fate::swallow);
    };
    for_each_setting_statement(close);
    for_each_pin_statement(close);
    std::for_each(passing_names.begin(), passing_names.end(), close);
    kept = {};
}

// What PREPARE says, if that can be the client's and not the server's; then also `name`, as
// PostgreSQL knows it.
statement_ref statement_to_share(std::string_view sql, const statement_link& link,
                                 const reply_queue& owed, const session_state& state,
                                 std::string& name) {
    // What the server alone knows of this client may have this very name.
    const bool server_knows =
        state.has(pin_reason::sql_statement) || state.has(pin_reason::named_statement);
    if (!link.shares_sql_statements || link.per_server == 0 || server_knows ||
        !owed.between_batches() || !owed.ours_may_go()) {
        return nullptr;
    }
    auto prepared = name_prepared(sql);
    // PostgreSQL refuses a name that is taken; those that servers have are not lent to anybody.
    if (!prepared || prepared->starts_with(server_name_prefix) ||
        link.mine.find(*prepared) != nullptr) {
        return nullptr;
    }
    name = std::move(*prepared);
    const auto definition = std::string(sql) + std::string(3, '\0'); // no types of parameters
    return link.mine.intern(context_of(link.settings), as_bytes(definition), true);
}

} // namespace

void lend_statement(client_statements& mine, reply_queue& owed, std::string& out,
                    std::string_view name, std::string_view definition, ask how) {
    append_close_statement(out, name);
    append_parse(out, name, definition);
    owed.sent(frontend::close, fate::swallow);
    owed.sent(frontend::parse, fate::swallow, how);
    mine.lent(name);
}

void lend_statement(client_statements& mine, reply_queue& owed, std::string& out,
                    std::string_view name, const prepared_statement& what, ask how) {
    if (!what.by_sql) {
        lend_statement(mine, owed, out, name, what.definition, how);
        return;
    }
    append_close_statement(out, name);
    owed.sent(frontend::close, fate::swallow);
    append_own_statement(out, owed, prepare_name, what.text(), how);
    mine.lent(name);
}

void take_back_lent(client_statements& mine, reply_queue& owed, std::string& out) {
    for (const auto& name : mine.take_lent()) {
        append_close_statement(out, name);
        owed.sent(frontend::close, fate::swallow);
    }
    message_writer(out).begin(frontend::sync).end();
    owed.sent(frontend::sync, fate::swallow);
}

routing have_only_own_statements(frontend type, const statement_link& link, reply_queue& owed,
                                 relay_sink& to) {
    auto& mine = link.mine;
    const auto batch = owed.batch();
    const bool unsettled = !mine.settled_for(batch) || !link.there.settled_for(batch);
    if (owed.ours_may_go_soon() || (unsettled && owed.answers_will_come())) {
        return {routing::how::wait};
    }
    if (link.kept == nullptr || !owed.ours_may_go()) {
        return {};
    }
    // In front of a Query no error may come, unless it is that of a batch of its own.
    const bool query = type == frontend::query;
    const bool apart = query && owed.between_batches();
    auto& out = to.own();
    close_kept_statements(*link.kept, owed, out);
    while (const auto* const shared = link.there.victim(1, batch)) { // until there is none
        const auto id = *shared;
        append_close_statement(out, server_name(id));
        link.there.sent({.is = server_statements::change::kind::evict,
                         .of = std::make_unique<server_statements::change::named>(
                             server_statements::change::named{.id = id})},
                        batch);
        owed.sent(frontend::close, fate::swallow, {.noted = true});
    }
    for (const auto& name : query && !apart ? std::vector<std::string>() : mine.names()) {
        const bool there =
            mine.deallocation_of(name, batch) == client_statements::deallocation::none;
        if (const auto what = mine.stands_for(name); there && what != nullptr) {
            lend_statement(mine, owed, out, harmless_name(name), *what,
                           {.errors_to_client = !apart});
        }
    }
    if (apart) {
        append_own_sync(out, owed);
    }
    return {};
}

routing route_prepare(bytes frame, scanned_statement& statement, const statement_link& link,
                      reply_queue& owed, session_state& state, relay_sink& to) {
    std::string name;
    const auto what = statement_to_share(statement.sql, link, owed, state, name);
    const auto way = route_statement_message(frontend::query, frame, true, link, owed, state, to);
    if (what != nullptr && way.is == routing::how::as_is) {
        link.mine.preparing(name, what);
        statement.effects = 0;
    }
    return way;
}

} // namespace pgweir::protocol
