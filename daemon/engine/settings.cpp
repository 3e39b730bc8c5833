// The settings of a client's session, which follow it from server to server: what a transaction may
// have changed is asked of PostgreSQL when it has ended, and what the client's next server lacks is
// replayed there. The rules are in protocol/setting_changes.hpp, setting_question.hpp and
// setting_replay.hpp; this is where clients and servers meet them.
#include "daemon/engine/engine.hpp"
#include "protocol/sql_lexer.hpp"

#include <algorithm>

namespace pgweir::daemon {

/// What the server carries of other settings is replaced by messages in front of the client's own.
void engine::replay_settings(client& c, server& s, protocol::refused_setting refused) {
    if (opens_for_clients(*s.pool)) {
        // It is as it was opened, but for this.
        protocol::setting_map lacking;
        if (const auto name = c.settings->find("application_name"); name != c.settings->end()) {
            lacking.insert(*name);
        }
        protocol::append_setting_replay(s.out.own(), s.owed, {}, lacking, refused);
    } else {
        protocol::append_setting_replay(s.out.own(), s.owed, *s.carried, *c.settings, refused);
    }
    s.carried = c.settings;
    replays(s);
}

/// Messages that the client's session depends on stand in the outbox.
void engine::replays(server& s) {
    s.replaying = true;
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
    s.question = std::make_unique<protocol::setting_question>(
        c.session.take_changed_settings(), *c.settings, *c.at_start, s.access->user);
    s.question->append(s.out.own(), s.owed);
    s.ready_current = false;
    flush(s);
}

/// PostgreSQL has answered.
void engine::settings_told(server& s) {
    const auto question = std::move(s.question);
    auto* const c = s.user;
    const auto answer = question->result();
    if (c == nullptr) {
        return;
    }
    if (!answer) {
        c->session.settings_unknowable();
        return;
    }
    if (answer->session != *c->settings) {
        c->settings = intern(answer->session);
        if (const auto name = c->settings->find("application_name"); name != c->settings->end()) {
            c->info->application_name = protocol::printable(name->second, 63);
        }
    }
    const auto path = c->settings->find("search_path");
    c->session.search_path_is(path != c->settings->end() ? std::string_view(path->second) : "");
    s.carried = answer->carried == *c->settings ? c->settings : intern(answer->carried);
    c->session.settings_known();
    remember_reported(*c, s.parameters);
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
