// How a server comes back: when it may, who gets it, what is done when its client left it in the
// middle of something, and how it is closed. The decision itself is protocol::may_go_back().
#include "daemon/engine/apart.hpp"
#include "daemon/engine/engine.hpp"
#include "protocol/lent_statements.hpp"
#include "protocol/own_statement.hpp"

namespace pgweir::daemon {

namespace {

constexpr auto drain_patience = std::chrono::seconds(10);
constexpr auto clean_patience = std::chrono::seconds(10);
/// PostgreSQL closes its end when the backend is gone; only then is its slot free. A backend that
/// takes longer than this is counted as gone.
constexpr auto farewell_patience = std::chrono::seconds(10);

} // namespace

protocol::return_verdict engine::verdict(const server& s) const {
    const auto* const c = s.user;
    protocol::return_facts facts;
    facts.status = s.status;
    facts.ready_seen_since_last_message = s.ready_current;
    facts.replies_owed = !s.owed.empty();
    facts.unsent_to_server = !s.out.empty() || s.behind.goes_again();
    facts.inside_client_message = c != nullptr && c->stream.inside_message();
    facts.inside_server_message = s.stream.inside_message() || s.in.size() != s.pinned_bytes;
    facts.in_copy = s.owed.in_copy_in();
    facts.in_doubt = s.owed.in_doubt();
    facts.pinned = c != nullptr && (c->session.pinned() || s.only_for ||
                                    s.pool->shard.bounds().mode == pool::pool_mode::session);
    // It may stay with its client while a cancel is on its way, and must if that is pinned.
    facts.cancel_in_flight = s.cancels_in_flight != 0 && !facts.pinned;
    if (options_.bug == options::planted::released_too_early) [[unlikely]] {
        facts.replies_owed = false;
        facts.ready_seen_since_last_message = true;
    }
    return protocol::may_go_back(facts);
}

/// Nobody knows how many ReadyForQuery are to come (reply_queue::in_doubt()): where a message of
/// ours will tell, it is sent. True: its answer is awaited.
bool engine::settle_doubt(const client& c, server& s) {
    if (s.owed.is_settling_doubt()) {
        return true;
    }
    // A cancel request could strike it.
    if (!s.owed.may_settle_doubt() || c.stream.inside_message() || s.leaving || s.blocked ||
        s.cancels_in_flight != 0) {
        return false;
    }
    protocol::append_doubt_settling(s.out.own(), s.owed);
    s.ready_current = false;
    flush(s);
    return true;
}

/// Statements that the server was lent. False: not now, maybe_give_back() comes back to it.
bool engine::take_back_lent(client& c, server& s, time_point now) {
    if (!s.ready_current || !c.statements.anything_lent() || c.stream.inside_message()) {
        return true;
    }
    if (s.cancels_in_flight != 0) {
        // It would strike what takes them back. cancel_finished() comes back here.
        pump(c, now);
        return false;
    }
    protocol::take_back_lent(c.statements, s.owed, s.out.own());
    s.ready_current = false;
    return flush(s);
}

/// Something has changed about a server that no client has.
void engine::go_on_alone(server& s, time_point now) {
    if (s.pool->listening) {
        return; // it is told things without being asked
    }
    if (s.task == server_task::drain || s.task == server_task::clean) {
        // PostgreSQL drops a Query behind a failed message of the extended protocol: what looked
        // like the end of the batch was none, and nobody is left to send the Sync it waits for.
        const bool sync_missing = s.owed.empty() && s.owed.batch_open();
        if (s.ready_current && s.owed.empty() && s.out.empty() && s.in.empty()) {
            clean(s, now);
        } else if (sync_missing || s.owed.in_doubt()) {
            close_server(s, pool::server_close::client_left, now);
        } else {
            fail_copy(s);
        }
        return;
    }
    const bool answered =
        (s.task == server_task::learn && !s.names) || (s.task == server_task::audit && !s.audit);
    if (answered && s.ready_current) {
        s.task = server_task::none;
        place(s, now);
        return;
    }
    const bool at_rest = s.cancels_in_flight == 0 && s.in.empty() && !s.stream.inside_message();
    if (s.task == server_task::settle && at_rest) {
        s.task = server_task::none;
        place(s, now);
    } else if (s.state == pool::server_state::idle && !at_rest) {
        settle(s, now); // half a message, from a server that nobody asked
    }
}

/// Called whenever something has changed that the answer may depend on.
void engine::maybe_give_back(server& s, time_point now) {
    auto* const c = s.user;
    if (c == nullptr) {
        go_on_alone(s, now);
        return;
    }
    if (s.task != server_task::none) {
        return;
    }
    if (c->state == client_state::awaiting_welcome) {
        if (s.ready_current && !s.replaying && !s.leaving) { // else it gets another one
            finish_welcome(*c, s, now);
        }
        return;
    }
    if (s.ready_current && s.status != protocol::transaction_status::idle &&
        s.pool->shard.bounds().mode == pool::pool_mode::statement) {
        tell_and_close(*c, pool::client_close::transaction_in_statement_mode,
                       protocol::error::transaction_in_statement_mode, {}, now);
        return;
    }
    if (s.owed.in_doubt() && settle_doubt(*c, s)) [[unlikely]] {
        return;
    }
    if (!take_back_lent(*c, s, now)) {
        return;
    }
    notice_parameters(*c, s);
    ask_about_settings(*c, s);
    ask_about_pins(*c, s);
    if (c->session.has_hidden_something()) [[unlikely]] {
        ask_about_names(*c, s);
    }
    if (!see_to_channels(*c, s, now)) {
        return;
    }
    switch (verdict(s)) {
    case protocol::return_verdict::yes:
    case protocol::return_verdict::cancel_in_flight:
        break;
    case protocol::return_verdict::pinned:
        stays_pinned(*c, s, now);
        if (shutting_down_) {
            tell_and_close(*c, pool::client_close::shutdown, protocol::error::admin_shutdown, {},
                           now);
            return;
        }
        [[fallthrough]];
    case protocol::return_verdict::not_ready:
    case protocol::return_verdict::in_transaction:
    case protocol::return_verdict::failed_transaction:
    case protocol::return_verdict::replies_owed:
    case protocol::return_verdict::unsent:
    case protocol::return_verdict::inside_message:
    case protocol::return_verdict::in_copy:
    case protocol::return_verdict::in_doubt:
        if (!s.blocked && !s.owed.full() && (!c->reading || !c->in.empty())) {
            pump(*c, now); // it had to stop because too much was owed
        }
        return;
    }
    give_back(*c, s, now);
}

/// Its client goes on without it. Where it may have left what nobody can be asked about, the server
/// is made as a new one is first.
void engine::give_back(client& c, server& s, time_point now) {
    if (s.waits_for_names() && !shutting_down_) {
        return; // it would be asked again. on_names_read() comes back to it
    }
    if (s.pinned_bytes != 0) {
        // The client is slow to take its answer: it keeps the buffer, the server goes on.
        c.out.adopt(std::move(s.in));
        s.in = buffer();
        s.pinned_bytes = 0;
    }
    set_state(c, client_state::idle, now);
    const bool suspicious = c.session.suspicious();
    detach(c, s, now);
    if (suspicious) [[unlikely]] {
        s.pool->shard.begin_reset(s, now);
        clean(s, now);
    } else {
        place(s, now);
    }
    if (c.state != client_state::idle) {
        return; // gone, or it has got its next server already
    }
    if (shutting_down_) {
        tell_and_close(c, pool::client_close::shutdown, protocol::error::admin_shutdown, {}, now);
    } else {
        deliver(c, now);
        pump(c, now);
    }
}

/// Client and server know each other no longer.
void engine::detach(client& c, server& s, time_point now) {
    s.cut_off = c.stream.inside_message();
    if (c.pinned_bytes != 0) {
        // Its last bytes for the server lie in its buffer, and more may be read into that.
        s.out.copy_pieces();
        c.in.use_in_place(c.pinned_bytes);
        c.pinned_bytes = 0;
    }
    count_pins(c, s, 0, now);
    s.dirty = s.dirty || c.session.dirty() || c.session.suspicious() ||
              c.statements.anything_lent() ||
              s.pool->shard.bounds().mode == pool::pool_mode::session;
    s.spoiled = s.spoiled || c.session.has(protocol::pin_reason::loaded_library) ||
                c.session.has(protocol::pin_reason::random_seed);
    if (c.session.has_hidden_something() || s.asked_about_names()) {
        s.pool->entry->names->hide_more(); // nobody has told yet what names hide since
    }
    c.session.clear();
    leave_sequences(c, s);
    if (s.trail || (s.pool->until_audit != 0 && --s.pool->until_audit == 0)) [[unlikely]] {
        audit_due(s);
    }
    buffers_.give_back(s.retryable);
    s.behind.forget();
    s.lenient.reset();
    s.timeout_lifts = 0;
    s.question.reset();
    s.pin_question.reset();
    s.names.reset();
    s.errand = channel_errand::none;
    s.retryable_next = s.retries = false;
    c.query_running = false;
    c.held = nullptr;
    s.user = nullptr;
    s.running.clear();
}

/// Nobody's any more, and fit to be used again: to the next one, or into the pool. Servers that
/// come free while one is being placed are placed after it, not inside: a thousand waiters are
/// served in a loop.
void engine::place(server& s, time_point now) {
    if (placing_) {
        to_place_.push_back(s.id);
        return;
    }
    placing_ = true;
    if (s.task == server_task::none && s.user == nullptr) {
        place_now(s, now);
    }
    while (!to_place_.empty()) {
        auto* const next = find(to_place_.back());
        to_place_.pop_back();
        if (next != nullptr && next->task == server_task::none && next->user == nullptr) {
            place_now(*next, now);
        }
    }
    placing_ = false;
}

void engine::place_now(server& s, time_point now) {
    arm_read(s);
    if (s.cancels_in_flight != 0 || !s.in.empty() || s.stream.inside_message()) {
        settle(s, now);
    } else if (s.leaving) {
        close_server(s, pool::server_close::server_fatal, now);
    } else if (shutting_down_) {
        close_server(s, pool::server_close::shutdown, now);
    } else if (!close_outdated(s, now)) {
        const bool names_due = s.pool->names_overdue || s.pool->entry->names->awaited();
        const bool limited = s.pool->entry->idle_limited.load(std::memory_order_relaxed);
        const bool told_first = (names_due && learn_first(s, now)) ||
                                (s.trail && audit_first(s, now)) ||
                                (limited && lift_limit_first(s, now)); // it comes back to this
        if (!told_first) {
            carry_out(s, s.pool->shard.free(s, now), now);
        }
    }
}

/// Free, but for a cancel request or the rest of a message.
void engine::settle(server& s, time_point now) {
    s.task = server_task::settle;
    s.deadline = now + clean_patience;
    wake_by(s.deadline);
    s.pool->shard.begin_reset(s, now);
}

void engine::carry_out(server& s, const pool::shard::placement& where, time_point now) {
    switch (where.where) {
    case pool::shard::placement::to::idle:
        break;
    case pool::shard::placement::to::waiter: {
        auto& c = static_cast<client&>(*where.client);
        if (!fits(s, c)) {
            replace_server(s, c, now);
            break;
        }
        grant(c, s, now);
        pump(c, now);
        break;
    }
    case pool::shard::placement::to::other_worker:
        send_to_other(s, where.worker);
        break;
    case pool::shard::placement::to::close:
        close_server(s, where.reason, now);
        break;
    }
}

void engine::send_to_other(server& s, worker_index to) {
    server_in_transit message;
    message.entry = s.pool->entry;
    message.id = s.id;
    message.access = s.access;
    message.generation = s.generation;
    message.created_at = s.created_at;
    message.expires_at = s.expires_at;
    message.ready_at = s.ready_at;
    message.key = std::move(s.key);
    message.parameters = std::move(s.parameters);
    message.opened_with = *s.opened_with;
    message.carried = *s.carried;
    message.own_idle_limit = s.own_idle_limit;
    message.own_role = std::move(s.own_role);
    message.role_settings = s.role_settings;
    message.statements = s.statements.contents();
    message.sequences_of = s.sequences_of;
    message.sequences_foreign = s.sequences.foreign;
    message.trail = std::move(s.trail);
    s.socket->set_events(nullptr);
    message.socket = s.socket->detach();
    s.gone = true;
    ended_servers_.push_back(s.id);
    ports_.post(to, {std::move(message)});
}

// A client has left
// --------------------------------------------------------------------------------

/// Its client is gone. What was sent is finished, as PostgreSQL would finish it; what is left of it
/// is rolled back and cleaned if that is safe and bounded, otherwise the server is closed.
void engine::abandon(server& s, time_point now) {
    if (s.task != server_task::none) {
        return;
    }
    s.pool->shard.begin_reset(s, now);
    s.dirty =
        s.dirty || s.replaying; // whether PostgreSQL has taken all it was to carry is not looked at
    s.replaying = s.restoring = false;
    // A batch without its Sync must not be committed by us, and half a message not be completed.
    // A stream of replication has no end that could be waited for.
    if (s.pool->entry->replication) {
        close_server(s, pool::server_close::session_ended, now);
        return;
    }
    if (s.owed.batch_open() || s.owed.in_doubt() || s.cut_off || s.replay_failed || s.spoiled ||
        s.ahead == settings_ahead::batch_open) {
        close_server(s, pool::server_close::client_left, now);
        return;
    }
    s.task = server_task::drain;
    s.copy_failed = false;
    s.drain_cancelled = false;
    s.deadline = now + drain_patience;
    wake_by(s.deadline);
    fail_copy(s);
    if (s.task != server_task::drain) {
        return;
    }
    if (s.ready_current && s.owed.empty() && s.out.empty()) {
        clean(s, now);
        return;
    }
    relay(s, now);
    if (s.task == server_task::drain) {
        arm_read(s);
    }
}

/// Its client is gone and cannot send the rest of its COPY: PostgreSQL is told so.
void engine::fail_copy(server& s) {
    if (s.task == server_task::drain && s.owed.in_copy_in() && !s.copy_failed) {
        s.copy_failed = true;
        protocol::message_writer(s.out.own())
            .begin(protocol::frontend::copy_fail)
            .c_string("client disconnected")
            .end();
        s.owed.sent(protocol::frontend::copy_fail, protocol::fate::swallow);
        flush(s);
    }
}

/// Everything it owed has come. Makes it as a new one is, by the cheapest sufficient means.
void engine::clean(server& s, time_point now) {
    if (s.only_for) {
        close_server(s, pool::server_close::session_ended, now);
        return;
    }
    const bool in_transaction = s.status != protocol::transaction_status::idle;
    // Also when its client left while its settings were applied and one of them was refused: what
    // the server carries now is neither this set nor that.
    if (s.replay_failed || (s.task == server_task::clean && in_transaction)) {
        close_server(s, pool::server_close::reset_failed, now);
        return;
    }
    if (!in_transaction && !s.dirty) {
        s.task = server_task::none;
        place(s, now);
        return;
    }
    s.task = server_task::clean;
    s.deadline = now + clean_patience;
    wake_by(s.deadline);
    s.replay_failed = false; // from here on: an answer to one of ours was an error
    if (in_transaction) {
        protocol::append_query(s.out.own(), "ROLLBACK");
        s.owed.sent(protocol::frontend::query, protocol::fate::swallow);
    }
    if (s.dirty) {
        if (apart::is_needed(s)) { // it needs a snapshot, and can be in no transaction of ours
            protocol::append_query(s.out.own(), "SET default_transaction_deferrable TO off");
            s.owed.sent(protocol::frontend::query, protocol::fate::swallow);
        }
        protocol::append_query(s.out.own(), "DISCARD ALL");
        s.owed.sent(protocol::frontend::query, protocol::fate::swallow);
        s.carried = s.opened_with;
        s.sequences_of = {};
        s.sequences = {};
        s.dirty = false;
    }
    s.ready_current = false;
    flush(s);
    if (s.task == server_task::clean) {
        arm_read(s);
    }
}

// Closing ----------------------------------------------------------------------------------------

void engine::close_server(server& s, pool::server_close reason, time_point now) {
    if (s.task == server_task::farewell) {
        return;
    }
    names_given_up(s, "its server was closed", now);
    const bool connected = s.task != server_task::connect;
    const bool logged_in = connected && s.task != server_task::login;
    const bool sound = logged_in && !s.cut_off && s.out.empty();
    s.task = server_task::farewell;
    listener_lost(s, now);
    if (auto* const c = s.user) {
        if (reason == pool::server_close::desync) {
            tell_and_close(*c, pool::client_close::server_desync, protocol::error::server_desync,
                           {}, now);
        } else {
            tell_and_close(*c, pool::client_close::server_lost, protocol::error::server_lost, {},
                           now);
        }
    }
    if (logged_in) {
        log_server_end(s, reason, now);
    }
    s.login.reset();
    if (s.state != pool::server_state::closing) {
        s.pool->shard.begin_close(s, reason, now);
    }
    if (!connected) {
        forget_server(s, now);
        return;
    }
    // The slot stays taken until PostgreSQL has closed, so that the bound holds there, too.
    s.deadline = now + farewell_patience;
    wake_by(s.deadline);
    s.out = outbox();
    if (sound) {
        std::string terminate;
        protocol::message_writer(terminate).begin(protocol::frontend::terminate).end();
        const auto piece = protocol::as_bytes(terminate);
        (void)s.socket->send({&piece, 1});
    }
    s.socket->shutdown_send();
    s.pinned_bytes = 0;
    if (!s.reading) {
        s.in.use(s.in.size());
    }
    arm_read(s);
    grow(*s.pool, now);
}

/// It is gone: its slot is free.
void engine::forget_server(server& s, time_point now) {
    auto& part = *s.pool;
    auto* const successor = take_successor(s);
    const bool passed_on =
        successor != nullptr && !shutting_down_ && part.shard.pass_slot_on(s, now);
    if (!passed_on) {
        part.shard.closed(s);
    }
    s.socket->set_events(nullptr);
    s.gone = true;
    ended_servers_.push_back(s.id);
    s.task = server_task::farewell;
    if (passed_on) {
        successor->info->opening = open_server(part, now, successor->id).id;
    } else if (successor != nullptr) {
        ask_again(*successor, now);
    }
    grow(part, now);
    wake_others(part);
    if (const auto other = std::exchange(s.room_for, nullptr)) {
        room_made(other, now);
    }
}

} // namespace pgweir::daemon
