// The listening connection: one per pool, on the worker whose client was the first to LISTEN. It
// listens to what clients of all workers listen to, and passes on what it is told.
//
// It is a server like any other, of a pool beside the ordinary one (pool_entry::for_listening) that
// has room for one: opened, logged in, tried again with a back-off, and closed as servers are; but
// it is lent to nobody. Between its loss and the moment when another listens to the same,
// notifications are lost; that is logged and counted.
//
// Tests: integration/listen_test.py.
#include "daemon/engine/engine.hpp"

#include <algorithm>
#include <array>
#include <utility>

namespace pgweir::daemon {

namespace {

// It idles for as long as anybody listens. Which of these there are depends on the version.
constexpr std::string_view no_timeouts =
    "SELECT pg_catalog.set_config(name, '0', false) FROM pg_catalog.pg_settings WHERE name IN "
    "('idle_session_timeout', 'statement_timeout', 'transaction_timeout')";

} // namespace

pool_part& engine::listening_part(const std::shared_ptr<pool_entry>& entry) {
    auto& part = part_of(entry->listening_entry());
    if (!part.listening) {
        part.listening = std::make_unique<listening_connection>();
        part.listening->of = entry;
    }
    return part;
}

void engine::on(time_point now, join_channels& message) {
    auto& part = listening_part(message.entry);
    auto& l = *part.listening;
    protocol::channel_set fresh;
    for (auto& channel : message.channels) {
        if (l.workers.add(channel, message.from)) {
            fresh.insert(std::move(channel));
        }
    }
    auto* const s = find(l.server);
    if (s != nullptr && !fresh.empty()) {
        say(part, *s, protocol::listen_sql(fresh));
    }
    l.joins.push_back(
        {s != nullptr ? l.asked : l.asked + 1, message.from, message.client, message.serial});
    settle_joins(part);
    part.shard.set_warm(true);
    if (s == nullptr) {
        grow(part, now);
    }
    part.stats().channels.set(l.workers.size());
}

void engine::on(time_point now, leave_channels& message) {
    auto& part = listening_part(message.entry);
    auto& l = *part.listening;
    std::string sql;
    for (const auto& channel : message.channels) {
        if (l.workers.remove(channel, message.from)) {
            sql += protocol::unlisten_sql(channel);
        }
    }
    if (auto* const s = find(l.server); s != nullptr && !sql.empty()) {
        say(part, *s, sql);
    }
    if (l.workers.empty()) {
        l.unused_since = now;
        sweep_listening(part, now);
    }
    part.stats().channels.set(l.workers.size());
}

void engine::say(pool_part& part, server& s, std::string_view sql) {
    protocol::append_query(s.out.own(), sql);
    s.owed.sent(protocol::frontend::query, protocol::fate::swallow);
    s.ready_current = false;
    ++part.listening->asked;
    flush(s);
}

/// It has logged in: it listens to all that anybody listens to by now.
void engine::listener_connected(server& s) {
    auto& part = *s.pool;
    auto& l = *part.listening;
    if (find(s.id) == nullptr || s.task != server_task::none) {
        return; // it was not to be kept
    }
    std::array<std::byte, 16> random{};
    ports_.random(random);
    l.fence = protocol::own_channel_prefix;
    for (const auto byte : random) {
        constexpr std::string_view digits = "0123456789abcdef";
        l.fence += digits[std::to_integer<unsigned>(byte) >> 4U];
        l.fence += digits[std::to_integer<unsigned>(byte) & 15U];
    }
    l.server = s.id;
    say(part, s, no_timeouts);
    protocol::channel_set all{l.fence};
    for (auto& channel : l.workers.channels()) {
        all.insert(std::move(channel));
    }
    say(part, s, protocol::listen_sql(all));
    l.first = l.asked;
}

/// What PostgreSQL tells it goes to the workers where somebody listens; fences to whom they are
/// for.
void engine::listener_told(server& s, const protocol::server_step& step, protocol::bytes taken) {
    auto& l = *s.pool->listening;
    const auto frame = taken.last(step.last_frame_bytes);
    const auto told = protocol::read_notification(frame);
    if (!told) {
        return;
    }
    if (told->channel == l.fence) {
        const auto mark = protocol::read_fence(told->payload);
        if (mark && mark->worker < options_.workers) {
            ports_.post({mark->worker}, {fence_passed{client_id{mark->client}, mark->serial}});
        }
        return;
    }
    const auto shared = std::make_shared<const std::string>(protocol::as_text(frame));
    for (const auto worker : l.workers.listeners(told->channel)) {
        ports_.post(worker, {notified{l.of, shared}});
    }
}

/// A ReadyForQuery. False: it is closed.
bool engine::listener_answered(server& s, time_point now) {
    auto& part = *s.pool;
    auto& l = *part.listening;
    if (s.replay_failed) {
        // LISTEN is refused while PostgreSQL recovers, for one.
        const connect_failure why{.reason = protocol::server_refused::why::other_error,
                                  .network = false,
                                  .sqlstate = s.replay_error.sqlstate,
                                  .message = s.replay_error.message};
        wake_by(now + report_unreachable(part, why, now));
        close_server(s, pool::server_close::reset_failed, now);
        return false;
    }
    ++l.answered;
    if (l.answered == l.first) {
        l.listening = true;
        const bool again = l.lost_at != time_point{};
        if (again) {
            const auto gap = now - std::exchange(l.lost_at, {});
            l.of->counters[options_.self.value]->listen_gaps.add();
            ports_.log(log_severity::warning, "listening again, notifications may have been lost",
                       {{"database", l.of->database},
                        {"user", l.of->user},
                        {"channels", static_cast<std::int64_t>(l.workers.size())},
                        {"seconds", std::chrono::duration<double>(gap).count()}});
        }
        tell_workers(part, again);
    }
    settle_joins(part);
    return true;
}

void engine::settle_joins(pool_part& part) {
    auto& l = *part.listening;
    while (l.listening && !l.joins.empty() && l.joins.front().after <= l.answered) {
        const auto& join = l.joins.front();
        ports_.post(join.worker, {channels_joined{join.client, join.serial}});
        l.joins.pop_front();
    }
}

void engine::tell_workers(pool_part& part, bool again) {
    const auto& l = *part.listening;
    for (std::uint32_t w = 0; w < options_.workers; ++w) {
        ports_.post({w}, {listening_state{l.of, l.listening ? l.fence : std::string(), again}});
    }
}

/// It is closing, or gone.
void engine::listener_lost(server& s, time_point now) {
    if (s.pool->entry->is != pool_entry::kind::listening || !s.pool->listening ||
        s.pool->listening->server != s.id) {
        return;
    }
    auto& part = *s.pool;
    auto& l = *part.listening;
    l.server = {};
    l.answered = l.asked;
    for (auto& join : l.joins) {
        join.after = l.asked + 1; // what the next connection says first
    }
    if (std::exchange(l.listening, false) && !l.workers.empty() && !shutting_down_) {
        l.lost_at = now;
        ports_.log(log_severity::warning, "listening connection lost",
                   {{"database", l.of->database},
                    {"user", l.of->user},
                    {"channels", static_cast<std::int64_t>(l.workers.size())}});
    }
    tell_workers(part, false);
}

/// One that nobody needs any more is closed as other servers are.
void engine::sweep_listening(pool_part& part, time_point now) {
    if (!part.listening || !part.listening->workers.empty() || shutting_down_) {
        return;
    }
    part.shard.set_warm(false);
    auto* const s = find(part.listening->server);
    const auto patience = limits_for(*part.listening->of).idle_timeout;
    if (s == nullptr || patience == duration{}) {
        return;
    }
    if (const auto due = part.listening->unused_since + patience; now < due) {
        wake_by(due);
    } else {
        close_server(*s, pool::server_close::idle_timeout, now);
    }
}

} // namespace pgweir::daemon
