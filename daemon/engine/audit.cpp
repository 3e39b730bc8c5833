// The audit: now and then a server that has come back is asked what its session really has, and
// that is compared with what we believe (protocol/session_audit.hpp). Whoever is given a server
// depends on our having noticed all that was done to it; this is how it shows that we have not.
//
// One in pool::limits::audit_every leases is chosen when it ends. The server is asked twice. The
// first time tells what an earlier client has left, of whom nothing is known any more. From then on
// it is clean, and what its next client asks for is remembered (audit_trail), so that the second
// time can name the statement. Where the first one has found something, all servers of the pool
// are looked at in this way for a while.
//
// Nobody pays for it but the clients of those two leases: everything else is one counter a lease. A
// server that somebody waits for is not asked before that has happened a hundred times.
//
// Tests: tests/simulation, integration/audit_test.py.
#include "daemon/engine/engine.hpp"
#include "protocol/error_response.hpp"

#include <algorithm>
#include <utility>

namespace pgweir::daemon {

namespace {

constexpr auto audit_patience = std::chrono::seconds(10); // one that does not answer is gone
constexpr std::uint32_t most_postponed = 100;
constexpr std::uint32_t looked_at_closely = 200; // leases

} // namespace

/// How many leases from now the next one is chosen: as many on average as the setting says, by
/// dice, or what an application does in every hundredth transaction might never be met.
void engine::choose_next_audit(pool_part& part) {
    const auto every = part.shard.bounds().audit_every;
    const auto spread = static_cast<double>(every) * 2 - 1;
    part.until_audit = every == 0 ? 0
                       : part.audited_closely != 0
                           ? 1
                           : 1 + static_cast<std::uint32_t>(random_fraction() * spread);
}

/// Every lease of the pool is being audited.
bool engine::audits_closely(const pool_part& part) {
    return part.shard.bounds().audit_every == 1 || part.audited_closely != 0;
}

/// A lease that was chosen, or watched, has ended.
void engine::audit_due(server& s) {
    if (s.pool->until_audit == 0) {
        choose_next_audit(*s.pool);
    }
    if (!s.trail) {
        s.trail = std::make_unique<audit_trail>(false);
    }
    s.trail->lease_ended();
}

/// The server is free, but should be asked first. Then it comes back to place().
bool engine::audit_first(server& s, time_point now) {
    auto& shard = s.pool->shard;
    if (shard.bounds().audit_every == 0) {
        s.trail.reset();
        return false;
    }
    if (!s.trail->due()) {
        return false;
    }
    // Whoever wants currval() is to find idle the server that remembers it.
    const auto* const last = find(s.sequences_of);
    const bool may_return = last != nullptr && last->last_server == s.id &&
                            s.pool->entry->sequences_read.load(std::memory_order_relaxed);
    if (may_return && last->reads_sequences) {
        return false;
    }
    const bool wanted = may_return || shard.oldest_waiter() != nullptr ||
                        shard.shared().oldest_waiter(options_.self).has_value();
    if (wanted && s.trail->times_postponed() < most_postponed) {
        s.trail->postponed();
        return false;
    }
    s.task = server_task::audit;
    s.deadline = now + audit_patience;
    wake_by(s.deadline);
    shard.begin_reset(s, now);
    s.audit = std::make_unique<protocol::session_audit>(*s.carried, s.own_identity(),
                                                        shard.bounds().ignored_state);
    put_audit_question(s);
    arm_read(s);
    return true;
}

void engine::put_audit_question(server& s) {
    s.audit->append(s.out.own(), s.owed);
    s.ready_current = false;
    flush(s);
}

/// The same as forward(), on a server that is going to be audited.
protocol::client_step engine::forward_and_record(client& c, server& s, protocol::bytes in) {
    const auto rest = c.stream.body_left(); // of a message that has been seen
    const auto step = forward(c, s, in);
    in = in.first(step.taken_bytes).subspan(std::min(rest, step.taken_bytes));
    while (in.size() >= protocol::header_bytes) {
        const auto head = protocol::read_header(in);
        const auto frame = in.first(std::min(in.size(), head.frame_bytes()));
        in = in.subspan(frame.size());
        switch (static_cast<protocol::frontend>(head.type)) {
        case protocol::frontend::query:
        case protocol::frontend::parse:
            s.trail->record(protocol::statement_at(frame));
            break;
        case protocol::frontend::bind:
            s.trail->record(protocol::statement_bound(frame, c.statements));
            break;
        case protocol::frontend::function_call:
            s.trail->record("FunctionCall");
            break;
        default:
            break;
        }
    }
    return step;
}

/// PostgreSQL has answered all that was asked.
void engine::audit_told(server& s, time_point now) {
    if (s.audit->asks_more()) {
        put_audit_question(s);
        return;
    }
    const auto leaks = std::exchange(s.audit, nullptr)->result();
    auto& part = *s.pool;
    part.stats().audits.add();
    if (!leaks) {
        part.stats().audits_failed.add();
        s.trail.reset();
        return;
    }
    if (!leaks->empty()) {
        tell_leaks(s, *leaks);
        part.audited_closely = s.trail->clean() ? 0 : looked_at_closely;
        choose_next_audit(part);
        close_server(s, pool::server_close::session_leak, now);
        return;
    }
    if (part.audited_closely != 0) {
        --part.audited_closely;
    }
    if (s.trail->clean() && !audits_closely(part)) {
        s.trail.reset();
    } else {
        s.trail->begin_anew();
    }
}

/// Something has been left behind that we know nothing of.
void engine::tell_leaks(const server& s, const std::vector<protocol::session_audit::leak>& leaks) {
    std::uint16_t kinds = 0;
    std::string found;
    for (const auto& [kind, name] : leaks) {
        kinds = static_cast<std::uint16_t>(kinds | static_cast<std::uint16_t>(kind));
        found += found.empty() ? "" : ", ";
        found += protocol::to_string(kind);
        found += ' ' + protocol::printable(name, 63);
    }
    for (std::size_t i = 0; i < protocol::pin_reason_count; ++i) {
        if ((kinds & (1U << i)) != 0) {
            s.pool->stats().leaks[i].add();
        }
    }
    const auto& entry = *s.pool->entry;
    const auto& trail = *s.trail;
    ports_.log(log_severity::warning,
               trail.clean()
                   ? "a client has left session state behind that was not noticed"
                   : "a client has left session state behind that was not noticed; it was in an "
                     "earlier transaction, and others will be watched for the statement",
               {{"kinds", pins_text(kinds)},
                {"found", found},
                {"statements", trail.clean() ? trail.statements() : "not known"},
                {"transactions", std::int64_t{trail.leases()}},
                {"database", entry.database},
                {"user", entry.user},
                {"server", static_cast<std::int64_t>(s.id.value)},
                {"process_id", std::int64_t{s.key.process_id}}});
}

} // namespace pgweir::daemon
