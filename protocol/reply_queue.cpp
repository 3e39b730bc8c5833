#include "protocol/reply_queue.hpp"

#include "protocol/error_response.hpp"

#include <algorithm>
#include <utility>

namespace pgweir::protocol {

namespace {

constexpr std::size_t fewest_entries = 32;

} // namespace

// All but messages of the extended protocol that the server will heed.
void reply_queue::other_sent(frontend type, fate where, ask how) {
    switch (type) {
    case frontend::copy_data:
        copy_data_sent_ = copy_data_behind_end_ = !empty();
        return;
    case frontend::flush:
    case frontend::terminate:
    case frontend::password:
        return;
    case frontend::copy_done:
    case frontend::copy_fail:
        // Ignored without an answer unless a COPY runs, or will when the server gets here.
        if (!empty() && !skipping_) {
            copy_end_sent_ = true;
            copy_data_behind_end_ = sync_behind_that_ = false;
            push(marked(type == frontend::copy_done ? request::copy_done : request::copy_fail,
                        where, {}));
        }
        return;
    case frontend::sync:
        push(marked(request::sync, where, how));
        ++ready_[static_cast<std::size_t>(where)];
        ++batch_;
        sync_behind_copy_data_ = copy_data_sent_;
        sync_behind_that_ = copy_data_behind_end_;
        unsynced_ = false;
        skipping_ = false;
        batch_open_ = false;
        return;
    case frontend::query:
    case frontend::function_call:
        // While the server skips, these are dropped like all the rest (SocketBackend reads them,
        // PostgresMain looks at ignore_till_sync first): no answer, and no ReadyForQuery.
        if (!skipping_) {
            push(marked(type == frontend::query ? request::query : request::function_call, where,
                        how));
            ++ready_[static_cast<std::size_t>(where)];
            batch_open_ = false;
        } else if (how.noted) {
            outcomes_.push_back(outcome::skipped);
        }
        return;
    case frontend::parse:
    case frontend::bind:
    case frontend::describe:
    case frontend::execute:
    case frontend::close:
        if (how.noted) {
            outcomes_.push_back(outcome::skipped);
        }
        return;
    }
}

// Behind the last entry: by moving them down where half of them are done with.
void reply_queue::make_room() {
    if (head_ != 0 && head_ * 2 >= tail_) {
        std::copy(entries_.begin() + static_cast<std::ptrdiff_t>(head_), entries_.end(),
                  entries_.begin());
        tail_ -= std::exchange(head_, 0);
    } else {
        entries_.resize(std::max(fewest_entries, entries_.size() * 2));
    }
}

// An entry leaves the queue, answered or not.
void reply_queue::forget(entry e) {
    if (owes_ready(request_of(e))) {
        --ready_[static_cast<std::size_t>(fate_of(e))];
    }
}

// The front entry is done with.
void reply_queue::pop(outcome how) {
    phase_ = phase::fresh;
    const auto e = entries_[head_];
    if ((e & noted_bit) != 0) {
        note(how);
    }
    forget(e);
    ++head_;
    if (head_ != tail_ && request_of(entries_[head_]) < request::copy_done) [[likely]] {
        return;
    }
    read_over_copy_ends();
}

// At the front there is no COPY for these to end.
void reply_queue::read_over_copy_ends() {
    const auto first = head_;
    while (head_ != tail_ && request_of(entries_[head_]) >= request::copy_done) {
        ++head_;
    }
    if (head_ == tail_) {
        head_ = tail_ = 0;
        copy_data_sent_ = sync_behind_copy_data_ = copy_end_sent_ = false;
        copy_data_behind_end_ = sync_behind_that_ = false;
    } else if (head_ != first) {
        look_for_copy_ends(head_);
    }
}

// What is known of ends of a COPY, and of what was sent behind them, since some are done with.
void reply_queue::look_for_copy_ends(std::size_t from) {
    const auto first = entries_.begin() + static_cast<std::ptrdiff_t>(from);
    const auto last = entries_.begin() + static_cast<std::ptrdiff_t>(tail_);
    copy_end_sent_ =
        std::any_of(first, last, [](entry e) { return request_of(e) >= request::copy_done; });
    if (!copy_end_sent_) {
        copy_data_sent_ = copy_data_behind_end_;
        sync_behind_copy_data_ = sync_behind_that_;
    }
}

void reply_queue::skip_to_sync() {
    auto how = outcome::failed; // the front one; those behind it are never looked at
    while (!empty() && request_of(entries_[head_]) != request::sync) {
        pop(how);
        how = outcome::skipped;
    }
    if (empty()) {
        skipping_ = true;
        batch_open_ = true; // a Query sent meanwhile did not end the batch: it was dropped too
    }
}

// How many Syncs stand between the COPY at the front and the message that ends it at the latest.
// A COPY that succeeds has eaten them all; of one that fails nobody knows.
std::size_t reply_queue::syncs_copy_reads() const {
    auto at = head_ + 1;
    while (at < tail_ && request_of(entries_[at]) == request::sync) {
        ++at;
    }
    return at - head_ - 1;
}

// CommandComplete of COPY FROM STDIN: it has read everything up to and including a CopyDone.
bool reply_queue::finish_copy() {
    const auto end = head_ + 1 + syncs_copy_reads();
    if (end == tail_ || request_of(entries_[end]) != request::copy_done) {
        return false;
    }
    for (auto at = head_ + 1; at < end; ++at) {
        forget(entries_[at]);
    }
    entries_[end] = entries_[head_];
    head_ = end;
    // The data and the end of another COPY may have been sent behind this one's.
    look_for_copy_ends(head_ + 1);
    if (request_of(entries_[head_]) == request::execute) {
        // The batch goes on if the Sync that was meant to close it has been eaten.
        bool closed = false;
        for (auto at = head_ + 1; at < tail_; ++at) {
            closed = closed || owes_ready(request_of(entries_[at]));
        }
        batch_open_ = batch_open_ || !closed;
    }
    return true;
}

// What a message of this type means for a Query, an Execute or a FunctionCall.
reply_queue::judgement reply_queue::judge_statement(request what, phase now, backend type) const {
    const bool query = what == request::query;
    if (now == phase::copy_in) {
        return type == backend::command_complete
                   ? judgement{query ? meaning::partial : meaning::completes, phase::answered}
                   : judgement{meaning::misfit};
    }
    if (now == phase::copy_out) {
        switch (type) {
        case backend::copy_data:
            return {meaning::partial, phase::copy_out};
        case backend::copy_done:
            return {meaning::partial, phase::fresh};
        default:
            return {meaning::misfit};
        }
    }
    if (now == phase::copy_both) {
        // Either side ends it when it likes. START_REPLICATION then answers as a query does, with
        // rows first where the timeline has ended.
        switch (type) {
        case backend::copy_data:
        case backend::copy_done:
            return {meaning::partial, phase::copy_both};
        case backend::row_description:
            return {meaning::partial, phase::fresh};
        case backend::command_complete:
            return {meaning::partial, phase::answered};
        default:
            return {meaning::misfit};
        }
    }
    if (now == phase::failed) {
        return {type == backend::ready_for_query ? meaning::ready : meaning::misfit};
    }
    if (what == request::function_call) {
        if (now == phase::fresh && type == backend::function_call_response) {
            return {meaning::partial, phase::answered};
        }
        const bool ready = now == phase::answered && type == backend::ready_for_query;
        return {ready ? meaning::ready : meaning::misfit};
    }
    switch (type) {
    case backend::data_row:
        return {meaning::partial, now};
    case backend::row_description:
        return {query ? meaning::partial : meaning::misfit};
    case backend::command_complete:
    case backend::empty_query_response:
        return {query ? meaning::partial : meaning::completes, phase::answered};
    case backend::portal_suspended:
        return {query ? meaning::misfit : meaning::completes};
    case backend::copy_in_response:
        return {meaning::partial, phase::copy_in};
    case backend::copy_out_response:
        return {meaning::partial, phase::copy_out};
    case backend::copy_both_response:
        return {query && copy_both_expected_ ? meaning::partial : meaning::misfit,
                phase::copy_both};
    case backend::ready_for_query:
        return {query && now == phase::answered ? meaning::ready : meaning::misfit};
    default:
        return {meaning::misfit};
    }
}

// What a message of this type, other than ErrorResponse and the asynchronous ones, means as an
// answer to `what`.
reply_queue::judgement reply_queue::judge(request what, phase now, backend type) const {
    const auto only = [&](backend expected) {
        return judgement{type == expected ? meaning::completes : meaning::misfit};
    };
    const bool rows = type == backend::row_description || type == backend::no_data;
    switch (what) {
    case request::query:
    case request::execute:
    case request::function_call:
        return judge_statement(what, now, type);
    case request::parse:
        return only(backend::parse_complete);
    case request::bind:
        return only(backend::bind_complete);
    case request::close:
        return only(backend::close_complete);
    case request::describe_statement:
        if (now == phase::fresh && type == backend::parameter_description) {
            return {meaning::partial, phase::described};
        }
        return {now == phase::described && rows ? meaning::completes : meaning::misfit};
    case request::describe_portal:
        return {rows ? meaning::completes : meaning::misfit};
    case request::sync:
        return {type == backend::ready_for_query ? meaning::ready : meaning::misfit};
    case request::copy_done:
    case request::copy_fail:
        break; // never at the front
    }
    return {meaning::misfit};
}

reply reply_queue::take(judgement verdict) {
    const auto to = where(backend::command_complete);
    switch (verdict.what) {
    case meaning::misfit:
        return {reply::kind::unexpected};
    case meaning::partial:
        phase_ = verdict.next;
        return {reply::kind::partial, to};
    case meaning::completes:
        pop(outcome::done);
        return {reply::kind::completes, to};
    case meaning::ready:
        pop(outcome::done);
        return {reply::kind::ready, to};
    }
    return {reply::kind::unexpected};
}

// ErrorResponse.
reply reply_queue::failed(std::string_view sqlstate) {
    ready_in_doubt_ = false;
    astray_ = astray_ || in_doubt_;
    if (empty()) {
        // A server that leaves says so at any moment. Inside an open batch it may also be a
        // statement_timeout: whether the server skips now, or sends a ReadyForQuery that nobody
        // asked for, depends on what it was doing in that microsecond.
        in_doubt_ = in_doubt_ || batch_open_;
        return {reply::kind::asynchronous};
    }
    const auto e = entries_[head_];
    const auto what = request_of(e);
    const auto to = where(backend::error_response);
    if (phase_ == phase::fresh && (e & into_idle_batch_bit) != 0 &&
        sqlstate == sqlstate::query_canceled) {
        // statement_timeout, the one error that is not FATAL and may strike while the server waits
        // for the next message of an open batch: the same microsecond, with that on its way.
        in_doubt_ = true;
    }
    if (phase_ == phase::copy_in) {
        const auto syncs = syncs_copy_reads();
        const auto end = head_ + 1 + syncs;
        // The COPY may have failed before it read these, so that they are still to be heeded, or
        // because of them, or after them. A message other than CopyDone and CopyFail makes it
        // fail (and PostgreSQL 14 and later close); in the extended protocol it is skipped anyhow.
        const bool other = end < tail_ && request_of(entries_[end]) < request::copy_done;
        in_doubt_ = in_doubt_ || syncs != 0 || (other && what == request::query);
    }
    if (owes_ready(what)) {
        phase_ = phase::failed; // ReadyForQuery follows, also after a Sync whose commit failed
        return {reply::kind::partial, to};
    }
    skip_to_sync();
    return {reply::kind::completes, to};
}

// In doubt the entries are only a guess. Those that do not fit what comes were wrong.
reply reply_queue::received_in_doubt(backend type, std::string_view sqlstate) {
    if (settling_doubt_) {
        return received_settling(type);
    }
    if (type == backend::error_response) {
        return failed(sqlstate);
    }
    ready_in_doubt_ = ready_in_doubt_ || type == backend::ready_for_query;
    auto verdict = judgement{meaning::misfit};
    while (!empty()) {
        verdict = judge(request_of(entries_[head_]), phase_, type);
        if (verdict.what != meaning::misfit) {
            if (phase_ == phase::copy_in) {
                finish_copy();
            }
            return take(verdict);
        }
        astray_ = astray_ || request_of(entries_[head_]) != request::sync;
        pop(outcome::skipped);
    }
    astray_ = astray_ || type != backend::ready_for_query;
    if (type == backend::ready_for_query) {
        skipping_ = false;
        return {reply::kind::ready};
    }
    return {reply::kind::partial};
}

bool reply_queue::may_settle_doubt() const {
    const auto first = entries_.begin() + static_cast<std::ptrdiff_t>(head_);
    const auto last = entries_.begin() + static_cast<std::ptrdiff_t>(tail_);
    return in_doubt_ && ready_in_doubt_ && !astray_ && !settling_doubt_ && !batch_open_ &&
           !skipping_ && phase_ == phase::fresh && std::all_of(first, last, [](entry e) {
               return request_of(e) == request::sync || request_of(e) >= request::copy_done;
           });
}

void reply_queue::settle_doubt() {
    while (!empty()) {
        pop(outcome::skipped); // whether the client's Syncs are answered yet, what comes will tell
    }
    sent(frontend::close, fate::swallow);
    sent(frontend::sync, fate::swallow);
    settling_doubt_ = true;
}

// ReadyForQuery is the client's, as long as Close has not been answered.
reply reply_queue::received_settling(backend type) {
    if (type == backend::ready_for_query) {
        return {reply::kind::ready};
    }
    if (type != backend::close_complete) {
        return {reply::kind::unexpected};
    }
    in_doubt_ = ready_in_doubt_ = settling_doubt_ = false;
    pop(outcome::done);
    return {reply::kind::completes, fate::swallow};
}

// The whole of the answer to a message of the extended protocol that goes well and is asked for
// nothing more. What else may come is judged one by one.
constexpr backend no_such_type{};
constexpr std::array<backend, 16> whole_answers = {
    backend::parse_complete,   // parse
    backend::bind_complete,    // bind
    no_such_type,              // describe_statement
    backend::row_description,  // describe_portal
    backend::command_complete, // execute
    backend::close_complete,   // close
    no_such_type,              // query
    no_such_type,              // function_call
    backend::ready_for_query,  // sync
    no_such_type,              // copy_done
    no_such_type,              // copy_fail
};

reply reply_queue::received(backend type, std::string_view sqlstate) {
    if (head_ != tail_ && phase_ == phase::fresh && !in_doubt_) [[likely]] {
        const auto e = entries_[head_];
        if (type == whole_answers[e & request_mask] && type != no_such_type) {
            const auto to = fate_of(e);
            pop(outcome::done);
            return {type == backend::ready_for_query ? reply::kind::ready : reply::kind::completes,
                    to};
        }
    }
    switch (type) {
    case backend::notice_response:
    case backend::notification_response:
    case backend::parameter_status:
        return {reply::kind::asynchronous, where(type)};
    case backend::error_response:
        return settling_doubt_ ? reply{reply::kind::unexpected} : failed(sqlstate);
    default:
        break;
    }
    if (in_doubt_) [[unlikely]] {
        return received_in_doubt(type, sqlstate);
    }
    if (empty()) [[unlikely]] {
        return {reply::kind::unexpected};
    }
    const auto verdict = judge(request_of(entries_[head_]), phase_, type);
    if (phase_ == phase::copy_in && verdict.what != meaning::misfit && !finish_copy()) {
        return {reply::kind::unexpected};
    }
    return take(verdict);
}

bool reply_queue::swallow_ready() {
    if (empty() || request_of(entries_[head_]) != request::sync ||
        fate_of(entries_[head_]) == fate::swallow) {
        return false;
    }
    forget(entries_[head_]);
    entries_[head_] |= swallow_bit;
    ++ready_[static_cast<std::size_t>(fate::swallow)];
    return true;
}

std::size_t reply_queue::owed_ready(fate where) const {
    auto owed = ready_[static_cast<std::size_t>(where)];
    if (phase_ == phase::copy_in) {
        // The COPY is taken to succeed, and to eat the Syncs before its end.
        const auto end = head_ + 1 + syncs_copy_reads();
        for (auto at = head_ + 1; at < end; ++at) {
            owed -= fate_of(entries_[at]) == where ? 1U : 0U;
        }
    }
    return owed;
}

} // namespace pgweir::protocol
