// What servers send: relayed to the clients that hold them, frame by frame, without copying; what
// answers messages of our own is dropped. After each batch it is decided whether the server may go
// back to the pool.
#include "daemon/engine/apart.hpp"
#include "daemon/engine/engine.hpp"
#include "daemon/engine/role_settings.hpp"
#include "protocol/reported_parameters.hpp"
#include "protocol/stale_statement.hpp"
#include "protocol/statement_redact.hpp"

#include <algorithm>
#include <utility>

namespace pgweir::daemon {

void server::on_read(time_point now, std::size_t count, boost::system::error_code error) {
    home.server_read(*this, count, error, now);
    home.reap();
}

void server::on_readable(time_point) {
    home.buffers_.provide(in, bulk);
    socket->read(in.room());
}

void server::on_writable(time_point now) {
    blocked = false;
    if (home.flush(*this)) {
        if (login) {
            auto nothing = protocol::bytes{};
            home.server_login_step(*this, login->resume(nothing), now);
        } else if (user != nullptr) {
            home.pump(*user, now);
            if (user != nullptr && ready_current) {
                home.maybe_give_back(*this, now); // the rest of a failed COPY has been sent
            }
        }
    }
    home.reap();
}

void engine::server_read(server& s, std::size_t count, boost::system::error_code error,
                         time_point now) {
    s.reading = false;
    if (error || count == 0) {
        server_gone(s, error ? pool::server_close::network_error : pool::server_close::server_eof,
                    error, now);
        return;
    }
    s.bulk = count == s.in.room().size() || (s.bulk && count > small_buffer_bytes);
    s.in.filled(count);
    s.pool->stats().bytes_from_servers.add(count);
    if (s.task == server_task::farewell) {
        s.in.use(s.in.size());
        arm_read(s);
        return;
    }
    if (s.login) {
        auto rest = s.in.unused();
        const auto before = rest.size();
        auto action = s.login->resume(rest);
        s.in.use(before - rest.size());
        server_login_step(s, std::move(action), now);
        return;
    }
    relay(s, now);
    if (s.gone || s.reading || s.pinned_bytes != 0) {
        return;
    }
    arm_read(s);
}

/// Takes all that has been read and can be passed on now.
void engine::relay(server& s, time_point now) {
    auto* const c = s.user;
    if (s.pinned_bytes != 0 || (c != nullptr && c->blocked) || !s.in.held()) {
        return; // back-pressure: the client has not taken the last of it
    }
    const auto in = s.in.unused();
    std::size_t used = 0;
    bool more = !in.empty();
    bool settings_in_effect = false; // since now: the client may send more
    while (more) {
        const auto step = s.stream.next(in.subspan(used), used == 0 && s.in.full(), s.owed);
        if (step.describes) [[unlikely]] { // in front of its outcome
            description_told(s, step, in.subspan(used, step.taken_bytes));
        }
        if (!s.owed.outcomes().empty()) {
            settle_statements(s);
        }
        const auto taken = in.subspan(used, step.taken_bytes);
        used += step.taken_bytes;
        if (s.ahead != settings_ahead::none && !s.owed.next_is_swallowed() &&
            step.why != protocol::server_step::stop::error) {
            s.ahead = settings_ahead::none;
            s.behind.forget();
            settings_in_effect = true;
        }
        const bool waited_for = s.withholds();
        more = relay_step(s, step, taken, now) && used != in.size() &&
               step.why != protocol::server_step::stop::exhausted;
        settings_in_effect = settings_in_effect || (waited_for && !s.withholds());
        if (more && c != nullptr && !c->out.has_room()) {
            break; // many small swallowed answers between forwarded ones: send what there is
        }
    }
    if (s.task == server_task::farewell) {
        return; // it has been closed meanwhile
    }
    if (c != nullptr && s.user != c) {
        return; // the client has been sent away
    }
    if (c != nullptr && c->out.has_pieces()) {
        s.pinned_bytes = used;
        if (!flush(*c, now) && (c->state == client_state::gone || s.user != c)) {
            return;
        }
    } else {
        s.in.use(used);
        if (c != nullptr && !c->out.empty() && !flush(*c, now) && s.user != c) {
            return;
        }
    }
    if (settings_in_effect && c != nullptr && (s.behind.goes_again() || !c->in.empty())) {
        pump(*c, now); // what it has sent behind its first batch goes to this server as well
        if (s.user != c || s.task == server_task::farewell) {
            return;
        }
    }
    if (s.pinned_bytes == 0 && more) {
        relay(s, now);
        return;
    }
    maybe_give_back(s, now);
}

/// But for what is still in its buffers, this server's client could be without it.
bool engine::done_with(const server& s) const {
    return s.status == protocol::transaction_status::idle && s.owed.empty() &&
           !s.user->session.pinned() && s.pool->shard.bounds().mode != pool::pool_mode::session;
}

/// One stretch of bytes. False when the server is no longer to be read from.
bool engine::relay_step(server& s, const protocol::server_step& step, protocol::bytes taken,
                        time_point now) {
    auto* const c = s.user;
    using stop = protocol::server_step::stop;
    const bool reported_later =
        step.why == stop::parameter && s.reports_due; // report_before_ready()
    if (reported_later) {
        taken = taken.first(taken.size() - step.last_frame_bytes);
    }
    // A parameter that changes because of settings we replay is news to us, not to the client; and
    // to one that has not been welcomed nothing is news.
    const bool ours = step.where == protocol::fate::swallow ||
                      (step.why == stop::parameter && s.owed.next_is_swallowed()) ||
                      (c != nullptr && c->state == client_state::awaiting_welcome);
    // A server that ends when its client is already done with it ends on its own account: a client
    // between two transactions never hears of it.
    const bool leaves_alone = step.why == stop::error && step.fatal && c != nullptr && !ours &&
                              s.ready_current && done_with(s);
    if (!ours && !leaves_alone && c != nullptr && !taken.empty()) {
        if (step.why == stop::error &&
            protocol::says_results_changed(protocol::as_bytes(step.error))) [[unlikely]] {
            note_results_changed(*c, s);
        }
        if (s.retryable.held()) {
            if (step.why == stop::error && send_once_more(*c, s, step, taken)) {
                return true;
            }
            buffers_.give_back(s.retryable); // what has been answered is not sent again
        }
        pass_answer(*c, s, step, taken, now);
    }
    switch (step.why) {
    case stop::exhausted:
    case stop::fate_changed:
        return true;
    case stop::command:
        command_done(s, step.tag, ours, now);
        return true;
    case stop::notification:
        if (s.pool->listening) {
            listener_told(s, step, taken);
        }
        return true;
    case stop::result:
        take_result(s, step, taken);
        return true;
    case stop::parameter:
        if (!parameter_reported(s, step, ours, reported_later)) {
            close_server(s, pool::server_close::desync, now);
            return false;
        }
        return true;
    case stop::error:
        return relay_error(s, step, ours, leaves_alone, now);
    case stop::ready:
        return relay_ready(s, step, ours, now);
    case stop::desync:
        close_server(s, pool::server_close::desync, now);
        return false;
    }
    return true;
}

/// What answers the client, with what is to go in front of it.
void engine::pass_answer(client& c, server& s, const protocol::server_step& step,
                         protocol::bytes taken, time_point now) {
    using stop = protocol::server_step::stop;
    if (step.why == stop::error) {
        pass_error(c, step, taken);
        return;
    }
    if (step.why == stop::notification) {
        pass_notification(c, step, taken);
        return;
    }
    if (step.why == stop::ready && s.reports_due) {
        taken = report_before_ready(c, s, step, taken);
    }
    if (step.why == stop::ready && c.listening) {
        pass_ready(c, s, step, taken, now);
    } else {
        c.out.pass(taken);
    }
}

/// ParameterStatus. What stands in an answer of ours in a transaction block is news to the client
/// all the same: there only what puts back what RESET has undone changes any (start_up_settings).
/// False: it is more than any PostgreSQL reports.
bool engine::parameter_reported(server& s, const protocol::server_step& step, bool ours,
                                bool reported_later) {
    s.reported = nullptr;
    if (!protocol::note_parameter(s.parameters, step.name, step.value)) {
        return false;
    }
    const bool put_back =
        ours && s.user != nullptr && s.status == protocol::transaction_status::in_transaction;
    if (put_back) {
        protocol::append_parameter_status(s.user->out.own(), step.name, step.value);
    }
    s.parameters_touched = s.parameters_touched || put_back || !(ours || reported_later);
    s.reports_due =
        s.reports_due || (ours && !put_back && s.user != nullptr && s.user->reported != nullptr);
    return true;
}

/// A row, or what a function has returned, for whatever we have asked.
void engine::take_result(server& s, const protocol::server_step& step, protocol::bytes taken) {
    if (step.describes) {
        return; // description_told()
    }
    if (s.asked_about_names()) {
        s.names->answer.take_row(step.result);
    } else if (s.errand == channel_errand::ask) {
        if (auto channel = protocol::channel_in(step.result)) {
            s.channels_told.insert(std::move(*channel));
        } else {
            s.errand_failed = true;
        }
    } else if (s.question) {
        s.question->take(
            static_cast<protocol::backend>(taken[taken.size() - step.last_frame_bytes]),
            step.result);
    } else if (s.pin_question) {
        s.pin_question->take(step.result);
    } else if (s.audit) {
        s.audit->take(static_cast<protocol::backend>(taken[taken.size() - step.last_frame_bytes]),
                      step.result);
    }
}

bool engine::relay_error(server& s, const protocol::server_step& step, bool ours, bool leaves_alone,
                         time_point now) {
    auto* const c = s.user;
    if (ours && s.ahead != settings_ahead::none) {
        return settings_refused(s, step, now);
    }
    if (step.fatal) {
        s.leaving = true;
        s.said_fatal = c != nullptr && !ours && !leaves_alone;
        if (c == nullptr && s.task == server_task::none) {
            close_server(s, pool::server_close::server_fatal, now); // not to be handed out
            return false;
        }
    }
    if (!ours && c != nullptr && c->listening) {
        c->listening->channels.failed();
    }
    if (ours && s.asked_about_names()) {
        s.names->answer.fail(protocol::words_of(protocol::as_bytes(step.error)).message);
    } else if (ours && s.errand != channel_errand::none) {
        s.errand_failed = true;
    } else if (ours && s.question) {
        s.question->fail();
    } else if (ours && s.pin_question) {
        s.pin_question->fail();
    } else if (ours && s.audit) {
        s.audit->fail();
    } else if (ours && (s.replaying || s.task == server_task::clean || s.pool->listening)) {
        s.replay_error = protocol::words_of(protocol::as_bytes(step.error));
        s.replay_failed = s.replay_failed || step.fatal || !s.lenient ||
                          !s.lenient->take_error(step.sqlstate, s.replay_error.message);
    } else if (c != nullptr && !ours) {
        s.pool->stats().errors_by_class[pool::stats::class_index(step.sqlstate)].add();
        note_dropped_role(s, step, ports_);
        c->session.statement_failed();
    }
    return true;
}

bool engine::relay_ready(server& s, const protocol::server_step& step, bool ours, time_point now) {
    auto* const c = s.user;
    const bool says_nothing = apart::takes_ready(s, step.status, ours);
    s.ready_at = now;
    if (s.tables_changed && s.status == protocol::transaction_status::idle) {
        s.tables_changed = false;
        s.pool->entry->names->epoch.fetch_add(1, std::memory_order_relaxed);
    }
    if (c != nullptr && !ours && c->session.has_hidden_something()) [[unlikely]] {
        note_hidden(*c, s);
    }
    if (s.owed.empty() && !s.owed.batch_open()) {
        s.ready_current = true;
        if (c != nullptr && c->statements.was_busy()) {
            c->statements.at_rest();
        }
        if (c != nullptr && s.status == protocol::transaction_status::idle) {
            c->session.at_rest();
        }
    }
    if (s.pool->listening) {
        return listener_answered(s, now);
    }
    if (says_nothing) [[unlikely]] {
        return true;
    }
    if (ours && s.asked_about_names()) {
        names_told(s, now);
        return true;
    }
    if (ours && s.errand != channel_errand::none) {
        errand_done(s, now);
        return true;
    }
    if (ours && s.question) {
        if (s.question->ready_came()) {
            settings_told(s);
        }
        return true;
    }
    if (ours && s.pin_question) {
        pins_told(s);
        return true;
    }
    if (ours && s.audit) {
        if (s.audit->ready_came()) {
            audit_told(s, now);
        }
        return s.task != server_task::farewell;
    }
    if (ours && s.lenient) {
        s.lenient->ready_came();
    }
    if (!ours || !s.replaying || --s.replay_ready_owed != 0) {
        server_ready_for_query(s, now);
        return true;
    }
    return replay_answered(s, now);
}

/// What comes now is the client's, or stands in front of that in the same batch (a statement that
/// this server lacks).
bool engine::replay_answered(server& s, time_point now) {
    auto* const c = s.user;
    s.replaying = false;
    if (s.timeout_lifts != 0 && c != nullptr && !timeout_lifted(*c, s)) {
        return true;
    }
    if (s.lenient && !s.replay_failed && c != nullptr && !each_setting_tried(*c, s)) {
        return true;
    }
    if (s.replay_failed && c != nullptr) {
        tell_and_close(*c, pool::client_close::setting_refused, protocol::error::setting_refused,
                       s.replay_error, now);
        return false;
    }
    if (std::exchange(s.restoring, false) && c != nullptr) {
        report_restored(*c, s);
    }
    return true;
}

void engine::server_ready_for_query(server& s, time_point now) {
    auto* const c = s.user;
    if (c == nullptr || !s.ready_current || std::exchange(s.retries, false) ||
        !std::exchange(c->query_running, false)) { // what was lent to the server is taken back
        return;
    }
    auto& stats = s.pool->stats();
    const auto ran = now - c->query_started;
    stats.query_time.observe(ran);
    stats.query_ns.add(static_cast<std::uint64_t>(ran.count()));
    if (config_->slow_query && ran >= *config_->slow_query) {
        log_slow(s, *c, "slow query", ran);
    }
    if (s.status == protocol::transaction_status::idle) {
        const auto took = now - c->transaction_started;
        stats.transactions.add();
        if (c->pins_counted != 0) {
            stats.transactions_pinned.add();
        }
        stats.transaction_time.observe(took);
        stats.transaction_ns.add(static_cast<std::uint64_t>(took.count()));
        if (config_->slow_query && took >= *config_->slow_query &&
            c->query_started != c->transaction_started) {
            log_slow(s, *c, "slow transaction", took);
        }
    }
}

/// True when everything has been sent (then the server is still there).
bool engine::flush(server& s) {
    if (s.blocked) {
        return false;
    }
    if (!s.out.empty() && s.socket->sends_later()) {
        s.blocked = true;
        return false;
    }
    const auto result = s.out.flush(*s.socket);
    if (result.error) {
        // It has closed, but its last words may still be there: the end is met by reading.
        s.blocked = true;
        arm_read(s);
        return false;
    }
    s.pool->stats().bytes_to_servers.add(result.sent);
    if (!result.done) {
        s.blocked = true;
        s.socket->wait_writable();
        return false;
    }
    if (auto* const c = s.user; c != nullptr && c->pinned_bytes != 0) {
        if (std::exchange(s.retryable_next, false)) {
            buffers_.give_back(s.retryable);
            s.retryable = std::move(c->in);
            c->in = buffer();
        } else if (c->reading) {
            c->in.use_in_place(c->pinned_bytes);
        } else {
            c->in.use(c->pinned_bytes);
        }
        c->pinned_bytes = 0;
    }
    buffers_.give_back(s.out.adopted());
    return true;
}

void engine::arm_read(server& s) {
    if (s.reading || s.pinned_bytes != 0) {
        return;
    }
    if (s.user != nullptr && s.user->blocked) {
        return; // back-pressure; and relay() must not use the buffer while a read into it runs
    }
    if (s.in.empty()) {
        buffers_.give_back(s.in);
        s.reading = true;
        s.socket->wait_readable();
        return;
    }
    s.in.compact();
    if (s.in.full()) {
        buffers_.grow(s.in); // one message that must be seen whole
    }
    if (!s.in.full()) {
        s.reading = true;
        s.socket->read(s.in.room());
    }
}

/// PostgreSQL has closed, or the network has: nothing more can be sent or will come.
void engine::server_gone(server& s, pool::server_close reason, boost::system::error_code error,
                         time_point now) {
    if (s.task == server_task::connect || s.task == server_task::login) {
        open_failed(s, pool::server_close::connect_failed,
                    {.network = true,
                     .sqlstate = {},
                     .message = error ? error.message() : "closed during login"},
                    now, true);
        return;
    }
    names_given_up(s, "PostgreSQL has closed the connection", now);
    if (s.task != server_task::farewell) {
        if (s.leaving) {
            reason = pool::server_close::server_fatal;
        }
        if (s.told_to_end) {
            reason = pool::server_close::client_left;
        }
        s.task = server_task::farewell;
        listener_lost(s, now);
        s.pool->shard.begin_close(s, reason, now);
        log_server_end(s, reason, now);
        auto* const c = s.user;
        if (c != nullptr && c->state == client_state::awaiting_welcome && !c->out.has_pieces()) {
            // Nothing of the client's has been sent yet: another server will do.
            detach(*c, s, now);
            forget_server(s, now);
            ask_for_server(*c, now);
            return;
        }
        if (c != nullptr && s.told_to_end) {
            close_when_sent(*c, pool::client_close::terminate, now);
        } else if (c != nullptr && s.replaying && s.replay_failed) {
            tell_and_close(*c, pool::client_close::setting_refused,
                           protocol::error::setting_refused, s.replay_error, now);
        } else if (c != nullptr) {
            tell_and_close(*c, pool::client_close::server_lost, protocol::error::server_lost, {},
                           now);
        }
    }
    forget_server(s, now);
}

} // namespace pgweir::daemon
