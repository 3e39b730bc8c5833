// A server carries the statement_timeout of its last client until the next one's settings are in
// effect, and PostgreSQL may strike with it what makes it so: if it has little time, or stands
// still for a moment. Nothing of that is the next client's business.
//
// Settings that go ahead of the client's messages are replayed again when that has happened
// (replay_again()), by calls; there, and where they go by calls at once, the timeout is lifted
// first, as often as PostgreSQL strikes that. The client's own is set last of all.
//
// Tests: integration/others_timeout_test.py, tests/protocol/setting_replay_test.cpp.
#include "daemon/engine/engine.hpp"

#include <utility>

namespace pgweir::daemon {

/// The settings that went ahead have been cancelled, and not for the client.
bool engine::struck_by_others_timeout(const client& c, const server& s,
                                      const protocol::server_step& step) {
    return step.sqlstate == protocol::sqlstate::query_canceled && !s.cancel_asked &&
           s.behind.keeps() && protocol::has_others_timeout(s.behind.carried_before(), *c.settings);
}

/// SET is a transaction of its own, and short: nothing is left of one that was struck.
void engine::lift_timeout(server& s) {
    if (s.timeout_lifts != 0 && s.behind.goes_again()) {
        protocol::append_query(s.out.own(), "ROLLBACK"); // it may have been struck as well
        s.owed.sent(protocol::frontend::query, protocol::fate::swallow);
    }
    protocol::append_query(s.out.own(), protocol::lift_timeout_sql);
    s.owed.sent(protocol::frontend::query, protocol::fate::swallow);
    if (s.discards_sequences) {
        append_discard_sequences(s);
    }
    ++s.timeout_lifts;
    replays(s);
}

/// PostgreSQL has answered. False: there is more to be answered, or it is tried again.
bool engine::timeout_lifted(client& c, server& s) {
    constexpr std::uint8_t most_tries = 20;
    if (s.replay_failed && !s.leaving && s.timeout_lifts < most_tries) {
        s.replay_failed = false;
        lift_timeout(s);
        flush(s);
        return false;
    }
    s.timeout_lifts = 0;
    if (s.replay_failed) {
        return true;
    }
    auto carried = protocol::with_timeout_lifted(*s.carried);
    if (carried == *c.settings) {
        s.carried = c.settings;
        return true;
    }
    s.carried = intern(std::move(carried));
    replay_settings(c, s, protocol::refused_setting::is_told);
    flush(s);
    return false;
}

} // namespace pgweir::daemon
