// What the names in a database hide (protocol/name_effects.hpp) is read by servers of its pools:
// the first one before anybody is given it, any that idles when it is due again, and the one on
// which a client has just made something that hides more. In that case the client, and nobody else,
// waits for the answer. Where it cannot be read soon, nobody waits (database_names.hpp).
//
// The worker collects the answer's rows and does not look into them: that is the control plane's
// (names_reading.hpp). Where nobody is to be given a free server before it is known what names
// hide, the server, or the client that has it, waits for that, too, with a bound of its own;
// whoever leaves or is closed meanwhile just goes. Otherwise the server is free as soon as
// PostgreSQL has answered.
//
// Tests: tests/simulation, tests/daemon/database_names_test.cpp, integration/functions_test.py.
#include "daemon/engine/apart.hpp"
#include "daemon/engine/engine.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace pgweir::daemon {

namespace {

// PostgreSQL gives up by itself. A server that does not even say so is gone.
constexpr auto silence = std::chrono::seconds(1);
// Threads are short, or busy with other databases: better served on suspicion than late.
constexpr auto reading_patience = std::chrono::seconds(1);

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
/// `due`: it is time to look, whether anything is known to have changed or not.
void engine::learn_names(server& s, bool due, time_point now) {
    s.task = server_task::learn;
    s.deadline = now + s.pool->entry->names->patience() + silence;
    wake_by(s.deadline);
    s.pool->shard.begin_reset(s, now);
    put_names_question(s, due);
    arm_read(s);
}

void engine::put_names_question(server& s, bool due) {
    auto& names = *s.pool->entry->names;
    s.names = std::make_unique<names_question>();
    s.names->put = names.ask();
    s.names->due = due;
    {
        const apart transaction(s);
        protocol::append_hidden_effects_question(s.out.own(), s.owed, names.patience());
    }
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
    learn_names(s, overdue, now);
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
        learn_names(static_cast<server&>(*idle.back()), true, now);
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
        put_names_question(s, false);
    }
}

/// PostgreSQL has answered. What it has said is read elsewhere.
void engine::names_told(server& s, time_point now) {
    if (const auto& failure = s.names->answer.failure(); !failure.empty()) {
        names_given_up(s, failure, now);
        return;
    }
    s.pool->stats().catalogue_questions.add();
    auto& entry = s.pool->entry;
    const auto put = s.names->put;
    const bool due = s.names->due;
    const bool told = !due && entry->names->answers(put); // by another server, meanwhile
    if (!told && !shutting_down_) {
        s.names->at = names_question::step::being_read;
        s.deadline = now + reading_patience;
        ports_.read_names(s.id, {entry, put, due, config_->functions_interval,
                                 std::exchange(s.names->answer, {})});
        if (entry->names->awaited()) {
            wake_by(s.deadline);
            return;
        }
    }
    s.names.reset();
}

void engine::on_names_read(time_point now, server_id asked, const names_outcome& what) {
    auto& part = part_of(what.entry);
    if (!what.failure.empty()) {
        names_failed(part, what.failure, now);
    } else if (what.again) {
        ports_.log(log_severity::info, "what functions do to a session can be read again",
                   {{"database", what.entry->database}, {"user", what.entry->user}});
    }
    // It may have been given to somebody since, and asked again.
    if (auto* const s = find(asked);
        s != nullptr && s->waits_for_names() && s->names->put.serial == what.serial) {
        s->names.reset();
        maybe_give_back(*s, now);
    }
    reap();
}

/// What PostgreSQL has said has not been read yet. Nobody waits any longer; it counts when it is.
void engine::names_late(server& s, time_point now) {
    if (s.pool->entry->names->awaited()) {
        names_failed(*s.pool, "reading takes too long", now);
    }
    s.names.reset();
    maybe_give_back(s, now);
}

/// Nothing more will come from this server. What it has said in full is read all the same.
void engine::names_given_up(server& s, std::string_view why, time_point now) {
    if (s.asked_about_names()) {
        s.pool->stats().catalogue_questions.add();
        names_failed(*s.pool, why, now);
    }
    s.names.reset();
}

/// It cannot be told what names hide.
void engine::names_failed(pool_part& part, std::string_view why, time_point now) {
    auto& entry = *part.entry;
    part.stats().catalogue_questions_failed.add();
    if (entry.names->failed(now, config_->functions_interval)) {
        ports_.log(log_severity::warning,
                   "what functions do to a session cannot be read; while that is so, PostgreSQL is "
                   "asked after each transaction, and custom settings made in functions are lost",
                   {{"database", entry.database}, {"user", entry.user}, {"cause", why}});
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
