// Opening servers: when the pool grows, how a login succeeds or fails, and what those are told who
// wait for it.
#include "daemon/engine/engine.hpp"
#include "daemon/engine/server_password_hint.hpp"
#include "protocol/idle_session.hpp"

#include <algorithm>
#include <charconv>

namespace pgweir::daemon {

namespace {

/// Asked of each server: how many connections PostgreSQL allows at all, how long its session may
/// idle where nobody has set anything, which role it is and what that and the database have set, of
/// which a hash will do, and which role it begins with. (The role may have a search_path with
/// operators of its own.)
constexpr std::string_view probe =
    "VALUES (pg_catalog.current_setting('max_connections')), "
    "(pg_catalog.current_setting('idle_session_timeout', true)), " // PostgreSQL 14
    "((SELECT pg_catalog.hashtextextended(pg_catalog.concat((SELECT oid FROM pg_catalog.pg_roles "
    "WHERE rolname OPERATOR(pg_catalog.=) SESSION_USER), ' ', pg_catalog.string_agg("
    "pg_catalog.concat_ws(' ', setdatabase, setrole, setconfig), '' "
    "ORDER BY setdatabase, setrole)), 0) FROM pg_catalog.pg_db_role_setting "
    "WHERE setdatabase OPERATOR(pg_catalog.=) ANY (ARRAY[0::pg_catalog.oid, (SELECT oid "
    "FROM pg_catalog.pg_database WHERE datname OPERATOR(pg_catalog.=) "
    "pg_catalog.current_database())]) AND setrole OPERATOR(pg_catalog.=) "
    "ANY (ARRAY[0::pg_catalog.oid, (SELECT oid FROM pg_catalog.pg_roles "
    "WHERE rolname OPERATOR(pg_catalog.=) SESSION_USER)]))::pg_catalog.text), "
    "(pg_catalog.current_setting('role'))";

using refused_for = protocol::server_refused::why;

/// PostgreSQL has answered, and does not want this user, or has no such database.
bool is_refusal(const connect_failure& why) {
    return why.reason == refused_for::authentication || why.reason == refused_for::no_such_database;
}

/// Waiting would not help: a direct connection would fail, too.
bool is_hopeless(const connect_failure& why) {
    return is_refusal(why) || why.reason == refused_for::encryption;
}

/// PostgreSQL does answer, but what this client asks for it refuses.
bool is_about_the_client(const connect_failure& why) {
    return is_refusal(why) || (!why.network && why.reason == refused_for::other_error);
}

/// Not as parameters of their own: a client may have called one "user" or "replication", and those
/// are no settings there. As options they are, whatever their names.
std::string as_options(const protocol::setting_map& settings) {
    std::string text;
    for (const auto& [name, value] : settings) {
        text += text.empty() ? "-c " : " -c ";
        text += name + '=';
        for (const char c : value) {
            if (c == '\\' || c == ' ' || (c >= '\t' && c <= '\r')) {
                text += '\\';
            }
            text += c;
        }
    }
    return text;
}

void take_probe(server& s, const std::vector<std::string>& answers) {
    if (answers.size() < 2) {
        return;
    }
    auto& entry = *s.pool->entry;
    std::uint32_t allowed = 0;
    std::from_chars(answers[0].data(), answers[0].data() + answers[0].size(), allowed);
    entry.server_max_connections.store(allowed, std::memory_order_relaxed);
    const auto limit = protocol::read_milliseconds(answers[1]);
    s.own_idle_limit = limit.value_or(std::chrono::milliseconds(0));
    if (answers.size() > 3 && !answers[3].empty()) {
        s.own_role = answers[3];
    }
    if (!s.only_for) { // else it may be that client's
        entry.own_idle_limit.store(s.own_idle_limit);
    }
    if (s.own_idle_limit.count() != 0 && entry.is == pool_entry::kind::clients) {
        entry.idle_limited.store(true);
    }
}

} // namespace

void engine::grow(pool_part& part, time_point now) {
    if (shutting_down_) {
        return;
    }
    while (true) {
        const auto decision = part.shard.grow(now);
        if (decision == pool::growth::others_first) {
            wake_by(std::max(now + part.shard.bounds().migration_margin,
                             part.entry->shared.next_try()));
        }
        const bool no_room =
            decision == pool::growth::at_bound || decision == pool::growth::server_full;
        if (no_room && replace_idle(part, now)) {
            continue;
        }
        if (decision == pool::growth::server_full) {
            ask_for_room(part, now);
        }
        if (decision != pool::growth::open_for_waiter &&
            decision != pool::growth::open_for_minimum) {
            break;
        }
        if (decision == pool::growth::open_for_waiter && opens_for_clients(part)) {
            open_own_server(part, now);
        } else {
            open_server(part, now);
        }
    }
    if (const auto other = part.shard.whom_to_ask()) {
        ports_.post(*other, {ask_idle{part.entry, options_.self}});
    }
    if (const auto next = part.shard.next_deadline()) {
        wake_by(*next);
    }
}

void engine::wake_others(pool_part& part) {
    part.shard.wake_others([&](worker_index other) { ports_.post(other, {wake{part.entry}}); });
}

server& engine::open_server(pool_part& part, time_point now, client_id only_for) {
    auto owned = std::make_unique<server>(*this);
    auto& s = *owned;
    s.id = server_id{next_id()};
    s.only_for = only_for;
    if (part.entry->replication) {
        s.owed.expect_copy_both();
    }
    s.pool = &part;
    s.task = server_task::connect;
    s.deadline = now + part.shard.bounds().connect_timeout;
    s.opened_with = s.carried = no_settings_;
    if (const auto* const c = find(only_for)) {
        s.opened_with = c->info->startup ? nullptr : without_application_name(*c->settings);
    }
    servers_.emplace(s.id, std::move(owned));
    part.shard.add_connecting(s, now, random_fraction());
    wake_by(s.deadline);
    s.generation = part.entry->generation.load();
    s.access = part.entry->access.load();
    s.sslmode = s.access->sslmode;
    s.socket = ports_.open(s.access->where, s);
    return s;
}

protocol::server_login::options engine::login_options(const server& s) {
    protocol::server_login::options result;
    result.user = s.access->user;
    result.database = s.access->database;
    result.password = s.access->password;
    result.keys = s.access->keys;
    result.tls = s.sslmode;
    result.direct_tls = s.access->direct_tls;
    result.binding = s.access->binding;
    ports_.random(result.nonce);
    if (s.only_for && !s.opened_with) {
        // Its own start-up packet, and nothing else: what PostgreSQL makes of it is what a direct
        // connection would see.
        const auto& startup = *find(s.only_for)->info->startup;
        result.replication = startup.replication;
        result.settings = startup.settings;
        return result;
    }
    if (s.pool->entry->is == pool_entry::kind::listening) {
        result.settings.emplace_back("client_encoding", std::string(listening_encoding));
    }
    if (!s.opened_with->empty()) {
        result.settings.emplace_back("options", as_options(*s.opened_with));
    }
    // For the pool, none: what such a server reports of itself is what a direct connection without
    // any would see.
    result.probe_sql = probe;
    return result;
}

void server::on_connected(time_point now, boost::system::error_code error) {
    left_socket.reset();
    if (task == server_task::connect) {
        if (error) {
            home.open_failed(*this, pool::server_close::connect_failed,
                             {.network = true, .sqlstate = {}, .message = error.message()}, now);
        } else {
            task = server_task::login;
            where = socket->names();
            login = std::make_unique<protocol::server_login>(home.login_options(*this));
            home.server_login_step(*this, login->start(), now);
        }
    }
    home.reap();
}

void server::on_secured(time_point now, const protocol::tls_facts* facts,
                        const protocol::tls_failure& failure) {
    if (login) {
        secured = facts != nullptr;
        home.server_login_step(
            *this, secured ? login->secured(*facts) : login->handshake_failed(failure), now);
    }
    home.reap();
}

/// What the mode of TLS allows for: another try, with TLS or without. The server keeps its slot.
void engine::open_again(server& s, protocol::tls_mode mode) {
    s.sslmode = mode;
    s.opened_again = true;
    s.secured = s.reading = s.blocked = false;
    s.login.reset();
    s.in.use(s.in.held() ? s.in.size() : 0);
    s.out = outbox();
    s.task = server_task::connect;
    s.socket->set_events(nullptr);
    s.left_socket = std::move(s.socket); // we may be inside a call from it
    s.socket = ports_.open(s.access->where, s);
}

void engine::server_login_step(server& s, protocol::server_login_action action, time_point now) {
    while (true) {
        if (auto* const write = std::get_if<protocol::login_write>(&action)) {
            s.out.own() += write->data;
            if (!flush(s)) {
                return; // goes on when the socket takes the rest, or has failed
            }
        } else if (auto* const derive = std::get_if<protocol::login_derive>(&action)) {
            ports_.derive(s.id.value, *derive, s.access);
            return;
        } else if (const auto* const tls = std::get_if<protocol::login_start_tls>(&action)) {
            s.socket->secure({.context = s.access->tls,
                              .direct = tls->direct,
                              .server_name = s.access->where.host});
            return;
        } else if (auto* const ready = std::get_if<protocol::server_ready>(&action)) {
            server_logged_in(s, *ready, now);
            return;
        } else if (auto* const refused = std::get_if<protocol::server_refused>(&action)) {
            using retry = protocol::server_refused::retry;
            if (refused->again != retry::none && !s.opened_again) {
                open_again(s, refused->again == retry::with_tls ? protocol::tls_mode::require
                                                                : protocol::tls_mode::disable);
                return;
            }
            open_failed(s, pool::server_close::login_failed,
                        {refused->reason, false, std::move(refused->sqlstate),
                         std::move(refused->message), std::move(refused->response)},
                        now);
            return;
        } else {
            if (s.in.held() && s.in.full()) {
                buffers_.grow(s.in);
            }
            arm_read(s);
            return;
        }
        auto rest = s.in.held() ? s.in.unused() : protocol::bytes{};
        const auto before = rest.size();
        action = s.login->resume(rest);
        if (before != rest.size()) {
            s.in.use(before - rest.size());
        }
    }
}

void engine::server_logged_in(server& s, protocol::server_ready& ready, time_point now) {
    auto& entry = *s.pool->entry;
    s.key = ready.welcome.key;
    s.parameters = ready.welcome.parameters;
    s.task = server_task::none;
    s.login.reset();
    s.ready_current = true;
    s.status = protocol::transaction_status::idle;
    s.ready_at = now;
    take_probe(s, ready.welcome.probe_answers);
    if (ready.welcome.probe_answers.size() > 2) {
        take_role_settings(s, ready.welcome.probe_answers[2]);
    }
    if (!s.only_for) { // else it is what it is because of that client's settings
        entry.welcome.store(std::make_shared<const protocol::server_welcome>(ready.welcome));
    }
    entry.failure.store(nullptr);
    s.pool->stats().server_connects.add();
    if (audits_closely(*s.pool)) {
        s.trail = std::make_unique<audit_trail>(true);
    }
    report_reachable(entry);
    ports_.log(log_severity::debug, "server connected",
               {{"server", static_cast<std::int64_t>(s.id.value)},
                {"database", entry.database},
                {"user", entry.user},
                {"process_id", std::int64_t{s.key.process_id}}});
    auto& part = *s.pool;
    if (s.only_for) {
        own_server_ready(s, ready.welcome, now);
    } else {
        arm_read(s);
        place(s, now);
    }
    if (part.listening) {
        listener_connected(s);
    }
    grow(part, now); // it works: now for all the others that are needed
    wake_others(part);
}

void engine::report_reachable(pool_entry& entry) {
    if (entry.shared.report_up()) {
        ports_.log(log_severity::info, "PostgreSQL reachable",
                   {{"database", entry.database},
                    {"user", entry.user},
                    {"host", entry.access.load()->where.host},
                    {"port", std::int64_t{entry.access.load()->where.port}}});
    }
}

/// Tells all workers, and the log if it is news. When to try again.
duration engine::report_unreachable(pool_part& part, const connect_failure& why, time_point now) {
    auto& entry = *part.entry;
    const bool full = protocol::server_refused::is_too_many(why.reason);
    const auto& bounds = part.shard.bounds();
    const auto report = entry.shared.report_failure(full ? pool::ledger::health::full
                                                         : pool::ledger::health::unreachable,
                                                    now, bounds.retry_min, bounds.retry_max);
    if (report.news) {
        const auto where = entry.access.load()->where;
        ports_.log(log_severity::warning,
                   full              ? "PostgreSQL has too many connections"
                   : is_refusal(why) ? "PostgreSQL cannot be logged in to"
                                     : "PostgreSQL not reachable",
                   {{"database", entry.database},
                    {"user", entry.user},
                    {"host", where.host},
                    {"port", std::int64_t{where.port}},
                    {"cause", why.message},
                    {"sqlstate", why.sqlstate},
                    {"maxconn", std::int64_t{bounds.maxconn}},
                    {"open", std::int64_t{entry.shared.taken()} - 1},
                    {"max_connections", std::int64_t{entry.server_max_connections.load()}}});
    }
    entry.failure.store(std::make_shared<const connect_failure>(why));
    return report.retry_in;
}

void engine::open_failed(server& s, pool::server_close reason, connect_failure why, time_point now,
                         bool gone) {
    auto& part = *s.pool;
    if (why.before_login()) {
        const auto where = part.entry->access.load()->where;
        why.message = "could not connect to " + where.host + ":" + std::to_string(where.port) +
                      ": " + why.message;
    }
    if (s.only_for && is_about_the_client(why)) {
        report_reachable(*part.entry);
    } else {
        wake_by(now + report_unreachable(part, why, now));
    }
    if (s.task == server_task::login && !gone) {
        close_server(s, reason, now); // the backend is there until PostgreSQL has closed
    } else {
        part.shard.begin_close(s, reason, now);
        forget_server(s, now);
    }
    if (s.only_for && (!s.opened_with || is_about_the_client(why))) {
        own_server_failed(s, why, now);
        return;
    }
    if (auto* const c = s.only_for ? find(s.only_for) : nullptr;
        c != nullptr && c->info->opening == s.id) {
        c->info->opening = {};
        ask_again(*c, now);
        grow(part, now); // its slot may have gone to somebody else
    }
    fail_waiters(part, now);
    ask_for_room(part, now);
    if (is_hopeless(why) && part.stats().clients.load() == 0 && !part.listening) {
        part.shard.set_warm(false); // nobody uses it: no endless row of failing logins
    }
}

void engine::fail_waiters(pool_part& part, time_point now) {
    const auto failure = part.entry->failure.load();
    if (!failure || !is_hopeless(*failure) || part.entry->shared.staying() != 0) {
        return; // it may come back, or those that are open still serve
    }
    const auto hint = server_password_hint(*part.entry, *failure);
    while (auto* const waiting = part.shard.oldest_waiter()) {
        auto& c = static_cast<client&>(*waiting);
        part.shard.leave_queue(c);
        protocol::error_words words{
            .message = failure->message, .detail = {}, .hint = hint, .sqlstate = failure->sqlstate};
        if (c.state == client_state::awaiting_welcome) {
            tell_and_close(c, pool::client_close::server_unreachable, failure->code(),
                           std::move(words), now);
        } else {
            refuse_request(c, failure->code(), std::move(words), now);
        }
    }
}

} // namespace pgweir::daemon
