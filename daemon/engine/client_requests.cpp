// What a logged-in client sends: found a server for, forwarded, refused, or handed to the console.
#include "daemon/engine/engine.hpp"

#include <algorithm>

namespace pgweir::daemon {

namespace {

/// The unnamed statement on a server is ours or another client's: nobody is to run it by a Bind.
void append_forget_unnamed_statement(std::string& out, protocol::reply_queue& owed) {
    protocol::message_writer(out).begin(protocol::frontend::close).u8('S').c_string("").end();
    protocol::message_writer(out).begin(protocol::frontend::sync).end();
    owed.sent(protocol::frontend::close, protocol::fate::swallow);
    owed.sent(protocol::frontend::sync, protocol::fate::swallow);
}

/// What a client sends after a Parse whose refusal it has not read yet.
bool follows_parse(protocol::frontend type) {
    using enum protocol::frontend;
    return type == bind || type == describe || type == execute || type == close || type == flush;
}

protocol::error_words others_sequences() {
    return {.message = "what the server remembers of sequences is another client's, and cannot be "
                       "discarded here",
            .detail = {},
            .hint = {},
            .sqlstate = std::string(protocol::sqlstate::object_not_in_prerequisite_state)};
}

/// Bytes at the front have been used. While a read is outstanding, positions must not move.
void consume(client& c, std::size_t count) {
    if (c.reading) {
        c.in.use_in_place(count);
    } else {
        c.in.use(count);
    }
}

} // namespace

void client::on_read(time_point now, std::size_t count, boost::system::error_code error) {
    home.client_read(*this, count, error, now);
    home.reap();
}

void client::on_readable(time_point) {
    home.buffers_.provide(in, bulk);
    socket->read(in.room());
}

void engine::client_read(client& c, std::size_t count, boost::system::error_code error,
                         time_point now) {
    c.reading = false;
    if (error || count == 0) {
        if (c.state == client_state::closing && !error && c.blocked) {
            return; // it says no more, but is still to take what it is told; then it is read again
        }
        if (c.state == client_state::closing) {
            end(c, c.closing_for, now);
        } else {
            end(c, error ? pool::client_close::network_error : pool::client_close::eof, now);
        }
        return;
    }
    c.bulk = count == c.in.room().size() || (c.bulk && count > small_buffer_bytes);
    c.in.filled(count);
    if (c.pool != nullptr) {
        c.pool->stats().bytes_from_clients.add(count);
    }
    if (c.state == client_state::closing || c.state == client_state::cancelling) {
        c.in.use(c.in.size());
        arm_read(c);
        return;
    }
    if (c.state == client_state::login) {
        pump_login(c, now);
        return;
    }
    pump(c, now);
}

/// Does with what has been read all that can be done now, and asks for more.
void engine::pump(client& c, time_point now) {
    bool again = !c.listening || !c.listening->holds_ready;
    while (again) {
        again = false;
        switch (c.state) {
        case client_state::idle:
            again = pump_idle(c, now);
            break;
        case client_state::active:
            pump_active(c, now);
            break;
        case client_state::console:
            pump_console(c, now);
            break;
        case client_state::discarding:
            again = pump_discarding(c, now);
            break;
        case client_state::login:
        case client_state::deriving:
        case client_state::awaiting_welcome:
        case client_state::waiting:
        case client_state::refusing:
        case client_state::cancelling:
        case client_state::closing:
            break;
        case client_state::gone:
            return;
        }
    }
    arm_read(c);
}

/// True when the state may have changed and there may be more to do.
bool engine::pump_idle(client& c, time_point now) {
    if (c.blocked || !c.in.held() || c.in.empty()) {
        return false;
    }
    const auto peek = c.stream.peek(c.in.unused(), c.in_is_full());
    consume(c, peek.consumed);
    switch (peek.wants) {
    case protocol::client_wants::more:
        return false;
    case protocol::client_wants::nothing:
        return true;
    case protocol::client_wants::ready:
        set_state(c, client_state::idle, now); // it begins to idle anew
        protocol::append_ready_for_query(c.out.own(), protocol::transaction_status::idle);
        return flush(c, now);
    case protocol::client_wants::terminate:
        end(c, pool::client_close::terminate, now);
        return false;
    case protocol::client_wants::violation:
        tell_and_close(c, pool::client_close::protocol_violation,
                       protocol::error::protocol_violation,
                       {.message = protocol::violation_text(c.in.unused())}, now);
        return false;
    case protocol::client_wants::server:
        if (shutting_down_) {
            tell_and_close(c, pool::client_close::shutdown, protocol::error::admin_shutdown, {},
                           now);
            return false;
        }
        set_state(c, client_state::waiting, now);
        ask_for_server(c, now);
        return c.state == client_state::active;
    }
    return false;
}

void engine::ask_for_server(client& c, time_point now) {
    auto& part = *c.pool;
    if (auto* const s = take_server(c, now)) {
        grant(c, *s, now);
        return;
    }
    grow(part, now);
    if (const auto next = part.shard.next_deadline()) {
        wake_by(*next);
    }
}

/// A free server, or none: then the client queues. One that has been idle for a while is looked at
/// before it is used: that PostgreSQL has closed it may not have been reported yet.
server* engine::take_server(client& c, time_point now) {
    constexpr auto unwatched = std::chrono::seconds(1);
    auto& shard = c.pool->shard;
    if (c.waiting) {
        return nullptr;
    }
    while (auto* const s = idle_for_sequences(c)) {
        if (must_learn_names(*s)) {
            learn_names(*s, false, now); // whoever waits longest is given it then
            break;
        }
        const bool long_idle = now - s->state_since > unwatched;
        shard.lease_idle(*s, c, now);
        if (!long_idle || !s->socket->stirs()) {
            return s;
        }
        close_server(*s, pool::server_close::server_eof, now);
    }
    shard.wait(c, now);
    return nullptr;
}

/// A server is this client's from now on. What it carries of other settings is replaced by the
/// messages put into its outbox here; they leave in one write with the client's own.
void engine::grant(client& c, server& s, time_point now) {
    c.held = &s;
    s.user = &c;
    s.replay_failed = false;
    s.reports_due = false;
    s.said_fatal = s.cancel_asked = s.discards_sequences = false;
    s.statements.taken_over(c.statements.unnamed_last() + 1);
    c.statements.lease_begins();
    c.transaction_started = now;
    c.session.ignore(s.pool->shard.bounds().ignored_state);
    if (s.carried != c.settings && options_.bug != options::planted::settings_not_replayed) {
        give_settings(c, s);
    }
    owe_reports(c, s);
    const bool session_mode = s.pool->shard.bounds().mode == pool::pool_mode::session;
    if (c.state != client_state::awaiting_welcome || session_mode) {
        take_over_sequences(c, s);
    }
    if (c.state != client_state::awaiting_welcome) {
        set_state(c, client_state::active, now);
        if (s.withholds()) {
            flush(s); // the client's messages wait for the answers
        }
    } else if (!s.replaying) {
        finish_welcome(c, s, now);
    } else {
        if (session_mode) {
            append_forget_unnamed_statement(s.out.own(), s.owed); // it was that of the replay
        }
        flush(s);
    }
}

/// What the client sends is not looked at before something that we have asked is answered.
bool engine::waits_for_answer(const client& c, const server& s) {
    return s.names || s.withholds() || s.owed.is_settling_doubt() || s.behind.goes_again() ||
           (s.question && s.question->withholds()) || !may_send_behind(c, s);
    (s.question && s.question->withholds()) || !may_send_behind(c, s);
}

void engine::pump_active(client& c, time_point now) {
    if (c.held != nullptr && !send_batch_again(c, *c.held)) {
        return;
    }
    while (c.state == client_state::active && c.held != nullptr && !c.held->blocked &&
           c.in.held() && !c.in.empty()) {
        auto& s = *c.held;
        if (waits_for_answer(c, s)) {
            return; // maybe_give_back() comes back to it
        }
        const auto in = c.in.unused();
        const bool settled = s.ready_current && s.status == protocol::transaction_status::idle;
        const auto step = s.trail ? forward_and_record(c, s, in) : forward(c, s, in);
        if (step.taken_bytes != 0) {
            // Else it is the rest of a COPY that has failed and been answered: nothing comes of it.
            const bool asks = !s.owed.empty() || s.owed.batch_open();
            if (asks && !c.query_running) {
                c.query_running = true;
                c.query_started = now;
                s.running.set(in);
            }
            if (asks && settled) {
                c.transaction_started = now;
            }
            s.ready_current = s.ready_current && !asks;
            sent_behind_settings(s, in.first(step.taken_bytes));
            c.pinned_bytes = step.taken_bytes;
            c.pool->stats().queries.add(step.queries);
            flush(s);
            if (s.ready_current) {
                maybe_give_back(s, now);
                if (c.held != &s) {
                    return;
                }
            }
        }
        switch (step.why) {
        case protocol::client_step::stop::exhausted:
            if (step.taken_bytes == 0) {
                return;
            }
            break;
        case protocol::client_step::stop::sink_full:
            break; // it has been sent, or the socket is full
        case protocol::client_step::stop::queue_full:
        case protocol::client_step::stop::awaiting_answer:
            return; // maybe_give_back() comes back to it
        case protocol::client_step::stop::channels_first:
            if (!channels_first(c, s)) {
                return; // maybe_give_back() comes back to it
            }
            break;
        case protocol::client_step::stop::terminate:
            end(c, pool::client_close::terminate, now);
            return;
        case protocol::client_step::stop::others_sequences:
            tell_and_close(c, pool::client_close::setting_refused, protocol::error::setting_refused,
                           others_sequences(), now);
            return;
        case protocol::client_step::stop::violation:
            if (s.owed.owed_ready(protocol::fate::forward) != 0 && !s.owed.in_copy_in()) {
                return; // what came before it is answered first; maybe_give_back() comes back to it
            }
            tell_and_close(c, pool::client_close::protocol_violation,
                           protocol::error::protocol_violation,
                           {.message = protocol::violation_text(c.in.unused())}, now);
            return;
        }
    }
}

/// The console takes simple queries, one at a time.
void engine::pump_console(client& c, time_point now) {
    while (c.state == client_state::console && !c.query_running && !c.blocked && c.in.held() &&
           c.in.size() >= protocol::header_bytes) {
        const auto in = c.in.unused();
        const auto head = protocol::read_header(in);
        const auto type = static_cast<protocol::frontend>(head.type);
        if (!head.plausible() || head.frame_bytes() > small_buffer_bytes) {
            tell_and_close(c, pool::client_close::protocol_violation,
                           protocol::error::protocol_violation, {}, now);
            return;
        }
        if (in.size() < head.frame_bytes()) {
            return;
        }
        const auto body = in.subspan(protocol::header_bytes, head.body_bytes());
        if (type == protocol::frontend::terminate) {
            end(c, pool::client_close::terminate, now);
            return;
        }
        if (type == protocol::frontend::query) {
            protocol::body_reader reader(body);
            c.query_running = true;
            ports_.console(c.id, c.info->user, std::string(reader.c_string()));
        } else if (type == protocol::frontend::sync) {
            protocol::append_ready_for_query(c.out.own(), protocol::transaction_status::idle);
        } else if (type == protocol::frontend::parse) {
            protocol::append_error(
                c.out.own(), protocol::error::console_unsupported,
                {.message = "the console takes simple queries only", .detail = {}, .hint = {}});
        } else if (!follows_parse(type)) {
            tell_and_close(c, pool::client_close::protocol_violation,
                           protocol::error::protocol_violation, {}, now);
            return;
        }
        consume(c, head.frame_bytes());
        flush(c, now);
    }
}

/// The request is answered with an error in place of a server's answer; the session goes on.
void engine::refuse_request(client& c, protocol::error code, protocol::error_words words,
                            time_point now) {
    if (c.in.held() && protocol::destroys_unnamed_statement(c.in.unused())) {
        c.statements.unnamed_refused();
    }
    set_state(c, client_state::discarding, now);
    protocol::append_error(c.out.own(), code, words);
    pump(c, now);
}

/// True when the request has been thrown away whole and answered.
bool engine::pump_discarding(client& c, time_point now) {
    const auto result = c.stream.discard_request(c.in.held() ? c.in.unused() : protocol::bytes{});
    consume(c, result.consumed);
    if (result.ready) {
        protocol::append_ready_for_query(c.out.own(), protocol::transaction_status::idle);
    }
    if (result.complete) {
        set_state(c, client_state::idle, now);
    }
    const bool sent = flush(c, now);
    if (result.complete) {
        deliver(c, now); // what could not be told in the middle of it
    }
    return sent && result.complete;
}

// Buffers --------------------------------------------------------------------------------------

void engine::arm_read(client& c) {
    if (c.reading || c.state == client_state::gone || c.pinned_bytes != 0) {
        return;
    }
    if (c.held != nullptr && (c.held->blocked || c.held->owed.full())) {
        return; // back-pressure: its server does not keep up
    }
    if (c.in.empty()) {
        buffers_.give_back(c.in); // the next one to read something takes it, still warm
        c.reading = true;
        c.socket->wait_readable();
        return;
    }
    c.in.compact();
    if (c.in.full() && (c.state == client_state::idle || c.state == client_state::active)) {
        buffers_.grow(c.in); // a statement that is to be seen whole
    }
    if (!c.in.full()) { // otherwise nothing more is read before some of it is used
        c.reading = true;
        c.socket->read(c.in.room());
    }
}

} // namespace pgweir::daemon
