// Sending to a client, and every way in which one ends. Whatever the way, one reason says why, and
// what the client held goes back to the pool clean or not at all.
#include "daemon/engine/engine.hpp"
#include "daemon/engine/waited_in_vain.hpp"

#include <algorithm>
#include <string>

namespace pgweir::daemon {

namespace {

/// How long a client that has been told goodbye may take to read it.
constexpr auto farewell_patience = std::chrono::seconds(2);
/// How long a client that says no more may go without taking an answer.
constexpr auto last_answers_patience = std::chrono::seconds(10);

} // namespace

void client::on_writable(time_point now) {
    blocked = false;
    if (home.flush(*this, now)) {
        if (held != nullptr) {
            auto& s = *held;
            home.relay(s, now);
            if (s.user == this) {
                home.arm_read(s);
            }
        }
        if (state == client_state::login && !reading) {
            home.pump_login(*this, now);
        } else {
            home.deliver(*this, now);
            home.pump(*this, now);
        }
    }
    home.reap();
}

/// True when everything has been sent (then the client still lives).
bool engine::flush(client& c, time_point now) {
    if (c.blocked || c.state == client_state::gone) {
        return false;
    }
    if (!c.out.empty() && c.socket->sends_later()) {
        c.blocked = true;
        return false;
    }
    const auto result = c.out.flush(*c.socket);
    if (result.error) {
        end(c, c.state == client_state::closing ? c.closing_for : pool::client_close::network_error,
            now);
        return false;
    }
    if (c.pool != nullptr) {
        c.pool->stats().bytes_to_clients.add(result.sent);
    }
    if (c.said_no_more_at != time_point{} && result.sent != 0) {
        c.said_no_more_at = now; // slow, but there
    }
    if (!result.done) {
        c.blocked = true;
        c.socket->wait_writable();
        return false;
    }
    if (c.held != nullptr && c.held->pinned_bytes != 0) {
        c.held->in.use(c.held->pinned_bytes);
        c.held->pinned_bytes = 0;
    }
    buffers_.give_back(c.out.adopted());
    if (c.state == client_state::closing) {
        c.socket->shutdown_send(); // it reads the last of it, then closes
    }
    return true;
}

void engine::set_state(client& c, client_state to, time_point now) {
    if (c.pool != nullptr) {
        auto& stats = c.pool->stats();
        if (c.state == client_state::active) {
            stats.clients_active.subtract();
        }
        if (to == client_state::active) {
            stats.clients_active.add();
        }
    }
    c.state = to;
    c.state_since = now;
    if (to == client_state::idle && c.idle_limit != duration{}) [[unlikely]] {
        idle_begins(c, now);
    }
}

void engine::tell_and_close(client& c, pool::client_close reason, protocol::error code,
                            protocol::error_words words, time_point now) {
    // In the middle of a message of PostgreSQL's, an error of ours would only be taken for a part
    // of it. (Of an answer to our replay, nothing has been passed on.)
    const bool between_messages = c.held == nullptr || !c.held->stream.inside_message() ||
                                  c.held->replaying || c.held->ahead != settings_ahead::none;
    const bool told_already = c.held != nullptr && c.held->said_fatal;
    if (between_messages && !told_already) {
        protocol::append_error(c.out.own(), code, words, true);
    }
    close_when_sent(c, reason, now);
}

void engine::close_when_sent(client& c, pool::client_close reason, time_point now) {
    leave_pool(c, reason, now);
    c.closing_for = reason;
    set_state(c, client_state::closing, now);
    const auto deadline = now + farewell_patience;
    closing_deadlines_.emplace_back(deadline, c.id);
    wake_by(deadline);
    flush(c, now);
    if (c.state == client_state::closing) {
        if (c.in.held() && !c.reading) {
            c.in.use(c.in.size());
        }
        arm_read(c);
    }
}

/// It says no more (Terminate, or the end of its stream), but what it has asked is still being
/// answered, or waits for a server: PostgreSQL answers all of it before it closes. Every event of
/// its server, or of its waiting, leads to pump(), which meets the same end of the stream again.
bool engine::still_answering(client& c, pool::client_close reason, time_point now) {
    if (reason != pool::client_close::terminate && reason != pool::client_close::eof) {
        return false;
    }
    switch (c.state) {
    case client_state::awaiting_welcome:
    case client_state::waiting:
    case client_state::refusing:
        return true; // for wait_timeout at most
    case client_state::idle:
    case client_state::active:
        // What it has not taken yet, it is to have; and more may have been asked, which is looked
        // at then.
        if (!c.blocked && !(c.listening && c.listening->holds_ready) &&
            (c.state == client_state::idle || !owes_last_answers(c))) {
            return false;
        }
        break;
    default:
        return false;
    }
    if (c.said_no_more_at == time_point{}) {
        c.said_no_more_at = now;
        leave_later(c, now);
    }
    return now - c.said_no_more_at < last_answers_patience;
}

/// The server it holds will answer something yet.
bool engine::owes_last_answers(client& c) {
    if (c.held == nullptr || c.pool->entry->replication) {
        return false; // a stream has no last answer
    }
    auto& s = *c.held;
    if (s.behind.goes_again()) {
        return true;
    }
    const auto& owed = s.owed;
    const auto ours = owed.owed_ready(protocol::fate::swallow);
    if ((ours != 0 || c.statements.is_checking()) && c.in.held() && !c.in.empty()) {
        return true; // the rest of what it has asked waits for an answer to us
    }
    // A COPY whose CopyDone has not been sent, and half a message, will never be answered.
    const bool unfinished = c.stream.inside_message() || (owed.in_copy_in() && owed.size() == 1);
    // A batch without its Sync, or whose Sync a COPY has read: PostgreSQL says what it has to say
    // of it, errors and notices, and closes. So it does where nobody knows how much is to come.
    // Such a server is not used again, so that it may be told what the client has said.
    const bool copied = owed.in_copy_in() && owed.copy_end_sent();
    const bool last_words = owed.in_doubt() || (owed.owed_ready(protocol::fate::forward) == 0 &&
                                                (owed.batch_open() || copied));
    if (unfinished || (owed.owed_ready(protocol::fate::forward) == 0 && !last_words)) {
        return false;
    }
    if (last_words && !s.told_to_end) {
        s.told_to_end = true;
        protocol::message_writer(s.out.own()).begin(protocol::frontend::terminate).end();
        flush(s);
    }
    return true;
}

void engine::leave_later(client& c, time_point now) {
    leaving_deadlines_.emplace_back(now + last_answers_patience, c.id);
    wake_by(now + last_answers_patience);
}

/// It has been answered for a while since it said no more: whoever takes what comes is waited for.
void engine::leave_unless_taking(client& c, time_point now) {
    end(c, pool::client_close::eof, now);
    if (c.state != client_state::gone) {
        leave_later(c, now);
    }
}

void engine::end(client& c, pool::client_close reason, time_point now) {
    if (c.state == client_state::gone || still_answering(c, reason, now)) {
        return;
    }
    if (reason == pool::client_close::terminate && c.pool != nullptr && !c.out.empty() &&
        c.state != client_state::closing) {
        close_when_sent(c, reason, now); // the last answers are still on their way
        return;
    }
    if (c.held != nullptr && c.out.has_pieces()) {
        // What it has not taken will never be taken.
        c.held->in.use(c.held->pinned_bytes);
        c.held->pinned_bytes = 0;
    }
    if (c.held != nullptr) {
        auto& s = *c.held;
        detach(c, s, now);
        abandon(s, now);
    }
    leave_pool(c, reason, now);
    leave_login(c);
    log_client_end(c, reason, now);
    counters_.closes[static_cast<std::size_t>(reason)].add();
    counters_.clients.subtract();
    if (c.info->key.process_id == 0 && c.state != client_state::console) {
        counters_.login_failures[static_cast<std::size_t>(reason)].add();
    }
    if (c.info->key.process_id != 0) {
        const auto [first, last] = by_process_id_.equal_range(c.info->key.process_id);
        const auto mine =
            std::find_if(first, last, [&](const auto& item) { return item.second == c.id; });
        if (mine != last) {
            by_process_id_.erase(mine);
        }
    }
    refusals_.erase(c.id);
    cancels_missing_.erase(c.id);
    buffers_.give_back(c.in);
    c.state = client_state::gone;
    c.socket->set_events(nullptr);
    ended_clients_.push_back(c.id);
    ports_.client_gone();
}

/// Gives up its place in the queue, the server it holds, and its part in the pool's counts.
void engine::leave_pool(client& c, pool::client_close reason, time_point now) {
    if (c.pool == nullptr) {
        return;
    }
    c.pool->shard.leave_queue(c);
    stop_opening(c, now);
    refusals_.erase(c.id); // who holds the servers need not be found out any more
    if (c.held != nullptr) {
        auto& s = *c.held;
        if (s.pinned_bytes != 0 && s.in.size() == s.pinned_bytes) {
            c.out.adopt(std::move(s.in));
            s.in = buffer();
        } else {
            // More has come than was passed on, or relay() is not done with it: the buffer stays
            // the server's, where it may be moved or given to somebody else before this client
            // has taken its part.
            c.out.copy_pieces();
            s.in.use(s.pinned_bytes);
        }
        s.pinned_bytes = 0;
        detach(c, s, now);
        abandon(s, now);
    }
    stop_listening(c);
    forget_idle_limit(c);
    set_state(c, client_state::idle, now);
    c.pool->stats().clients.subtract();
    c.pool->stats().client_closes[static_cast<std::size_t>(reason)].add();
    auto& part = *std::exchange(c.pool, nullptr);
    if (part.entry->shared.client_left(now)) {
        last_client_left(part);
    }
}

/// What is idle may go in a while, whatever minconn; the other workers do not know.
void engine::last_client_left(pool_part& part) {
    for (std::uint32_t w = 0; w < options_.workers; ++w) {
        if (w != options_.self.value && part.entry->shared.has_idle({w})) {
            ports_.post({w}, {wake{part.entry}});
        }
    }
    if (const auto next = part.shard.next_deadline()) {
        wake_by(*next);
    }
}

void engine::answer_exhausted(client& c, time_point now) {
    const auto found = refusals_.find(c.id);
    auto who = std::move(found->second.who);
    refusals_.erase(found);

    const auto& entry = *c.pool->entry;
    const auto& bounds = c.pool->shard.bounds();
    const pool_bound bound{.setting = entry.replication ? "max_replication" : "maxconn",
                           .servers = bounds.maxconn,
                           .wait_timeout = bounds.wait_timeout};
    const bool at_login = c.state == client_state::awaiting_welcome;
    const auto failure = entry.failure.load();
    auto code = protocol::error::pool_exhausted;
    protocol::error_words words;
    const auto waited = in_seconds(bounds.wait_timeout);
    const bool up = entry.shared.state() == pool::ledger::health::up;
    if (failure && !up) {
        const bool full = protocol::server_refused::is_too_many(failure->reason);
        code = full ? protocol::error::pool_exhausted : failure->code();
        words.message = "no connection to PostgreSQL for database \"" + entry.database + "\" in " +
                        waited + ": " + failure->message;
        const auto access = entry.access.load();
        words.hint =
            refusal_hint(failure->reason, {.database = access->database, .role = access->user},
                         bound, idle_of_others(entry, failure->reason));
    } else if (!up) {
        // Nobody holds anything: the first connection is still being made.
        code = protocol::error::server_unreachable;
        words.message = "no connection to PostgreSQL for database \"" + entry.database + "\" in " +
                        waited + ": it has not answered yet";
    } else {
        words.message = "no server connection for database \"" + entry.database +
                        "\" came free in " + waited + ": all " + std::to_string(bounds.maxconn) +
                        " are in use";
        words.hint = holders_hint(who, bound);
        words.detail = holders_detail(std::move(who));
    }
    log_wait_timeout(*c.pool, words, now);
    if (at_login) {
        tell_and_close(
            c, up ? pool::client_close::pool_exhausted : pool::client_close::server_unreachable,
            code, std::move(words), now);
    } else {
        refuse_request(c, code, std::move(words), now);
    }
}

} // namespace pgweir::daemon
