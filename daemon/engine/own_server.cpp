// Servers opened for one client alone: with its own start-up packet, told to nobody else, and
// closed when it leaves. What the client is told at its login is what PostgreSQL told the server,
// word for word; only the key that cancels is ours. (pool.reuse: never)
//
// Such a server passes from connecting to leased without ever being free; until it has logged in it
// is known to its client by its id only (client_info::opening), since either may end first.
// Tests: tests/simulation (some of the seeds), integration/reuse_test.py, replication_test.py.
#include "daemon/engine/engine.hpp"

namespace pgweir::daemon {

/// The shard has taken a slot for its oldest waiter.
void engine::open_own_server(pool_part& part, time_point now) {
    auto& c = static_cast<client&>(part.shard.next_to_open_for(now));
    c.info->opening = open_server(part, now, c.id).id;
}

/// It has logged in.
void engine::own_server_ready(server& s, const protocol::server_welcome& welcome, time_point now) {
    auto& c = *find(s.only_for); // had it gone, the server would be closing
    s.pool->shard.lease_own(s, c.id, now);
    c.held = &s;
    s.user = &c;
    c.info->opening = {};
    c.info->startup.reset();
    c.out.own() += welcome.notices;
    send_welcome(c, s.parameters, now);
    if (s.user != nullptr) {
        relay(s, now); // what came right behind its login
    }
    if (s.user != nullptr) {
        arm_read(s);
    }
}

/// It could not be opened or did not let us in; its client hears why.
void engine::own_server_failed(server& s, const connect_failure& why, time_point now) {
    auto* const c = find(s.only_for);
    if (c == nullptr || c->info->opening != s.id) {
        return;
    }
    c->info->opening = {};
    if (!why.response.empty()) {
        c->out.own() += why.response;
        close_when_sent(*c, pool::client_close::server_refused, now);
        return;
    }
    const protocol::error_words words{
        .message = why.message, .detail = {}, .hint = {}, .sqlstate = why.sqlstate};
    tell_and_close(
        *c,
        why.network ? pool::client_close::server_unreachable : pool::client_close::server_refused,
        why.network ? protocol::error::server_unreachable : protocol::error::server_login_failed,
        words, now);
}

/// A replication client that would have to wait until another one leaves is told so: those stay for
/// days. (It does wait for one that is just leaving, and for PostgreSQL to be back.)
void engine::refuse_beyond_bound(client& c, time_point now) {
    const auto& entry = *c.pool->entry;
    const auto most = c.pool->shard.bounds().maxconn;
    if (!c.waiting || entry.shared.staying() < most) {
        return;
    }
    c.pool->stats().exhausted.add();
    tell_and_close(
        c, pool::client_close::pool_exhausted, protocol::error::too_many_replication,
        {.message = "too many replication connections for database \"" + entry.database + "\"",
         .detail = "All " + std::to_string(most) + " (max_replication) are in use.",
         .hint = "Raise max_replication."},
        now);
}

/// Its client leaves before it has logged in.
void engine::stop_opening(client& c, time_point now) {
    if (auto* const s = find(std::exchange(c.info->opening, {}))) {
        close_server(*s, pool::server_close::session_ended, now);
    }
}

} // namespace pgweir::daemon
