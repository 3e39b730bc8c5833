// What the names in a database hide (protocol/name_effects.hpp) is read by servers of its pools:
// the first one before anybody is given it, any that idles when it is due again, and the one on
// which a client has just made something that hides more. In that case the client, and nobody else,
// waits for the answer. Where it cannot be read soon, nobody waits (database_names.hpp).
//
// Tests: tests/simulation, tests/daemon/database_names_test.cpp, integration/functions_test.py.
#include "daemon/engine/engine.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace pgweir::daemon {

namespace {

// PostgreSQL gives up by itself. A server that does not even say so is gone.
constexpr auto silence = std::chrono::seconds(1);

} // namespace

/// Where a client keeps its server, what it does there is nobody else's business.
bool engine::looks_at_texts(const pool_part& part) const {
    return options_.bug != options::planted::names_not_read &&
           part.shard.bounds().mode != pool::pool_mode::session &&
           part.entry->is == pool_entry::kind::clients;
}

void engine::look_at_names(pool_part& part, std::uint64_t version) const {
    part.names_version = version;
    part.names = part.entry->names->latest();
    if (part.names->empty() || options_.bug == options::planted::names_not_read) {
        part.names = nullptr;
    }
}

/// The server is nobody's. It comes back to place() when it has answered.
void engine::learn_names(server& s, time_point now) {
    s.task = server_task::learn;
    s.deadline = now + s.pool->entry->names->patience() + silence;
    wake_by(s.deadline);
    s.pool->shard.begin_reset(s, now);
    put_names_question(s);
    arm_read(s);
}

void engine::put_names_question(server& s) {
    const auto& names = *s.pool->entry->names;
    s.names = std::make_unique<protocol::hidden_effects_reader>();
    s.names_as_of = names.changes();
    protocol::append_hidden_effects_question(s.out.own(), s.owed, names.patience());
    s.ready_current = false;
    flush(s);
}

/// The server is free, but should be asked first.
bool engine::learn_first(server& s, time_point now) {
    const bool overdue = std::exchange(s.pool->names_overdue, false) && looks_at_texts(*s.pool) &&
                         s.pool->entry->names->take_turn(now, config_->functions_interval);
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
    if (!looks_at_texts(part) || shutting_down_) {
        return;
    }
    const auto& idle = part.shard.servers(pool::server_state::idle);
    if (idle.empty()) {
        if (part.shard.servers(pool::server_state::leased).empty()) {
            return;
        }
        part.names_overdue = names.due() + names_reread_soon < now;
        wake_by(std::max<time_point>(names.due(), now) + 2 * names_reread_soon);
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
        s.pin_question || c.stream.inside_message() || !looks_at_texts(*s.pool)) {
        return;
    }
    c.session.take_hidden_something();
    if (s.pool->entry->names->awaited()) { // else it would wait in vain, most likely
        put_names_question(s);
    }
}

/// PostgreSQL has answered.
void engine::names_told(server& s, time_point now) {
    const auto what = s.names->result();
    if (what == nullptr) {
        names_failed(s, s.names->failure(), now);
        return;
    }
    s.names.reset();
    auto& entry = *s.pool->entry;
    s.pool->stats().catalogue_questions.add();
    if (entry.names->learned(what, s.names_as_of, now, config_->functions_interval)) {
        ports_.log(log_severity::info, "what functions do to a session can be read again",
                   {{"database", entry.database}, {"user", entry.user}});
    }
}

/// … that it cannot tell, or will not answer any more.
void engine::names_failed(server& s, std::string_view why, time_point now) {
    if (!s.names) {
        return;
    }
    const std::string cause(why);
    s.names.reset();
    auto& entry = *s.pool->entry;
    auto& stats = s.pool->stats();
    stats.catalogue_questions.add();
    stats.catalogue_questions_failed.add();
    if (entry.names->failed(now, config_->functions_interval)) {
        ports_.log(log_severity::warning,
                   "what functions do to a session cannot be read; while that is so, PostgreSQL is "
                   "asked after each transaction, and custom settings made in functions are lost",
                   {{"database", entry.database}, {"user", entry.user}, {"cause", cause}});
    }
    wake_by(entry.names->due());
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
