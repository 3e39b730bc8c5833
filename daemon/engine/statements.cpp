// Prepared statements on their way through: what a client's messages become, what has become of
// them, and what is done when PostgreSQL will not use one. The rules are in
// protocol/statement_router.hpp; this is where clients and servers meet them.
#include "daemon/engine/engine.hpp"
#include "protocol/error_names.hpp"
#include "protocol/rejected_state.hpp"
#include "protocol/stale_statement.hpp"

namespace pgweir::daemon {

namespace {

/// The first message uses a prepared statement that servers know by another name.
bool uses_shared_statement(protocol::bytes in, protocol::client_statements& names) {
    return protocol::statement_used(in, names) != nullptr;
}

} // namespace

/// Passes on what can be passed on of `in`, with what it needs of prepared statements.
protocol::client_step engine::forward(client& c, server& s, protocol::bytes in) {
    const auto& bounds = s.pool->shard.bounds();
    if (bounds.mode == pool::pool_mode::session || s.only_for) {
        return c.stream.forward(in, c.in_is_full(), s.out, s.owed, c.session, nullptr);
    }
    // Nothing has been asked in this transaction and nothing is open: should it turn out that the
    // server's plan is not fit to be used, all of this can be sent once more.
    const bool nothing_before =
        s.owed.owed_ready(protocol::fate::forward) == 0 && !s.owed.batch_open() &&
        (s.ready_current || s.replaying || s.ahead == settings_ahead::batch_open) && !c.reading &&
        s.status == protocol::transaction_status::idle;
    protocol::statement_link::counts counted;
    const protocol::statement_link link{
        .mine = c.statements,
        .there = s.statements,
        .table = statements_,
        .settings = *c.settings,
        .at_start = c.at_start->empty() ? nullptr : c.at_start.get(),
        .per_server = bounds.prepared_statements,
        .counted = counted,
        .client = c.id.value,
        .epoch = s.pool->entry->names->epoch.load(std::memory_order_relaxed),
        .names = names_of(*s.pool),
        .sequences = &s.sequences,
        .channels = channel_use_of(c),
        .kept = &s.kept_statements,
        .status = s.status,
        .cancel_under_way = s.cancels_in_flight != 0,
        .shares_sql_statements = bounds.shares_sql_statements,
        .settings_ahead = s.ahead != settings_ahead::none,
        .rejected = bounds.rejected_state,
        .ignored = bounds.ignored_state};
    const auto step = c.stream.forward(in, c.in_is_full(), s.out, s.owed, c.session, &link);
    if (!s.owed.outcomes().empty()) {
        settle_statements(s);
    }
    if (c.listening) [[unlikely]] {
        take_channel_use(c);
    }
    if (counted.reads_sequences || counted.sequences_apart) [[unlikely]] {
        sequences_read(c, s, counted);
        if (step.taken_bytes == 0) {
            flush(s); // what was put in front of a message that waits now
        }
    }
    if (counted.checking) [[unlikely]] {
        s.ready_current = false; // maybe_give_back() comes back to the client's message
        if (step.taken_bytes == 0) {
            flush(s);
        }
    }
    auto& stats = s.pool->stats();
    if (counted.found != 0) {
        stats.statements_found.add(counted.found);
    }
    if (counted.provided != 0) {
        stats.statements_provided.add(counted.provided);
    }
    if (counted.evicted != 0) {
        stats.statements_evicted.add(counted.evicted);
    }
    if (step.taken_bytes != 0) {
        buffers_.give_back(s.retryable); // more has been asked: it is no longer all of it
    }
    s.retryable_next = nothing_before && counted.found != 0 && counted.provided == 0 &&
                       uses_shared_statement(in, c.statements) && step.taken_bytes == in.size() &&
                       !c.stream.inside_message() && !s.owed.batch_open() &&
                       s.owed.owed_ready(protocol::fate::forward) == 1;
    return step;
}

/// What has become of Parse and Close messages, as far as it is known by now.
void engine::settle_statements(server& s) {
    auto* const c = s.user;
    s.statements.apply(s.owed.outcomes(), c != nullptr ? &c->statements : nullptr);
    s.owed.clear_outcomes();
    if (c == nullptr || c->statements.unnamed_in_flight()) {
        return;
    }
    if (c->statements.unnamed_known()) {
        c->session.unpin(protocol::pin_reason::unnamed_statement);
    } else {
        c->session.pin(protocol::pin_reason::unnamed_statement); // only this server has it
    }
}

/// What a Describe of ours has been answered with: two messages.
void engine::description_told(server& s, const protocol::server_step& step, protocol::bytes taken) {
    const auto type = static_cast<protocol::backend>(taken[taken.size() - step.last_frame_bytes]);
    const bool too_long = step.result.empty() && step.last_frame_bytes != protocol::header_bytes;
    if (type == protocol::backend::parameter_description) {
        s.statements.told_parameters(step.result);
    } else {
        s.statements.told_rows(step.result, too_long);
    }
}

/// PostgreSQL has refused a plan because its results have changed, and the client is told so or
/// asks once more. That of which statement is known where there is one only. If the server had it
/// from before the client's own Parse, the client knows better.
void engine::note_results_changed(client& c, server& s) {
    // Somebody has altered a table unseen: whoever parses from now on is not to meet older ones.
    s.pool->entry->names->epoch.fetch_add(1, std::memory_order_relaxed);
    protocol::client_statements::named* which = nullptr;
    if (s.retryable.held()) {
        which = protocol::statement_used(s.retryable.unused(), c.statements);
    } else if (s.owed.owed_ready(protocol::fate::forward) <= 1) {
        which = c.statements.bound_alone(s.owed.batch() - (s.owed.batch_open() ? 0 : 1));
    }
    if (which == nullptr || which->what == nullptr) {
        return;
    }
    which->what->changed = statements_.next_parse();
    which->results_changed(s.statements.is_older(which->what->id, which->when.count));
}

/// PostgreSQL will not use a statement that the client has done nothing to: it is gone, or has
/// become another one because tables have changed, and the client does not rely on what it was.
/// Nothing of the batch has been carried out, so that all of it can be asked again, on a server
/// that is given the statement anew. False: it cannot.
bool engine::send_once_more(client& c, server& s, const protocol::server_step& step,
                            protocol::bytes taken) {
    auto* const used = protocol::statement_used(s.retryable.unused(), c.statements);
    const bool changed = protocol::says_results_changed(protocol::as_bytes(step.error));
    const bool described = protocol::describes_something(s.retryable.unused());
    const bool curable =
        used != nullptr &&
        (changed ? described || !protocol::is_stale(*used)
                 : step.sqlstate == protocol::sqlstate::feature_not_supported ||
                       step.sqlstate == protocol::sqlstate::invalid_sql_statement_name);
    const bool first_answer = taken.size() == protocol::read_header(taken).frame_bytes();
    if (!curable || !first_answer || c.state != client_state::active || c.in.held() ||
        !s.out.empty() || !s.owed.swallow_ready()) {
        return false;
    }
    s.statements.doubt(used->what->id);
    if (changed && protocol::is_stale(*used)) {
        used->forget_description(); // it is told anew
    }
    c.in = std::move(s.retryable);
    s.retryable = buffer();
    s.retries = true;
    s.pool->stats().statements_retried.add();
    return true;
}

/// A statement has been carried out: what it says of prepared statements, its own or others'.
void engine::command_done(server& s, std::string_view tag, bool ours, time_point now) {
    auto* const c = s.user;
    const bool defines =
        tag.starts_with("CREATE ") || tag.starts_with("ALTER ") || tag.starts_with("DROP ");
    if (defines || tag == "DO" || tag == "CALL") { // what is in those two is not told
        // Now, for this transaction; and when it is over, for what others parse until then.
        s.pool->entry->names->epoch.fetch_add(1, std::memory_order_relaxed);
        s.tables_changed = true;
    }
    if (defines) {
        names_changed(s, tag, now);
        return;
    }
    if (tag == "DISCARD ALL" || tag == "DISCARD SEQUENCES") {
        sequences_forgotten(s);
    }
    if (tag.starts_with("DEALLOCATE") || tag == "DISCARD ALL" || tag == "DO") {
        s.kept_statements.settings = 0; // it may have been one of these
    }
    if (tag == "DEALLOCATE ALL" || tag == "DISCARD ALL") {
        s.statements.all_deallocated();
        s.kept_statements.pins = 0;
        if (c != nullptr) {
            c->statements.all_deallocated();
        }
        if (c != nullptr && c->listening && tag == "DISCARD ALL") {
            discard_channels(*c);
        }
        // The last thing that was asked: the session is as it was at its start, but for what
        // DISCARD ALL leaves. What the client asked for at start-up is put back with its next
        // transaction.
        if (c != nullptr && tag == "DISCARD ALL" && s.owed.size() <= 1) {
            c->session.discarded_all();
            s.carried = no_settings_;
        }
    } else if (tag == "DEALLOCATE" && c != nullptr) {
        if (const auto name = c->statements.said_deallocated()) {
            s.statements.deallocated(*name);
        }
    } else if (tag == "PREPARE" && !ours && c != nullptr) {
        c->statements.said_prepared();
    }
}

/// An ErrorResponse of PostgreSQL's for the client, at the end of `taken`.
void engine::pass_error(client& c, const protocol::server_step& step, protocol::bytes taken) {
    const auto error = taken.last(step.last_frame_bytes);
    const bool stale = protocol::says_nothing_is_stale_name(protocol::as_bytes(step.error));
    const bool whole = protocol::read_header(error).frame_bytes() == error.size();
    const auto rejected = whole ? protocol::rejected_for(error) : std::nullopt;
    if (!rejected && !stale && (!whole || !protocol::names_shared_statement(error))) {
        c.out.pass(taken);
        return;
    }
    if (const auto before = taken.first(taken.size() - error.size()); !before.empty()) {
        c.out.pass(before);
    }
    if (rejected) {
        protocol::append_error(c.out.own(), protocol::error::state_rejected,
                               protocol::words_of_rejection(*rejected));
    } else if (stale) {
        protocol::append_results_changed(c.out.own());
    } else {
        protocol::append_with_client_names(c.out.own(), error, c.statements);
    }
}

} // namespace pgweir::daemon
