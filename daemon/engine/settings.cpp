// The settings of a client's session, which follow it from server to server: what a transaction may
// have changed is asked of PostgreSQL when it has ended, and what the client's next server lacks is
// replayed there. The rules are in protocol/setting_changes.hpp, setting_question.hpp and
// setting_replay.hpp; this is where clients and servers meet them.
#include "daemon/engine/apart.hpp"
#include "daemon/engine/engine.hpp"
#include "protocol/idle_session.hpp"
#include "protocol/sql_lexer.hpp"
#include "protocol/statement_names.hpp"
#include "protocol/statement_scan.hpp"

#include <algorithm>
#include <utility>

namespace pgweir::daemon {

namespace {

/// Between the settings that go ahead of the client's first message, and that, a Sync of ours may
/// have to stand (statement_router, sequence_memory, channel_use). Behind it the client's message
/// would be carried out although the settings have been refused.
bool may_need_sync_between(const client& c) {
    const auto in = c.in.held() ? c.in.unused() : protocol::bytes{};
    if (in.empty() || c.listening ||
        in[0] == static_cast<std::byte>(protocol::frontend::function_call)) {
        return true;
    }
    if (in[0] != static_cast<std::byte>(protocol::frontend::query)) {
        return false;
    }
    const auto sql = protocol::statement_at(in);
    const bool has_names = c.statements.has_names();
    const auto effects = protocol::scan(sql, true);
    return (effects & (protocol::reads_sequences |
                       protocol::bit_of(protocol::pin_reason::sql_statement))) != 0 ||
           (has_names &&
            (protocol::may_name_statements(sql) || (effects & protocol::lists_statements) != 0));
}

void note_permitted(pool_part& part, const protocol::setting_map& settings) {
    constexpr std::size_t most = 1'000; // applications make up names
    if (part.permitted.size() + settings.size() > most) {
        part.permitted.clear();
    }
    for (const auto& [name, value] : settings) {
        part.permitted.insert(name);
    }
}

} // namespace

/// What the server carries of other settings is replaced by messages in front of the client's own.
void engine::give_settings(client& c, server& s) {
    const bool requests_follow = c.state != client_state::awaiting_welcome;
    const bool shared =
        !opens_for_clients(*s.pool) && !s.only_for; // or what is sent is not looked at
    if (requests_follow && shared && !may_need_sync_between(c) &&
        protocol::append_settings_ahead(s.out.own(), s.owed, *s.carried, *c.settings,
                                        s.kept_statements.settings)) {
        const auto before = std::exchange(s.carried, c.settings);
        if (!s.owed.empty()) {
            if (protocol::may_be_librarys(*before, *c.settings) ||
                protocol::has_others_timeout(*before, *c.settings)) {
                s.behind.keep(before);
            }
            s.ahead = settings_ahead::batch_open;
            s.reports_due = c.reported != nullptr;
            s.ready_current = false;
        }
        return;
    }
    replay_settings(c, s,
                    requests_follow ? protocol::refused_setting::ends_server
                                    : protocol::refused_setting::is_told);
}

/// The same by calls.
void engine::replay_settings(client& c, server& s, protocol::refused_setting refused) {
    if (opens_for_clients(*s.pool)) {
        // It is as it was opened, but for this, and that its own limit was lifted while it idled.
        protocol::setting_map has, lacking;
        if (const auto lifted = s.carried->find(protocol::idle_session_timeout);
            lifted != s.carried->end() && lifted->second == "0") {
            has.insert(*lifted);
        }
        if (const auto name = c.settings->find("application_name"); name != c.settings->end()) {
            lacking.insert(*name);
        }
        protocol::append_setting_replay(s.out.own(), s.owed, has, lacking, refused);
    } else if (protocol::has_others_timeout(*s.carried, *c.settings)) {
        lift_timeout(s); // timeout_lifted() comes back to this
        return;
    } else if (refused == protocol::refused_setting::is_told ||
               protocol::may_be_librarys(*s.carried, *c.settings)) {
        s.lenient = std::make_unique<protocol::lenient_replay>(*s.carried, *c.settings, s.out.own(),
                                                               s.owed);
    } else {
        protocol::append_setting_replay(s.out.own(), s.owed, *s.carried, *c.settings, refused);
    }
    s.carried = c.settings;
    replays(s);
}

/// PostgreSQL has refused what went ahead of the client's messages, and has looked at none of them.
/// A library may have, then the rest is tried; another's statement_timeout, then they are replayed
/// without it; was it cancelled, then that was meant for what the client has asked; else the
/// client's session cannot be what it was. False: the server is closed.
bool engine::settings_refused(server& s, const protocol::server_step& step, time_point now) {
    auto* const c = s.user;
    if (c != nullptr && replay_again(*c, s, step)) {
        return true;
    }
    s.replay_failed = true; // it is going to be closed
    s.leaving = s.leaving || step.fatal;
    if (c == nullptr) {
        close_server(s, pool::server_close::reset_failed, now);
        return false;
    }
    const auto words = protocol::words_of(protocol::as_bytes(step.error));
    if (step.sqlstate != protocol::sqlstate::query_canceled || step.fatal) {
        tell_and_close(*c, pool::client_close::setting_refused, protocol::error::setting_refused,
                       words, now);
        return false;
    }
    const bool ended = s.ahead == settings_ahead::batch_ended;
    const bool whole = ended && !c->stream.inside_message();
    if (protocol::destroys_unnamed_statement(s.running.front())) {
        c->statements.unnamed_refused();
    }
    c->out.copy_pieces();
    set_state(*c, whole ? client_state::idle : client_state::discarding, now);
    detach(*c, s, now);
    close_server(s, pool::server_close::reset_failed, now);
    protocol::append_error(c->out.own(), protocol::error::query_canceled, words);
    if (whole) {
        protocol::append_ready_for_query(c->out.own(), protocol::transaction_status::idle);
    } else {
        c->stream.discard_rest(!ended);
    }
    if (flush(*c, now)) {
        pump(*c, now);
    }
    return false;
}

/// What the server has reported since the client was last told may have been an answer to others,
/// or to us: a parameter that was changed for everybody is reported once.
void engine::owe_reports(const client& c, server& s) {
    if (s.reports_due || c.reported == nullptr || s.reported == c.reported) {
        return;
    }
    if (s.reported == nullptr && !s.replaying) {
        s.reported = intern(protocol::setting_map(s.parameters.begin(), s.parameters.end()));
    }
    s.reports_due = s.reported != c.reported;
}

/// PostgreSQL reports what the settings that went ahead have changed just before ReadyForQuery, the
/// client's, with what the client itself has changed since; and nothing where that is what was
/// reported before. The client is told of what is not as it was told last; what is returned is
/// still to be passed on.
protocol::bytes engine::report_before_ready(client& c, server& s, const protocol::server_step& step,
                                            protocol::bytes taken) {
    s.reports_due = false;
    const auto& known = *c.reported;
    if (std::equal(known.begin(), known.end(), s.parameters.begin(), s.parameters.end())) {
        return taken;
    }
    if (const auto before = taken.first(taken.size() - step.last_frame_bytes); !before.empty()) {
        c.out.pass(before);
    }
    for (const auto& [name, value] : s.parameters) {
        const auto told = known.find(name);
        if (told == known.end() || told->second != value) {
            protocol::append_parameter_status(c.out.own(), name, value);
            s.parameters_touched = true;
        }
    }
    return taken.last(step.last_frame_bytes);
}

/// Messages that the client's session depends on stand in the outbox.
void engine::replays(server& s) {
    s.replaying = true;
    s.apart = true; // it may be a transaction
    s.replay_ready_owed = s.owed.owed_ready(protocol::fate::swallow);
    s.ready_current = false;
}

/// PostgreSQL has reported settings that the text of no statement speaks of: they were changed from
/// a function, or for everybody.
void engine::notice_parameters(client& c, server& s) {
    if (!s.parameters_touched || !s.ready_current ||
        s.status != protocol::transaction_status::idle) {
        return;
    }
    s.parameters_touched = false;
    const auto& changes = c.session.changed_settings();
    if (c.reported == nullptr || changes.unknown || changes.all_reset) {
        return;
    }
    for (const auto& [name, value] : s.parameters) {
        const auto known = c.reported->find(name);
        const bool changed = known == c.reported->end() || known->second != value;
        if (changed && !changes.names.contains(protocol::lower_case(name))) {
            c.session.suspect_settings();
            return;
        }
    }
}

/// A transaction has ended that may have changed settings: PostgreSQL is asked which. Until it has
/// answered the client keeps the server.
void engine::ask_about_settings(client& c, server& s) {
    if (!c.session.settings_to_ask() || !may_be_asked(c, s)) {
        return;
    }
    const auto& changes = c.session.changed_settings();
    if (changes.only_hidden_reset() && c.at_start->empty()) {
        return; // whatever was reset is the server's own
    }
    s.question = std::make_unique<protocol::setting_question>(
        c.session.take_changed_settings(), *c.settings, *c.at_start, s.own_identity());
    s.question->expect_trial(s.pool->permitted);
    if (!s.reports_due) {
        remember_reported(c, s.parameters); // what is reported in the answers is not told
        s.reported = c.reported;
    }
    {
        const apart transaction(s);
        s.question->append(s.out.own(), s.owed);
    }
    s.ready_current = false;
    flush(s);
}

/// What the server carries may be such as cannot be set on another.
bool engine::try_elsewhere(server& s, const protocol::setting_map& carried) {
    if (!s.question->may_try_elsewhere(carried, s.pool->permitted)) {
        return false;
    }
    {
        const apart transaction(s);
        s.question->try_elsewhere(carried, s.out.own(), s.owed);
    }
    s.ready_current = false;
    flush(s);
    return true;
}

/// PostgreSQL has answered.
void engine::settings_told(server& s) {
    auto* const c = s.user;
    const auto answer = s.question->result();
    const bool known = c != nullptr && answer && !s.question->start_up_in_doubt();
    const bool at_rest = known && may_be_asked(*c, s);
    if (at_rest && try_elsewhere(s, answer->carried)) {
        return; // and comes back to this
    }
    const auto question = std::move(s.question);
    if (c == nullptr) {
        return;
    }
    if (!answer) {
        c->session.settings_unknowable();
        return;
    }
    const bool untried = !at_rest && question->tried().empty() &&
                         !protocol::settings_to_try(answer->carried, s.pool->permitted).empty();
    if (question->start_up_in_doubt() || untried) {
        c->session.settings_doubted(question->changes());
        return; // it is asked again
    }
    if (answer->session != *c->settings) {
        c->settings = intern(answer->session);
        note_idle_limit(*c);
        if (const auto name = c->settings->find("application_name"); name != c->settings->end()) {
            c->info->application_name = protocol::printable(name->second, 63);
        }
    }
    const auto path = c->settings->find("search_path");
    c->session.search_path_is(path != c->settings->end() ? std::string_view(path->second) : "");
    s.carried = answer->carried == *c->settings ? c->settings : intern(answer->carried);
    if (!question->stays()) {
        note_permitted(*s.pool, question->tried());
        c->session.settings_known();
    }
    if (s.carried != c->settings) {
        replay_settings(*c, s, protocol::refused_setting::ends_server);
        s.restoring = true;
        flush(s);
    }
}

/// RESET has reported the server's own values, and the replay behind it has set the client's: of
/// that it is told as well.
void engine::report_restored(client& c, const server& s) {
    for (const auto& [name, value] : s.parameters) {
        const auto known = c.reported->find(name);
        if (known == c.reported->end() || known->second != value) {
            protocol::append_parameter_status(c.out.own(), name, value);
        }
    }
    remember_reported(c, s.parameters);
}

/// What the client has been told of its settings (ParameterStatus).
void engine::remember_reported(client& c, const std::map<std::string, std::string>& parameters) {
    if (c.reported == nullptr ||
        !std::equal(c.reported->begin(), c.reported->end(), parameters.begin(), parameters.end())) {
        c.reported = intern(protocol::setting_map(parameters.begin(), parameters.end()));
    }
}

} // namespace pgweir::daemon
