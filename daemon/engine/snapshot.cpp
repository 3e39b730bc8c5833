// Rows for whoever asks, log lines for every end, and the invariants that can be checked from
// inside.
#include "daemon/engine/cancel_attempt.hpp"
#include "protocol/statement_redact.hpp"

#include <algorithm>
#include <iterator>
#include <utility>

namespace pgweir::daemon {

namespace {

constexpr std::size_t logged_statement_bytes = 500;

std::string lease_state(const server& s, const client& c) {
    if (!s.ready_current) {
        return "active";
    }
    switch (s.status) {
    case protocol::transaction_status::in_transaction:
        return "idle in transaction";
    case protocol::transaction_status::failed:
        return "idle in transaction (aborted)";
    case protocol::transaction_status::idle:
        break;
    }
    return c.session.pinned() ? "idle, pinned: " + pins_text(c.session.pins()) : "idle";
}

double seconds(duration value) { return std::chrono::duration<double>(value).count(); }

} // namespace

std::string pins_text(std::uint16_t pins) {
    std::string text;
    for (unsigned bit = 1; bit <= pins; bit <<= 1U) {
        if ((pins & bit) != 0) {
            text += text.empty() ? "" : ", ";
            text += protocol::to_string(static_cast<protocol::pin_reason>(bit));
        }
    }
    return text;
}

std::vector<lease_row> engine::lease_rows(time_point now, const pool_entry* only,
                                          bool with_statements) const {
    std::vector<lease_row> rows;
    for (const auto& [entry, part] : pools_) {
        if (only != nullptr && entry != only) {
            continue;
        }
        const auto& leased = part->shard.servers(pool::server_state::leased);
        for (auto* at = leased.front(); at != nullptr; at = leased.next(*at)) {
            const auto& s = static_cast<const server&>(*at);
            if (s.user == nullptr) {
                continue;
            }
            const auto& c = *s.user;
            lease_row row;
            row.database = entry->database;
            row.user = entry->user;
            row.application_name = c.info->application_name;
            row.client_address = c.info->where.peer;
            row.client_port = c.info->where.peer_port;
            row.client_id = c.id.value;
            row.server_id = s.id.value;
            row.server_process_id = s.key.process_id;
            row.held = now - s.state_since;
            row.in_state = now - (c.query_running ? c.query_started : c.transaction_started);
            row.state = lease_state(s, c);
            if (with_statements) {
                row.statement =
                    protocol::redact_statement(s.running.text(), logged_statement_bytes);
            }
            rows.push_back(std::move(row));
        }
    }
    return rows;
}

void holders::add(holders others) {
    std::move(others.leases.begin(), others.leases.end(), std::back_inserter(leases));
    awaiting_cancel += others.awaiting_cancel;
    resetting += others.resetting;
    connecting += others.connecting;
    closing += others.closing;
}

holders engine::holders_of(const pool_entry& entry, time_point now) const {
    holders who;
    who.leases = lease_rows(now, &entry, false);
    const auto found = pools_.find(&entry);
    if (found == pools_.end()) {
        return who;
    }
    const auto& shard = found->second->shard;
    const auto& resetting = shard.servers(pool::server_state::resetting);
    for (auto* at = resetting.front(); at != nullptr; at = resetting.next(*at)) {
        ++(static_cast<const server&>(*at).cancels_in_flight != 0 ? who.awaiting_cancel
                                                                  : who.resetting);
    }
    const auto count = [&](pool::server_state state) {
        return static_cast<std::uint32_t>(shard.servers(state).size());
    };
    who.connecting = count(pool::server_state::connecting);
    who.closing = count(pool::server_state::closing);
    return who;
}

std::vector<client_row> engine::client_rows(time_point now) const {
    std::vector<client_row> rows;
    rows.reserve(clients_.size());
    for (const auto& [id, owned] : clients_) {
        const auto& c = *owned;
        client_row row;
        row.database = c.info->database;
        row.user = c.info->user;
        row.application_name = c.info->application_name;
        row.replication = c.info->replication;
        row.state = to_string(c.state);
        row.address = c.info->where.peer;
        row.port = c.info->where.peer_port;
        row.local_address = c.info->where.local;
        row.local_port = c.info->where.local_port;
        row.connected_for = now - c.info->connected_at;
        row.requested_ago = now - c.state_since;
        row.waited = c.waiting ? now - c.waiting_since : duration{};
        row.id = id.value;
        row.server_id = c.held != nullptr ? c.held->id.value : 0;
        row.process_id = c.held != nullptr ? c.held->key.process_id : 0;
        rows.push_back(std::move(row));
    }
    return rows;
}

std::vector<server_row> engine::server_rows(time_point now) const {
    std::vector<server_row> rows;
    rows.reserve(servers_.size());
    for (const auto& [id, owned] : servers_) {
        const auto& s = *owned;
        server_row row;
        row.database = s.pool->entry->database;
        row.user = s.pool->entry->user;
        row.application_name = s.user != nullptr ? s.user->info->application_name : std::string();
        row.replication =
            s.user != nullptr ? s.user->info->replication : protocol::replication_kind::none;
        const bool listens = s.pool->listening && s.state == pool::server_state::idle;
        row.state = s.cancels_in_flight != 0                    ? "being_canceled"
                    : listens                                   ? "listening"
                    : s.state == pool::server_state::leased     ? "active"
                    : s.state == pool::server_state::connecting ? "login"
                                                                : pool::to_string(s.state);
        row.address = s.where.peer;
        row.port = s.where.peer_port;
        row.local_address = s.where.local;
        row.local_port = s.where.local_port;
        row.connected_for = now - s.created_at;
        row.requested_ago = now - s.state_since;
        row.close_needed = s.state == pool::server_state::closing || now >= s.expires_at;
        row.id = id.value;
        row.client_id = s.user != nullptr ? s.user->id.value : 0;
        row.process_id = s.key.process_id;
        rows.push_back(std::move(row));
    }
    return rows;
}

std::vector<pool_row> engine::pool_rows(time_point now) const {
    std::vector<pool_row> rows;
    for (const auto& [entry, part] : pools_) {
        if (entry->is != pool_entry::kind::clients) {
            continue; // beside the pools
        }
        const auto& shard = part->shard;
        pool_row row;
        row.database = entry->database;
        row.user = entry->user;
        row.mode = shard.bounds().mode;
        const auto& stats = *entry->counters[options_.self.value];
        const auto narrow = [](std::uint64_t n) { return static_cast<std::uint32_t>(n); };
        row.clients_waiting = shard.waiting();
        row.clients_active = narrow(stats.clients.load()) - row.clients_waiting;
        row.servers_active = shard.count(pool::server_state::leased);
        const auto& resetting = shard.servers(pool::server_state::resetting);
        for (auto* at = resetting.front(); at != nullptr; at = resetting.next(*at)) {
            const bool settles = static_cast<const server&>(*at).task == server_task::settle;
            ++(settles ? row.servers_being_canceled : row.servers_tested);
        }
        for (const auto& attempt : cancels_) {
            const auto target = servers_.find(attempt->target);
            if (!attempt->finished && target != servers_.end() &&
                target->second->pool == part.get()) {
                ++row.servers_cancelling;
                row.clients_cancelling += static_cast<std::uint32_t>(
                    std::ranges::count_if(attempt->for_whom, [](const route_cancel& request) {
                        return bool{request.on_behalf}; // else one of our own
                    }));
            }
        }
        row.servers_idle = shard.count(pool::server_state::idle);
        row.servers_login = shard.count(pool::server_state::connecting);
        if (const auto* const oldest = shard.waiters().front()) {
            row.longest_wait = now - oldest->waiting_since;
        }
        rows.push_back(std::move(row));
    }
    return rows;
}

std::vector<std::string> engine::broken_invariants() const {
    std::vector<std::string> broken;
    const auto check = [&](bool holds, std::string what) {
        if (!holds) {
            broken.push_back(std::move(what));
        }
    };
    for (const auto& [id, c] : clients_) {
        const auto name = "client " + std::to_string(id.value) + ": ";
        check(c->held == nullptr || c->held->user == c.get(), name + "its server is another's");
        check(c->waiting == (c->linked()), name + "waits, but in no queue");
        check(!c->waiting || c->held == nullptr, name + "waits while it holds a server");
        check(c->state != client_state::active || c->held != nullptr,
              name + "active without server");
        check(c->state != client_state::idle || c->held == nullptr, name + "idle with a server");
        check(c->in.capacity() <= large_buffer_bytes, name + "buffer beyond the bound");
    }
    for (const auto& [id, s] : servers_) {
        const auto name = "server " + std::to_string(id.value) + ": ";
        const bool leased = s->state == pool::server_state::leased;
        check(s->user == nullptr || leased || s->task == server_task::farewell,
              name + "has a client but is not leased");
        check(s->user == nullptr || s->user->held == s.get(), name + "its client has another");
        const bool serves = s->task == server_task::none || s->task == server_task::drain ||
                            s->task == server_task::clean;
        check(!serves || s->ready_current || !s->owed.empty() || s->owed.batch_open() ||
                  s->owed.in_doubt(),
              name + "waits for a ReadyForQuery that nobody owes");
        check(!s->waits_for_names() || s->user != nullptr || s->task == server_task::learn,
              name + "is nobody's and waits for what names hide");
        check(!s->names || s->state != pool::server_state::idle,
              name + "idle and asked what names hide");
        check(!s->only_for || s->user == nullptr || s->user->id == s->only_for,
              name + "serves another client than the one it was opened for");
        check(!s->only_for || s->state != pool::server_state::idle,
              name + "was opened for one client and is in the pool");
        if (s->state == pool::server_state::idle) {
            check(s->user == nullptr && s->task == server_task::none, name + "idle but busy");
            check(s->pool->listening || (s->owed.empty() && s->out.empty() && s->in.empty() &&
                                         !s->stream.inside_message()),
                  name + "idle but owes or is owed something");
            check(s->status == protocol::transaction_status::idle, name + "idle in a transaction");
            check(s->cancels_in_flight == 0, name + "idle with a cancel under way");
            check(!s->dirty, name + "idle and dirty");
            check(s->reading, name + "idle and not listened to");
        }
    }
    return broken;
}

// Log
// ----------------------------------------------------------------------------------------------

void engine::log_client_end(const client& c, pool::client_close reason, time_point now) {
    const bool ordinary = reason == pool::client_close::terminate ||
                          reason == pool::client_close::eof ||
                          reason == pool::client_close::cancel_request;
    if (reason == pool::client_close::cancel_request ||
        (ordinary && !config_->log_disconnections)) {
        return;
    }
    ports_.log(log_severity::info, "client closed",
               {{"client", static_cast<std::int64_t>(c.id.value)},
                {"reason", pool::to_string(reason)},
                {"database", c.info->database},
                {"user", c.info->user},
                {"address", c.info->where.peer},
                {"port", std::int64_t{c.info->where.peer_port}},
                {"seconds", seconds(now - c.info->connected_at)}});
}

void engine::log_server_end(const server& s, pool::server_close reason, time_point now) {
    ports_.log(log_severity::info, "server closed",
               {{"server", static_cast<std::int64_t>(s.id.value)},
                {"reason", pool::to_string(reason)},
                {"database", s.pool->entry->database},
                {"user", s.pool->entry->user},
                {"process_id", std::int64_t{s.key.process_id}},
                {"seconds", seconds(now - s.created_at)}});
}

/// A thousand clients that wait in vain are one line, with one of their stories.
void engine::log_wait_timeout(pool_part& part, const protocol::error_words& told, time_point now) {
    constexpr auto apart = std::chrono::seconds(5);
    ++part.timeouts_unlogged;
    if (now < part.next_timeout_line) {
        return;
    }
    ports_.log(log_severity::warning, "wait timeout",
               {{"database", part.entry->database},
                {"user", part.entry->user},
                {"clients", static_cast<std::int64_t>(part.timeouts_unlogged)},
                {"cause", told.message},
                {"holders", told.detail}});
    part.timeouts_unlogged = 0;
    part.next_timeout_line = now + apart;
}

void engine::log_slow(const server& s, const client& c, std::string_view what, duration took) {
    ports_.log(
        log_severity::warning, what,
        {{"client", static_cast<std::int64_t>(c.id.value)},
         {"database", c.info->database},
         {"user", c.info->user},
         {"application_name", c.info->application_name},
         {"seconds", seconds(took)},
         {"statement", protocol::redact_statement(s.running.text(), logged_statement_bytes)}});
}

} // namespace pgweir::daemon
