// What the names in a database hide (protocol/name_effects.hpp) is read by servers of its pools:
// the first one before anybody is given it, any that idles when it is due again, and the one on
// which a client has just made something that hides more. In that case the client, and nobody else,
// waits for the answer.
//
// Tests: tests/simulation, integration/functions_test.py.
#include "daemon/engine/engine.hpp"

#include <algorithm>
#include <array>

namespace pgweir::daemon {

namespace {

constexpr auto learning_patience = std::chrono::seconds(15);

} // namespace

/// Where a client keeps its server, what it does there is nobody else's business.
bool engine::looks_at_texts(const pool_part& part) const {
    return options_.bug != options::planted::names_not_read &&
           part.shard.bounds().mode != pool::pool_mode::session && !part.entry->replication;
}

/// One look at an atomic while nothing has changed.
protocol::known_names engine::names_of(pool_part& part) {
    const auto version = part.entry->names->version();
    if (version != part.names_version) {
        part.names = part.entry->names->latest();
        part.names_version = version;
    }
    const bool any = part.names != nullptr && !part.names->empty();
    return {any ? part.names.get() : nullptr, version};
}

/// The server is nobody's. It comes back to place() when it has answered.
void engine::learn_names(server& s, time_point now) {
    s.task = server_task::learn;
    s.deadline = now + learning_patience;
    wake_by(s.deadline);
    s.pool->shard.begin_reset(s, now);
    put_names_question(s);
    arm_read(s);
}

void engine::put_names_question(server& s) {
    s.names = std::make_unique<protocol::hidden_effects_reader>();
    s.names_as_of = s.pool->entry->names->changes();
    protocol::append_hidden_effects_question(s.out.own(), s.owed);
    s.ready_current = false;
    flush(s);
}

/// The server is free. Before what is known to have changed has been read, nobody gets one.
bool engine::must_learn_names(const server& s) const {
    return looks_at_texts(*s.pool) && s.pool->entry->names->pending();
}

/// … or where that is long overdue, because no server has idled.
bool engine::learn_first(server& s, time_point now) {
    auto& names = *s.pool->entry->names;
    const bool overdue = looks_at_texts(*s.pool) && names.due() + names_reread_soon < now &&
                         names.take_turn(now, config_->functions_interval);
    if (!overdue && !must_learn_names(s)) {
        return false;
    }
    learn_names(s, now);
    return true;
}

/// Now and then a server that idles is asked; where none ever does, one between two clients
/// (place_now()).
void engine::learn_when_due(pool_part& part, time_point now) {
    auto& names = *part.entry->names;
    const auto& idle = part.shard.servers(pool::server_state::idle);
    if (!looks_at_texts(part) || shutting_down_ || idle.empty()) {
        return;
    }
    if (names.take_turn(now, config_->functions_interval)) {
        learn_names(static_cast<server&>(*idle.back()), now);
    }
    wake_by(names.due());
}

/// A transaction has ended that may have made something that hides what it does. Its client, and
/// others, are about to hear of it.
void engine::note_hidden(const client& c, const server& s) const {
    if (c.session.has_hidden_something() && s.status == protocol::transaction_status::idle &&
        looks_at_texts(*s.pool)) {
        s.pool->entry->names->hide_more();
    }
}

void engine::ask_about_names(client& c, server& s) {
    if (!c.session.has_hidden_something() || s.cancels_in_flight != 0 || !s.ready_current ||
        s.status != protocol::transaction_status::idle || s.owed.in_doubt() || s.question ||
        c.stream.inside_message() || !looks_at_texts(*s.pool)) {
        return;
    }
    c.session.take_hidden_something();
    put_names_question(s);
}

/// PostgreSQL has answered.
void engine::names_told(server& s, time_point now) {
    const auto reader = std::move(s.names);
    auto& entry = *s.pool->entry;
    const auto what = reader->result();
    entry.names->learned(what, s.names_as_of, now, config_->functions_interval);
    if (what != nullptr) {
        entry.names->succeeded();
    } else if (entry.names->first_failure()) {
        ports_.log(
            log_severity::warning,
            "what functions do to a session cannot be read, and is not noticed",
            {{"database", entry.database}, {"user", entry.user}, {"cause", reader->failure()}});
    }
}

/// Something has been made or dropped: where names hide something, they may hide less since.
void engine::names_changed(server& s, std::string_view tag, time_point now) {
    constexpr std::array<std::string_view, 10> relevant = {
        "FUNCTION", "PROCEDURE", "ROUTINE", "TRIGGER", "VIEW",
        "RULE",     "POLICY",    "SCHEMA",  "TABLE",   "EXTENSION"};
    const auto what = tag.substr(tag.rfind(' ') + 1);
    const bool matters = std::find(relevant.begin(), relevant.end(), what) != relevant.end() &&
                         (what != "TABLE" || tag.starts_with("DROP")) &&
                         names_of(*s.pool).names != nullptr;
    if (matters) {
        s.pool->entry->names->changed(now);
        wake_by(s.pool->entry->names->due());
    }
}

} // namespace pgweir::daemon
