// idle_session_timeout. A client that has set one, or whose role or database has one, is ended when
// it has idled for so long outside of a transaction, as on a connection of its own. While it keeps
// its server PostgreSQL sees to that itself. Where it holds none, we do: a client that has a limit
// stands in engine::idle_deadlines_ once at most, by the earliest time at which it may be over, and
// is put there anew when that has come and it was not idle all the while. So it pays for that once
// in so long, and others pay one look at a zero.
//
// A server that carries a limit must not be ended while it idles in the pool, nor just when the
// next client is given it. A limit of a second or more is lifted when half of it is over, a shorter
// one before anybody else has the server at all.
//
// Tests: tests/simulation/idle_limits_test.cpp, integration/idle_session_test.py.
#include "daemon/engine/engine.hpp"
#include "protocol/idle_session.hpp"

namespace pgweir::daemon {

namespace {

constexpr auto lift_patience = std::chrono::seconds(10); // one that does not answer is gone
constexpr auto short_limit = std::chrono::seconds(1);

std::chrono::milliseconds idle_limit_of(const server& s) {
    return protocol::idle_limit_of(*s.carried, s.own_idle_limit);
}

/// Half of the server's limit is over then.
time_point lift_at(const server& s, std::chrono::milliseconds limit) {
    return s.ready_at + limit / 2;
}

} // namespace

/// The client's settings are known, or others than before. The server's own limit is the one that
/// new servers have had when the client logged in, or last set something.
void engine::note_idle_limit(client& c) {
    if (!c.settings || c.pool->shard.bounds().mode == pool::pool_mode::session) {
        return; // it keeps a server
    }
    auto& entry = *c.pool->entry;
    c.idle_limit = protocol::idle_limit_of(*c.settings, entry.own_idle_limit.load());
    if (c.idle_limit != duration{}) {
        entry.idle_limited.store(true);
    }
}

/// From now on it idles.
void engine::idle_begins(client& c, time_point now) {
    const auto until = now + c.idle_limit;
    if (c.idle_until != time_point{}) {
        if (c.idle_until <= until) {
            return; // it is looked at then
        }
        idle_deadlines_.erase({c.idle_until, c.id}); // it has set a shorter one
    }
    c.idle_until = until;
    idle_deadlines_.emplace(until, c.id);
    wake_by(until);
}

void engine::forget_idle_limit(client& c) {
    c.idle_limit = {};
    if (c.idle_until != time_point{}) {
        idle_deadlines_.erase({std::exchange(c.idle_until, {}), c.id});
    }
}

void engine::sweep_idle_clients(time_point now) {
    while (!idle_deadlines_.empty() && idle_deadlines_.begin()->first <= now) {
        auto& c = *find(idle_deadlines_.begin()->second);
        idle_deadlines_.erase(idle_deadlines_.begin());
        c.idle_until = {};
        if (c.state != client_state::idle || c.idle_limit == duration{}) {
            continue; // it comes back to idle_begins()
        }
        // Until it has taken its answer PostgreSQL would not have begun to count.
        const bool answered = !c.blocked && !(c.listening && c.listening->holds_ready);
        if (!answered || now - c.state_since < c.idle_limit) {
            idle_begins(c, answered ? c.state_since : now);
            continue;
        }
        tell_and_close(c, pool::client_close::idle_session_timeout,
                       protocol::error::idle_session_timeout, {}, now);
    }
    if (!idle_deadlines_.empty()) {
        wake_by(idle_deadlines_.begin()->first);
    }
}

/// The server is free, but carries a limit that should be lifted first. Then it comes back to
/// place().
bool engine::lift_limit_first(server& s, time_point now) {
    const auto limit = idle_limit_of(s);
    if (limit.count() == 0) {
        return false;
    }
    if (limit >= short_limit && now < lift_at(s, limit)) {
        wake_by(lift_at(s, limit));
        return false;
    }
    s.task = server_task::clean;
    s.deadline = now + lift_patience;
    wake_by(s.deadline);
    s.pool->shard.begin_reset(s, now);
    s.replay_failed = false;
    const auto carried = intern(protocol::without_idle_limit(*s.carried, s.own_idle_limit));
    protocol::append_setting_replay(s.out.own(), s.owed, *s.carried, *carried,
                                    protocol::refused_setting::is_told);
    s.carried = carried;
    s.ready_current = false;
    flush(s);
    arm_read(s);
    return true;
}

void engine::sweep_idle_servers(pool_part& part, time_point now) {
    if (!part.entry->idle_limited.load(std::memory_order_relaxed) || shutting_down_) {
        return;
    }
    std::vector<server*> due; // lifting takes it off the list
    const auto& idle = part.shard.servers(pool::server_state::idle);
    for (auto* at = idle.front(); at != nullptr; at = idle.next(*at)) {
        auto& s = static_cast<server&>(*at);
        const auto limit = idle_limit_of(s);
        if (limit.count() != 0 && lift_at(s, limit) <= now) {
            due.push_back(&s);
        } else if (limit.count() != 0) {
            wake_by(lift_at(s, limit));
        }
    }
    for (auto* const s : due) {
        (void)lift_limit_first(*s, now);
    }
}

} // namespace pgweir::daemon
