// A CancelRequest's way: client connection -> every worker -> the session with that key -> the
// server that runs its query now, or the queue it waits in, or nobody. PostgreSQL documentation,
// "Canceling Requests in Progress".
#include "daemon/engine/cancel_attempt.hpp"

#include <algorithm>

namespace pgweir::daemon {

namespace {

constexpr auto cancel_patience = std::chrono::seconds(10);

} // namespace

void engine::route(client& c, protocol::cancel_key key, time_point now) {
    set_state(c, client_state::cancelling, now);
    cancels_missing_[c.id] = options_.workers;
    for (std::uint32_t w = 0; w < options_.workers; ++w) {
        if (w != options_.self.value) {
            ports_.post({w}, {route_cancel{key, options_.self, c.id}});
        }
    }
    route_cancel own{std::move(key), options_.self, c.id};
    on(now, own);
}

void engine::on(time_point now, route_cancel& message) {
    if (!cancel_session(message, now)) {
        answer_cancel(message, now);
    }
}

/// True when it is under way, and will be answered when it is done.
bool engine::cancel_session(const route_cancel& request, time_point now) {
    const auto [first, last] = by_process_id_.equal_range(request.key.process_id);
    for (auto at = first; at != last; ++at) {
        auto* const c = find(at->second);
        if (c == nullptr || !protocol::equal_in_constant_time(c->info->key.key, request.key.key)) {
            continue;
        }
        if (c->state == client_state::waiting) {
            c->pool->shard.leave_queue(*c);
            refuse_request(*c, protocol::error::query_canceled, {}, now);
            return false;
        }
        // Only a server that runs this session's query now; one that has answered everything is
        // left alone, and so is one that is still being given this client's settings, or asked.
        if (c->state == client_state::active && c->held != nullptr && !c->held->ready_current &&
            !c->held->replaying && !c->held->question && !c->held->pin_question &&
            !c->held->names && c->held->errand == channel_errand::none) {
            c->held->cancel_asked = true;
            open_cancel(*c->held, {request}, now);
            return true;
        }
        return false;
    }
    return false;
}

void engine::open_cancel(server& s, std::vector<route_cancel> for_whom, time_point now) {
    auto attempt = std::make_unique<cancel_attempt>(*this, s);
    attempt->for_whom = std::move(for_whom);
    attempt->deadline = now + cancel_patience;
    ++s.cancels_in_flight;
    wake_by(attempt->deadline);
    auto& a = *cancels_.emplace_back(std::move(attempt));
    a.socket = ports_.open(s.access->where, a);
}

void engine::cancel_attempt::on_connected(time_point now, boost::system::error_code error) {
    if (error) {
        home.cancel_finished(*this, true, now); // nothing was sent
    } else {
        step(login.start(), now);
    }
    home.reap();
}

void engine::cancel_attempt::on_secured(time_point now, const protocol::tls_facts* facts,
                                        const protocol::tls_failure& failure) {
    step(facts != nullptr ? login.secured(*facts) : login.handshake_failed(failure), now);
    home.reap();
}

void engine::cancel_attempt::step(protocol::server_cancel_action action, time_point now) {
    if (auto* const write = std::get_if<protocol::login_write>(&action)) {
        out = std::move(write->data);
        flush(now);
    } else if (auto* const request = std::get_if<protocol::cancel_send>(&action)) {
        out = std::move(request->data);
        request_out = true;
        flush(now);
    } else if (const auto* const tls = std::get_if<protocol::login_start_tls>(&action)) {
        socket->secure(
            {.context = access->tls, .direct = tls->direct, .server_name = access->where.host});
    } else if (std::holds_alternative<protocol::server_refused>(action)) {
        home.cancel_finished(*this, true, now); // nothing of it was sent
    } else {
        socket->read(answer);
    }
}

void engine::cancel_attempt::on_writable(time_point now) { flush(now); }

void engine::cancel_attempt::flush(time_point now) {
    // The server may have done what it was to be cancelled in, while the socket was opened.
    auto* const s = home.find(target);
    if (finished || s == nullptr || (s->ready_current && !sent)) {
        home.cancel_finished(*this, true, now);
        return;
    }
    const protocol::bytes piece = protocol::as_bytes(out);
    const auto result = socket->send({&piece, 1});
    sent = sent || (request_out && result.sent != 0);
    out.erase(0, result.sent);
    if (result.error) {
        home.cancel_finished(*this, !sent, now);
    } else if (!out.empty()) {
        socket->wait_writable();
    } else if (request_out) {
        socket->read(answer); // PostgreSQL answers nothing: wait for the close
    } else {
        auto nothing = protocol::bytes{};
        step(login.resume(nothing), now);
    }
}

void engine::cancel_attempt::on_read(time_point now, std::size_t count,
                                     boost::system::error_code error) {
    if (count == 0 || error) {
        home.cancel_finished(*this, true, now);
    } else if (request_out) {
        socket->read(answer); // whatever it is, wait for the close
    } else {
        auto rest = protocol::bytes(answer).first(count);
        step(login.resume(rest), now);
    }
    home.reap();
}

void engine::cancel_finished(cancel_attempt& attempt, bool certain, time_point now) {
    if (attempt.finished) {
        return;
    }
    attempt.finished = true; // deleted by the next sweep, not from inside its own callback
    wake_by(now);
    for (const auto& request : attempt.for_whom) {
        answer_cancel(request, now);
    }
    if (auto* const s = find(attempt.target)) {
        --s->cancels_in_flight;
        if (!certain) {
            // It may still arrive, at a time when somebody else has this server.
            close_server(*s, pool::server_close::reset_failed, now);
        } else {
            maybe_give_back(*s, now);
        }
    }
}

void engine::answer_cancel(const route_cancel& request, time_point now) {
    if (!request.on_behalf) {
        return; // one of our own
    }
    if (request.from == options_.self) {
        cancel_answered(request.on_behalf, now);
    } else {
        ports_.post(request.from, {cancel_done{request.on_behalf}});
    }
}

void engine::on(time_point now, cancel_done& message) { cancel_answered(message.on_behalf, now); }

void engine::cancel_answered(client_id on_behalf, time_point now) {
    const auto found = cancels_missing_.find(on_behalf);
    if (found == cancels_missing_.end() || --found->second != 0) {
        return;
    }
    cancels_missing_.erase(found);
    if (auto* const c = find(on_behalf)) {
        end(*c, pool::client_close::cancel_request, now); // closed: what PQcancel waits for
    }
}

void engine::sweep_cancels(time_point now) {
    for (std::size_t i = 0; i < cancels_.size(); ++i) { // finishing one may open another
        auto& attempt = *cancels_[i];
        if (!attempt.finished && attempt.deadline <= now) {
            cancel_finished(attempt, !attempt.sent, now);
        }
    }
    std::erase_if(cancels_, [](const auto& attempt) { return attempt->finished; });
    for (const auto& attempt : cancels_) {
        wake_by(attempt->deadline);
    }
}

} // namespace pgweir::daemon
