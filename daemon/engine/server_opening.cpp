// Opening servers: when the pool grows, how a login succeeds or fails, and what those are told who
// wait for it.
#include "daemon/engine/engine.hpp"

#include <charconv>

namespace pgweir::daemon {

namespace {

/// Asked of the first server of a pool: how many connections PostgreSQL allows at all.
constexpr std::string_view probe = "SELECT pg_catalog.current_setting('max_connections')";

/// Waiting would not help: a direct connection would fail, too.
bool is_hopeless(const connect_failure& why) {
    return why.reason == protocol::server_refused::why::authentication ||
           why.reason == protocol::server_refused::why::no_such_database;
}

} // namespace

void engine::grow(pool_part& part, time_point now) {
    if (shutting_down_) {
        return;
    }
    while (true) {
        const auto decision = part.shard.grow(now);
        if (decision != pool::growth::open_for_waiter &&
            decision != pool::growth::open_for_minimum) {
            break;
        }
        open_server(part, now);
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

void engine::open_server(pool_part& part, time_point now) {
    auto owned = std::make_unique<server>(*this);
    auto& s = *owned;
    s.id = server_id{next_id()};
    s.pool = &part;
    s.task = server_task::connect;
    s.deadline = now + part.shard.bounds().connect_timeout;
    s.carried = no_settings_;
    servers_.emplace(s.id, std::move(owned));
    part.shard.add_connecting(s, now, random_fraction());
    wake_by(s.deadline);
    s.generation = part.entry->generation.load();
    s.access = part.entry->access.load();
    s.socket = ports_.open(s.access->where, s);
}

void server::on_connected(time_point now, boost::system::error_code error) {
    if (task == server_task::connect) {
        if (error) {
            home.open_failed(*this, pool::server_close::connect_failed,
                             {.network = true, .sqlstate = {}, .message = error.message()}, now);
        } else {
            task = server_task::login;
            where = socket->names();
            protocol::server_login::options options;
            options.user = access->user;
            options.database = access->database;
            options.password = access->password;
            // No settings of ours: what such a server reports of itself is what a direct connection
            // would see.
            home.ports_.random(options.nonce);
            if (pool->entry->server_max_connections.load() == 0) {
                options.probe_sql = probe;
            }
            login = std::make_unique<protocol::server_login>(std::move(options));
            home.server_login_step(*this, login->start(), now);
        }
    }
    home.reap();
}

void engine::server_login_step(server& s, protocol::server_login_action action, time_point now) {
    while (true) {
        if (auto* const write = std::get_if<protocol::login_write>(&action)) {
            s.out.own() += write->data;
            if (!flush(s, now)) {
                return; // goes on when the socket takes the rest, or has failed
            }
        } else if (auto* const derive = std::get_if<protocol::login_derive>(&action)) {
            ports_.derive(s.id.value, derive->password, std::move(derive->salt),
                          derive->iterations);
            return;
        } else if (auto* const ready = std::get_if<protocol::server_ready>(&action)) {
            server_logged_in(s, *ready, now);
            return;
        } else if (auto* const refused = std::get_if<protocol::server_refused>(&action)) {
            open_failed(
                s, pool::server_close::login_failed,
                {refused->reason, false, std::move(refused->sqlstate), std::move(refused->message)},
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
    if (!ready.welcome.probe_answers.empty()) {
        const auto& text = ready.welcome.probe_answers.front();
        std::uint32_t allowed = 0;
        std::from_chars(text.data(), text.data() + text.size(), allowed);
        entry.server_max_connections.store(allowed);
    }
    entry.welcome.store(std::make_shared<const protocol::server_welcome>(std::move(ready.welcome)));
    entry.failure.store(nullptr);
    s.pool->stats().server_connects.add();
    if (entry.shared.report_up()) {
        ports_.log(log_severity::info, "PostgreSQL reachable",
                   {{"database", entry.database},
                    {"user", entry.user},
                    {"host", entry.access.load()->where.host},
                    {"port", std::int64_t{entry.access.load()->where.port}}});
    }
    ports_.log(log_severity::debug, "server connected",
               {{"server", static_cast<std::int64_t>(s.id.value)},
                {"database", entry.database},
                {"user", entry.user},
                {"process_id", std::int64_t{s.key.process_id}}});
    auto& part = *s.pool;
    arm_read(s);
    place(s, now);
    grow(part, now); // it works: now for all the others that are needed
    wake_others(part);
}

void engine::open_failed(server& s, pool::server_close reason, connect_failure why, time_point now,
                         bool gone) {
    auto& part = *s.pool;
    auto& entry = *part.entry;
    const bool full = why.reason == protocol::server_refused::why::too_many_connections;
    const bool hopeless = is_hopeless(why);
    const auto& bounds = part.shard.bounds();
    const auto where = entry.access.load()->where;
    if (why.network) {
        why.message = "could not connect to " + where.host + ":" + std::to_string(where.port) +
                      ": " + why.message;
    }
    const auto report = entry.shared.report_failure(full ? pool::ledger::health::full
                                                         : pool::ledger::health::unreachable,
                                                    now, bounds.retry_min, bounds.retry_max);
    if (report.news) {
        ports_.log(log_severity::warning,
                   full ? "PostgreSQL has too many connections" : "PostgreSQL not reachable",
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
    entry.failure.store(std::make_shared<const connect_failure>(std::move(why)));
    if (s.task == server_task::login && !gone) {
        close_server(s, reason, now); // the backend is there until PostgreSQL has closed
    } else {
        part.shard.begin_close(s, reason, now);
        forget_server(s, now);
    }
    fail_waiters(part, now);
    if (hopeless) {
        if (part.stats().clients.load() == 0) {
            part.shard.set_warm(false); // nobody uses it: no endless row of failing logins
        }
    }
    wake_by(now + report.retry_in);
}

void engine::fail_waiters(pool_part& part, time_point now) {
    const auto failure = part.entry->failure.load();
    if (!failure || !is_hopeless(*failure) || part.entry->shared.staying() != 0) {
        return; // it may come back, or those that are open still serve
    }
    while (auto* const waiting = part.shard.oldest_waiter()) {
        auto& c = static_cast<client&>(*waiting);
        part.shard.leave_queue(c);
        protocol::error_words words{
            .message = failure->message, .detail = {}, .hint = {}, .sqlstate = failure->sqlstate};
        if (c.state == client_state::awaiting_welcome) {
            tell_and_close(c, pool::client_close::server_unreachable,
                           protocol::error::server_login_failed, std::move(words), now);
        } else {
            refuse_request(c, protocol::error::server_login_failed, std::move(words), now);
        }
    }
}

} // namespace pgweir::daemon
