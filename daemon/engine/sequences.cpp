// currval() and lastval() tell what the server remembers of nextval(), and it remembers what
// anybody did there. A client is to see its own values, or PostgreSQL's "not yet defined in this
// session", and never another's. Which statements call nextval() does not show (an INSERT may, any
// function may), so what counts is whose the leases were.
//
// What a server remembers is nobody's, one client's (server::sequences_of), or of several
// (sequence_memory::foreign). It is a client's own only if that client has been nowhere else since:
// elsewhere it may have got newer values.
//
// Nobody pays for this before currval() or lastval() has been seen in a text of the pool
// (pool_entry::sequences_read). From then on a server that remembers others forgets them
// (DISCARD SEQUENCES) in front of the first message of the client that is given it, in the same
// write; so what a client reads in any lease is its own. Between two leases it goes back to the
// same server if that is free and untouched; so others are given another one, as long as there is
// one. What leases that had begun before may not see is
// protocol/sequence_memory.hpp.
//
// Tests: tests/simulation, integration/sequences_test.py.
#include "daemon/engine/engine.hpp"
#include "protocol/statement_scan.hpp"

#include <utility>

namespace pgweir::daemon {

/// Another client that reads sequences will come back for what this server remembers.
bool engine::is_awaited(const server& s, const client& c) {
    if (!s.sequences_of || s.sequences_of == c.id || s.sequences.foreign ||
        !s.pool->entry->sequences_read.load(std::memory_order_relaxed)) {
        return false;
    }
    const auto* const other = find(s.sequences_of);
    return other != nullptr && other->reads_sequences && other->last_server == s.id;
}

/// An idle server that no other client will come back for; where there is none, `next` all the
/// same.
server* engine::unawaited(const client& c, server* next) {
    if (next == nullptr || !is_awaited(*next, c)) [[likely]] {
        return next;
    }
    const auto& idle = c.pool->shard.servers(pool::server_state::idle);
    for (auto* one = idle.front(); one != nullptr; one = idle.next(*one)) {
        auto& other = static_cast<server&>(*one);
        if (fits(other, c) && !is_awaited(other, c)) {
            return &other;
        }
    }
    return next;
}

/// The idle server that this client should have: where it reads sequences, the one that remembers
/// those it has used.
server* engine::idle_for_sequences(const client& c) {
    auto* const next = unawaited(c, idle_for(c));
    if (next == nullptr || !c.last_server || next->id == c.last_server || !c.in.held()) {
        return next;
    }
    auto* const last = find(c.last_server);
    const bool untouched = last != nullptr && last->pool == c.pool &&
                           last->state == pool::server_state::idle && last->sequences_of == c.id &&
                           !last->sequences.foreign && fits(*last, c);
    if (!untouched) {
        return next;
    }
    const auto reads = [&] {
        const auto effects =
            protocol::scan(protocol::statement_at(c.in.unused()), true, names_of(*c.pool).names);
        return (effects & protocol::reads_sequences) != 0;
    };
    return c.reads_sequences || reads() ? last : next;
}

/// A client is about to use the server.
void engine::take_over_sequences(client& c, server& s) {
    const bool last_there = s.sequences_of == c.id && s.id == c.last_server;
    const bool nobodys = !s.sequences_of && !s.sequences.foreign;
    s.sequences_of = c.id;
    if (last_there || nobodys || options_.bug == options::planted::sequences_not_forgotten) {
        return;
    }
    s.sequences = {.foreign = true};
    const bool looked_at = s.pool->shard.bounds().mode != pool::pool_mode::session; // what it sends
    if (looked_at && !s.pool->entry->sequences_read.load(std::memory_order_relaxed)) {
        return;
    }
    append_discard_sequences(s);
    s.sequences.foreign = false; // should it fail, the client's session ends
    s.discards_sequences = true;
}

void engine::append_discard_sequences(server& s) {
    protocol::append_query(s.out.own(), "DISCARD SEQUENCES");
    s.owed.sent(protocol::frontend::query, protocol::fate::swallow);
    replays(s);
}

/// The client goes on without it.
void engine::leave_sequences(client& c, server& s) {
    if (s.sequences_of == c.id) { // else it has only been welcomed with it
        c.last_server = s.sequences.foreign ? server_id{} : s.id;
    }
}

/// The client has called currval() or lastval(), or may have.
void engine::sequences_read(client& c, server& s, const protocol::statement_link::counts& seen) {
    if (seen.reads_sequences) {
        c.reads_sequences = true;
        s.pool->entry->sequences_read.store(true, std::memory_order_relaxed);
    }
    if (seen.sequences_apart) {
        replays(s);
    }
}

/// PostgreSQL says so: what it remembers from now on is the client's.
void engine::sequences_forgotten(server& s) {
    if (s.user != nullptr) {
        s.sequences.foreign = false;
    }
}

} // namespace pgweir::daemon
