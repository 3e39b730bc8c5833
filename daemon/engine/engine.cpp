#include "daemon/engine/engine.hpp"

#include "daemon/engine/cancel_attempt.hpp"

#include <algorithm>
#include <cstring>

namespace pgweir::daemon {

namespace {

constexpr auto drain_cancel_patience = std::chrono::seconds(5);
constexpr auto holders_patience = std::chrono::milliseconds(200);

std::size_t statement_bytes(const config::configuration& config) {
    return std::size_t{config.statement_memory_mib} * 1024 * 1024;
}

} // namespace

engine::engine(options opts, engine_ports& ports,
               std::shared_ptr<const config::configuration> config)
    : options_(std::move(opts))
    , ports_(ports)
    , config_(std::move(config))
    , statements_(options_.statement_key, statement_bytes(*config_))
    , no_settings_(std::make_shared<const protocol::setting_map>()) {
    interned_.emplace(*no_settings_, no_settings_);
    choose_mock_method();
}

engine::~engine() = default;

void engine::accept(time_point now, std::unique_ptr<connection> socket, arrival how) {
    const client_id id{next_id()};
    auto owned = std::make_unique<client>(*this, id, std::move(socket), statements_);
    auto& c = *owned;
    c.over_limit = how.over_limit;
    c.state_since = now;
    c.info = std::make_unique<client_info>();
    c.info->where = c.socket->names();
    c.info->login_place = std::move(how.login_place);
    c.info->awaits_proxy = how.from_proxy;
    c.info->connected_at = now;
    c.settings = c.at_start = no_settings_;
    if (!options_.track_sessions) {
        c.session.leave_untracked();
    }
    protocol::client_login::options login;
    login.method = static_cast<protocol::auth_method>(config_->auth);
    login.mock_secret = options_.mock_secret;
    c.info->offered_tls = options_.client_tls;
    login.tls_offered = c.info->offered_tls != nullptr;
    // No client of PostgreSQL's speaks TLS on a Unix socket, where nobody listens in.
    login.tls_required =
        config_->tls >= config::tls_mode::require && c.info->where.peer != local_peer;
    ports_.random(login.random);
    c.login = std::make_unique<protocol::client_login>(std::move(login));
    c.socket->set_events(&c);
    clients_.emplace(id, std::move(owned));
    counters_.accepted.add();
    counters_.clients.add();
    const auto deadline = now + config_->login_timeout;
    login_deadlines_.emplace(deadline, id);
    wake_by(deadline);
    arm_read(c);
    reap();
}

void engine::on_message(time_point now, engine_message message) {
    std::visit([&](auto& what) { on(now, what); }, message.what);
    reap();
}

void engine::on(time_point now, server_in_transit& message) {
    auto& part = part_of(message.entry);
    auto owned = std::make_unique<server>(*this);
    auto& s = *owned;
    s.id = message.id;
    s.access = std::move(message.access);
    s.generation = message.generation;
    s.created_at = message.created_at;
    s.expires_at = message.expires_at;
    s.ready_at = message.ready_at;
    s.socket = ports_.attach(std::move(message.socket), s);
    s.pool = &part;
    s.task = server_task::none;
    s.ready_current = true;
    s.key = std::move(message.key);
    s.parameters = std::move(message.parameters);
    s.opened_with = intern(std::move(message.opened_with));
    s.carried = intern(std::move(message.carried));
    s.own_idle_limit = message.own_idle_limit;
    s.own_role = std::move(message.own_role);
    s.role_settings = message.role_settings;
    s.statements.restore(message.statements);
    s.sequences_of = message.sequences_of;
    s.sequences.foreign = message.sequences_foreign;
    s.trail = std::move(message.trail);
    s.where = s.socket->names();
    servers_.emplace(s.id, std::move(owned));
    part.shard.adopt(s, now);
    arm_read(s);
    place(s, now);
}

void engine::on(time_point now, ask_idle& message) {
    auto& part = part_of(message.entry);
    if (auto* const s = part.shard.give_idle()) {
        send_to_other(static_cast<server&>(*s), message.from);
        grow(part, now);
    } else if (const auto other = part.shard.whom_else(message.from)) {
        ports_.post(*other, {std::move(message)});
    }
}

void engine::on(time_point now, wake& message) {
    auto& part = part_of(message.entry);
    close_outdated(part, now);
    fail_waiters(part, now);
    grow(part, now);
}

void engine::on(time_point now, ask_holders& message) {
    holders_answer answer{message.on_behalf, holders_of(*message.entry, now)};
    ports_.post(message.from, {std::move(answer)});
}

void engine::on(time_point now, holders_answer& message) {
    const auto found = refusals_.find(message.on_behalf);
    auto* const c = find(message.on_behalf);
    if (found == refusals_.end() || c == nullptr) {
        return;
    }
    auto& pending = found->second;
    pending.who.add(std::move(message.who));
    if (--pending.answers_missing == 0) {
        answer_exhausted(*c, now);
    }
}

void engine::on_derived(time_point now, std::uint64_t ticket, protocol::secret salted_password) {
    if (auto* const c = find(client_id{ticket})) {
        if (c->state == client_state::deriving && c->login) {
            set_state(*c, client_state::login, now);
            login_step(*c, c->login->derived_key(std::move(salted_password)), now);
        }
    } else if (auto* const s = find(server_id{ticket})) {
        if (s->login) {
            server_login_step(*s, s->login->derived_key(std::move(salted_password)), now);
        }
    }
    reap();
}

void engine::on_console(time_point now, client_id who, std::string reply) {
    if (auto* const c = find(who); c != nullptr && c->state == client_state::console) {
        c->out.own() += reply;
        c->query_running = false;
        if (flush(*c, now)) {
            pump(*c, now);
        }
    }
    reap();
}

void engine::reconfigure(time_point now, std::shared_ptr<const config::configuration> config) {
    config_ = std::move(config);
    statements_.set_max_bytes(statement_bytes(*config_));
    choose_mock_method();
    for (auto& [entry, part] : pools_) {
        part->shard.set_limits(limits_for(*entry));
        choose_next_audit(*part);
        close_outdated(*part, now);
        grow(*part, now);
    }
    sweep(now); // servers that are surplus now and idle go at once
}

void engine::warm(time_point now, const std::shared_ptr<pool_entry>& entry) {
    auto& part = part_of(entry);
    entry->shared.keep_warm();
    part.shard.set_warm(true);
    grow(part, now);
    reap();
}

// Time -----------------------------------------------------------------------------------------

void engine::sweep(time_point now) {
    deadline_ = time_point::max();
    sweep_pools(now);
    sweep_servers(now);
    sweep_cancels(now);
    sweep_clients(now);
    reap();
}

void engine::sweep_pools(time_point now) {
    for (auto& [entry, part] : pools_) {
        while (auto* const timed_out = part->shard.next_timed_out(now)) {
            wait_timed_out(static_cast<client&>(*timed_out), now);
        }
        part->shard.sweep(now, [&](pool::server& idle, pool::server_close reason) {
            close_server(static_cast<server&>(idle), reason, now);
        });
        sweep_pins(*part, now);
        sweep_idle_servers(*part, now);
        grow(*part, now);
        learn_when_due(*part, now);
        sweep_listening(*part, now);
        if (shutting_down_) {
            continue; // nothing grows any more, so the time to try again would stay in the past
        }
        if (const auto next = part->shard.next_deadline()) {
            wake_by(*next);
        }
    }
}

void engine::sweep_servers(time_point now) {
    std::vector<server_id> overdue; // handling one may open another: not while iterating
    for (const auto& [id, s] : servers_) {
        if (s->task == server_task::none && !s->waits_for_names()) {
            continue;
        }
        if (s->deadline <= now) {
            overdue.push_back(id);
        } else {
            wake_by(s->deadline);
        }
    }
    for (const auto id : overdue) {
        auto* const s = find(id);
        if (s == nullptr || s->deadline > now) {
            continue; // handling another has moved it on
        }
        if (s->waits_for_names()) {
            names_late(*s, now);
            continue;
        }
        switch (s->task) {
        case server_task::none:
            break;
        case server_task::connect:
        case server_task::login:
            open_failed(*s, pool::server_close::connect_timeout,
                        {.network = true, .sqlstate = {}, .message = "timed out"}, now);
            break;
        case server_task::drain:
            if (!s->drain_cancelled) {
                s->drain_cancelled = true; // it runs for nobody: ask PostgreSQL to stop it
                s->deadline = now + drain_cancel_patience;
                wake_by(s->deadline);
                open_cancel(*s, {}, now);
                break;
            }
            close_server(*s, pool::server_close::client_left, now);
            break;
        case server_task::learn:
            names_given_up(*s, "PostgreSQL does not answer", now);
            close_server(*s, pool::server_close::reset_failed, now);
            break;
        case server_task::audit:
            s->pool->stats().audits.add();
            s->pool->stats().audits_failed.add();
            close_server(*s, pool::server_close::reset_failed, now);
            break;
        case server_task::clean:
        case server_task::settle:
            close_server(*s, pool::server_close::reset_failed, now);
            break;
        case server_task::farewell:
            forget_server(*s, now);
            break;
        }
    }
}

void engine::sweep_clients(time_point now) {
    const auto due = [&](auto& list, auto&& what) {
        while (!list.empty() && list.begin()->first <= now) {
            const auto id = list.begin()->second;
            list.erase(list.begin());
            if (auto* const c = find(id)) {
                what(*c);
            }
        }
        if (!list.empty()) {
            wake_by(list.begin()->first);
        }
    };
    tell_late_refusals(now);
    sweep_idle_clients(now);
    due(login_deadlines_, [&](client& c) {
        if (c.info->late_refusal) {
            return; // it has failed, and is told in a moment
        }
        if (c.state == client_state::login || c.state == client_state::deriving) {
            login_step(c, c.login->timed_out(), now);
        } else if (c.state == client_state::cancelling) {
            end(c, pool::client_close::cancel_request, now);
        }
    });
    due(closing_deadlines_, [&](client& c) {
        if (c.state == client_state::closing) {
            end(c, c.closing_for, now);
        }
    });
    due(leaving_deadlines_, [&](client& c) { leave_unless_taking(c, now); });
    due(look_up_deadlines_, [&](client& c) { leave_look_up(c, now); });
    due(fence_deadlines_, [&](client& c) {
        if (c.listening && c.listening->holds_ready && c.listening->hold_until <= now) {
            release_ready(c, now);
        }
    });
    std::vector<client_id> overdue;
    for (auto& [id, pending] : refusals_) {
        if (pending.deadline <= now) {
            overdue.push_back(id);
        } else {
            wake_by(pending.deadline);
        }
    }
    for (const auto id : overdue) {
        if (auto* const c = find(id)) {
            answer_exhausted(*c, now);
        } else {
            refusals_.erase(id);
        }
    }
}

void engine::wait_timed_out(client& c, time_point now) {
    auto& pending = refusals_[c.id];
    pending.who = holders_of(*c.pool->entry, now);
    pending.answers_missing = options_.workers - 1;
    pending.deadline = now + holders_patience;
    set_state(c, c.state == client_state::awaiting_welcome ? c.state : client_state::refusing, now);
    if (pending.answers_missing == 0) {
        answer_exhausted(c, now);
        return;
    }
    wake_by(pending.deadline);
    for (std::uint32_t w = 0; w < options_.workers; ++w) {
        if (w != options_.self.value) {
            ports_.post({w}, {ask_holders{c.pool->entry, options_.self, c.id}});
        }
    }
}

// Ending -----------------------------------------------------------------------------------------

void engine::begin_shutdown(time_point now) {
    shutting_down_ = true;
    for (auto& [id, owned] : clients_) {
        auto& c = *owned;
        const bool at_rest = c.held == nullptr || c.pool->entry->replication ||
                             verdict(*c.held) == protocol::return_verdict::yes ||
                             verdict(*c.held) == protocol::return_verdict::pinned;
        if (at_rest && c.state != client_state::closing && c.state != client_state::gone &&
            c.state != client_state::cancelling) {
            tell_and_close(c, pool::client_close::shutdown, protocol::error::admin_shutdown, {},
                           now);
        }
    }
    for (auto& [id, owned] : servers_) {
        auto& s = *owned;
        if (s.user == nullptr && (s.task == server_task::none || s.waits_for_names())) {
            close_server(s, pool::server_close::shutdown, now);
        }
    }
    reap();
}

void engine::finish_shutdown(time_point now) {
    for (auto& [id, owned] : clients_) {
        if (owned->state == client_state::cancelling) {
            end(*owned, pool::client_close::shutdown, now); // such a connection is never answered
        } else if (owned->state != client_state::closing && owned->state != client_state::gone) {
            tell_and_close(*owned, pool::client_close::shutdown, protocol::error::admin_shutdown,
                           {}, now);
        }
    }
    for (auto& [id, owned] : servers_) {
        if (owned->task != server_task::farewell) {
            close_server(*owned, pool::server_close::shutdown, now);
        }
    }
    reap();
}

void engine::bury() {
    for (const auto id : ended_clients_) {
        clients_.erase(id);
    }
    for (const auto id : ended_servers_) {
        servers_.erase(id);
    }
    ended_clients_.clear();
    ended_servers_.clear();
    counters_.statement_bytes.set(statements_.held_bytes());
    counters_.statements.set(statements_.size());
}

// Small things -----------------------------------------------------------------------------------

client* engine::find(client_id id) {
    const auto found = clients_.find(id);
    return found == clients_.end() || found->second->state == client_state::gone
               ? nullptr
               : found->second.get();
}

server* engine::find(server_id id) {
    const auto found = servers_.find(id);
    return found == servers_.end() ? nullptr : found->second.get();
}

std::uint64_t engine::next_id() { return std::uint64_t{options_.self.value} << 56 | ++last_id_; }

pool_part& engine::part_of(const std::shared_ptr<pool_entry>& entry) {
    auto& part = pools_[entry.get()];
    if (!part) {
        part = std::make_unique<pool_part>(entry, options_.self, limits_for(*entry));
        choose_next_audit(*part);
    }
    return *part;
}

pool::limits engine::limits_for(const pool_entry& entry) const {
    auto bounds = entry.is == pool_entry::kind::replication
                      ? replication_limits(*config_, entry.database, entry.user)
                  : entry.is == pool_entry::kind::listening
                      ? listening_limits(*config_, entry.database, entry.user)
                      : pool_limits(*config_, entry.database, entry.user);
    bounds.rotate = options_.rotate_servers;
    return bounds;
}

double engine::random_fraction() {
    std::uint32_t value = 0;
    std::array<std::byte, sizeof value> raw;
    ports_.random(raw);
    std::memcpy(&value, raw.data(), sizeof value);
    return static_cast<double>(value) / 4294967296.0;
}

std::shared_ptr<const protocol::setting_map> engine::intern(protocol::setting_map map) {
    if (interned_.size() >= intern_limit_) {
        std::erase_if(interned_, [](const auto& item) { return item.second.expired(); });
        intern_limit_ = 2 * interned_.size() + 64;
    }
    auto& known = interned_[map];
    auto shared = known.lock();
    if (!shared) {
        shared = std::make_shared<const protocol::setting_map>(std::move(map));
        known = shared;
    }
    return shared;
}

std::string_view to_string(client_state state) {
    switch (state) {
    case client_state::login:
    case client_state::deriving:
        return "login";
    case client_state::awaiting_welcome:
        return "waiting";
    case client_state::idle:
        return "idle";
    case client_state::waiting:
        return "waiting";
    case client_state::active:
        return "active";
    case client_state::refusing:
    case client_state::discarding:
        return "refused";
    case client_state::console:
        return "console";
    case client_state::cancelling:
        return "active_cancel_req";
    case client_state::closing:
        return "closing";
    case client_state::gone:
        return "gone";
    }
    return "?";
}

std::string_view to_string(server_task task) {
    switch (task) {
    case server_task::none:
        return "none";
    case server_task::connect:
        return "connect";
    case server_task::login:
        return "login";
    case server_task::drain:
        return "drain";
    case server_task::clean:
        return "clean";
    case server_task::settle:
        return "being_canceled";
    case server_task::learn:
        return "learn";
    case server_task::audit:
        return "audit";
    case server_task::farewell:
        return "closing";
    }
    return "?";
}

} // namespace pgweir::daemon
