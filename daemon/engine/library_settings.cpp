// Settings that a library has refused which this server has loaded (protocol/lenient_replay.hpp):
// the client goes on without them, as in a session that loads it. Where what it asked for was sent
// behind them PostgreSQL has looked at none of that, and it is sent again. The same where another's
// statement_timeout has struck them (others_timeout.cpp).
//
// Tests: integration/library_settings_test.py, others_timeout_test.py.
#include "daemon/engine/engine.hpp"

#include <utility>

namespace pgweir::daemon {

void engine::sent_behind_settings(server& s, protocol::bytes sent) {
    if (s.ahead == settings_ahead::batch_open && s.owed.owed_ready(protocol::fate::forward) != 0 &&
        !s.owed.may_skip()) {
        s.ahead = settings_ahead::batch_ended; // not by a Query behind other messages
    }
    if (s.ahead != settings_ahead::none) {
        s.behind.append(sent);
    }
}

/// The settings that went ahead have been refused, perhaps by a library, or another's
/// statement_timeout has struck: each is tried by itself, and what the client has asked for waits.
/// False: that is not why, or cannot be done.
bool engine::replay_again(client& c, server& s, const protocol::server_step& step) {
    const bool curable =
        protocol::may_be_librarys_refusal(step.sqlstate) || struck_by_others_timeout(c, s, step);
    if (step.fatal || s.told_to_end || !s.behind.keeps() || !curable || c.stream.inside_message() ||
        !s.out.empty() || s.owed.in_doubt()) {
        return false;
    }
    if (!s.owed.swallow_ready()) { // there is none yet: it skips everything until one comes
        protocol::message_writer(s.out.own()).begin(protocol::frontend::sync).end();
        s.owed.sent(protocol::frontend::sync, protocol::fate::swallow);
    }
    protocol::append_query(s.out.own(), "ROLLBACK");
    s.owed.sent(protocol::frontend::query, protocol::fate::swallow);
    s.ahead = settings_ahead::none;
    s.kept_statements.settings = 0; // which of them it has got to know is not looked at
    s.carried = s.behind.send_again();
    replay_settings(c, s, protocol::refused_setting::is_told);
    if (s.discards_sequences && s.timeout_lifts == 0) {
        append_discard_sequences(s);
    }
    flush(s);
    return true;
}

/// Each has been answered. False: they are tried once more.
bool engine::each_setting_tried(client& c, server& s) {
    const auto replay = std::move(s.lenient);
    drop_settings(c, s, *replay);
    if (!replay->left_over()) {
        return true;
    }
    // What somebody else has set is still there. This takes it off, whoever may set it; of the
    // client itself there is nothing here yet.
    protocol::append_query(s.out.own(), "RESET ALL");
    s.owed.sent(protocol::frontend::query, protocol::fate::swallow);
    s.carried = intern(protocol::left_by_reset_all(*c.settings));
    replay_settings(c, s, protocol::refused_setting::is_told);
    flush(s);
    return false;
}

void engine::drop_settings(client& c, server& s, const protocol::lenient_replay& replay) {
    if (replay.dropped().empty()) {
        return;
    }
    for (const auto& name : replay.dropped()) {
        ports_.log(log_severity::info, "setting dropped",
                   {{"client", static_cast<std::int64_t>(c.id.value)},
                    {"database", c.info->database},
                    {"user", c.info->user},
                    {"setting", name},
                    {"cause", s.replay_error.message}});
    }
    const auto without = [&](const protocol::setting_map& settings) {
        auto left = protocol::without(settings, replay.dropped());
        return left.empty() ? no_settings_ : intern(std::move(left));
    };
    c.at_start = without(*c.at_start);
    c.settings = without(*c.settings);
    s.carried = c.settings;
}

/// What was sent behind settings that have been refused is sent again. False: not all of it yet.
bool engine::send_batch_again(client& c, server& s) {
    while (s.behind.goes_again()) {
        if (s.withholds() || s.names || s.blocked) {
            return false;
        }
        const auto in = s.behind.unsent();
        const auto step = s.trail ? forward_and_record(c, s, in) : forward(c, s, in);
        s.retryable_next = false; // it is not in the client's buffer
        s.out.copy_pieces();
        s.ready_current = s.ready_current && s.owed.empty() && !s.owed.batch_open();
        s.behind.sent_again(step.taken_bytes);
        flush(s);
        if (step.why == protocol::client_step::stop::channels_first && !channels_first(c, s)) {
            return false;
        }
        if (step.taken_bytes == 0) {
            return !s.behind.goes_again();
        }
    }
    return true;
}

} // namespace pgweir::daemon
