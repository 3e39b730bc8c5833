// Servers opened for one client.
//
// pool.reuse: never, and replication: for that client alone, with its own start-up packet, told to
// nobody else, and closed when it leaves. What the client is told at its login is what PostgreSQL
// told the server, word for word; only the key that cancels is ours.
//
// Otherwise in session mode: with the settings that the client asked for, since only a start-up
// packet sets what RESET goes back to. Afterwards it is in the pool, for clients who ask for the
// same (server::opened_with).
//
// Such a server passes from connecting to leased without ever being free; until it has logged in it
// is known to its client by its id only (client_info::opening), since either may end first.
// Tests: tests/simulation (some of the seeds), integration/reuse_test.py, replication_test.py.
#include "daemon/engine/engine.hpp"
#include "daemon/engine/server_password_hint.hpp"

#include <algorithm>
#include <utility>

namespace pgweir::daemon {

/// Whether a server that is opened because somebody waits is opened for that client: it is to keep
/// it (reuse: never), or RESET must go back to what that client asked for at start-up (session
/// mode), and only what was in the start-up packet is gone back to.
bool engine::opens_for_clients(const pool_part& part) {
    const auto& bounds = part.shard.bounds();
    return !bounds.reuse || bounds.mode == pool::pool_mode::session;
}

/// application_name is replayed: nobody minds what RESET makes of it, and it differs everywhere.
std::shared_ptr<const protocol::setting_map>
engine::without_application_name(protocol::setting_map settings) {
    settings.erase("application_name");
    return settings.empty() ? no_settings_ : intern(std::move(settings));
}

/// Would it be for this client as if it had been opened for it?
bool engine::fits(const server& s, const client& c) {
    if (!opens_for_clients(*s.pool)) {
        return true;
    }
    const auto& wanted = *c.settings;
    const auto& has = *s.opened_with;
    return wanted.size() - wanted.count("application_name") == has.size() &&
           std::all_of(has.begin(), has.end(), [&](const auto& setting) {
               const auto found = wanted.find(setting.first);
               return found != wanted.end() && found->second == setting.second;
           });
}

/// The idle server that this client should have.
server* engine::idle_for(const client& c) {
    auto* const next = static_cast<server*>(c.pool->shard.next_idle());
    if (next == nullptr || fits(*next, c)) {
        return next;
    }
    const auto& idle = c.pool->shard.servers(pool::server_state::idle);
    for (auto* one = idle.front(); one != nullptr; one = idle.next(*one)) {
        if (fits(static_cast<server&>(*one), c)) {
            return static_cast<server*>(one);
        }
    }
    return nullptr;
}

/// It does not fit, and there is no room for another: its slot is the client's, which waits for
/// nothing else from now on. So nobody is overtaken, and no more servers close than are needed.
void engine::replace_server(server& s, client& c, time_point now) {
    s.successor = c.id;
    c.info->opening = s.id;
    close_server(s, pool::server_close::other_settings, now);
}

/// Somebody waits at the bound (or PostgreSQL's) while servers are idle that do not fit: the one
/// idle longest goes.
bool engine::replace_idle(pool_part& part, time_point now) {
    auto* const idle = part.shard.servers(pool::server_state::idle).back();
    if (!opens_for_clients(part) || idle == nullptr || part.shard.oldest_waiter() == nullptr) {
        return false;
    }
    auto& c = static_cast<client&>(part.shard.next_to_open_for(now));
    replace_server(static_cast<server&>(*idle), c, now);
    return true;
}

/// The client that is to have the slot of this server, which is gone.
client* engine::take_successor(server& s) {
    auto* const c = find(std::exchange(s.successor, {}));
    if (c == nullptr || c->info->opening != s.id) {
        return nullptr;
    }
    c->info->opening = {};
    return c;
}

/// No server is being opened for it after all: one that fits may have come free meanwhile, or it
/// waits, before all who came later.
void engine::ask_again(client& c, time_point now) {
    auto* const s = idle_for(c);
    if (s == nullptr) {
        c.pool->shard.wait_again(c);
        return;
    }
    c.pool->shard.lease_idle(*s, c, now);
    grant(c, *s, now);
    pump(c, now);
}

/// The shard has taken a slot for its oldest waiter.
void engine::open_own_server(pool_part& part, time_point now) {
    auto& c = static_cast<client&>(part.shard.next_to_open_for(now));
    c.info->opening = open_server(part, now, c.id).id;
}

/// It has logged in.
void engine::own_server_ready(server& s, const protocol::server_welcome& welcome, time_point now) {
    auto& c = *find(s.only_for); // had it gone, the server would be closing
    s.pool->shard.lease_own(s, c.id, now);
    c.info->opening = {};
    c.info->startup.reset();
    c.out.own() += welcome.notices;
    if (s.opened_with) {
        s.only_for = {}; // the pool's from now on
        s.carried = s.opened_with;
        grant(c, s, now);
        if (s.user != nullptr) {
            arm_read(s);
        }
        return;
    }
    c.held = &s;
    s.user = &c;
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
    const protocol::error_words words{.message = why.message,
                                      .detail = {},
                                      .hint = server_password_hint(*s.pool->entry, why),
                                      .sqlstate = why.sqlstate};
    tell_and_close(*c,
                   why.before_login() ? pool::client_close::server_unreachable
                                      : pool::client_close::server_refused,
                   why.code(), words, now);
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
