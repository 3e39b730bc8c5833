// One worker's part of one pool: its servers, its waiters, and the rules by which they meet.
// No bytes, no sockets, no clock: whoever drives it opens and closes connections as it says.
//
// Every server is in exactly one state, and each state is a list it is on. Counts change in
// set_state() alone. Waiters are served first come, first served.
//
// Owner: a worker's engine, one per (database, user). Thread: that worker's.
// Tests: tests/pool/shard_test.cpp; the simulator runs it through whole schedules.
#pragma once

#include "pool/close_reason.hpp"
#include "pool/ids.hpp"
#include "pool/intrusive_list.hpp"
#include "pool/ledger.hpp"
#include "pool/limits.hpp"
#include "pool/policy.hpp"
#include "pool/stats.hpp"

#include <cstdint>
#include <optional>

namespace pgweir::pool {

enum class server_state : std::uint8_t {
    connecting, // being opened or logging in
    idle,       // free
    leased,     // a client has it
    resetting,  // being cleaned after a client, or held until a cancel has closed
    closing,    // told to go; its slot is given back when PostgreSQL has closed
};
[[nodiscard]] std::string_view to_string(server_state state);

/// A server as the pool sees it. The engine derives its own from it; the address is stable.
struct server : list_hook {
    server_id id;
    server_state state = server_state::connecting;
    time_point state_since{};
    time_point created_at{};
    time_point expires_at{};
    client_id holder; // leased: to whom
};

/// A client that may wait. The engine's client derives from it; the address is stable.
struct waiter : list_hook {
    client_id id;
    time_point waiting_since{};
    bool waiting = false;
};

class shard {
public:
    shard(ledger& shared, stats& counters, worker_index self, const limits& bounds);
    shard(const shard&) = delete;
    shard& operator=(const shard&) = delete;

    // Clients -----------------------------------------------------------------------------------

    /// `who` asks for a server: gets the one used last (its caches are warm), or joins the queue.
    [[nodiscard]] server* acquire(waiter& who, time_point now);
    /// `who` no longer waits (time-out, cancel, gone). No-op for one that does not wait.
    void leave_queue(waiter& who);
    /// The oldest waiter, or none.
    [[nodiscard]] waiter* oldest_waiter();
    [[nodiscard]] const intrusive_list<waiter>& waiters() const { return waiters_; }

    // Servers -----------------------------------------------------------------------------------

    /// Where a free server goes. The shard has already set its state.
    struct placement {
        enum class to : std::uint8_t { waiter, idle, other_worker, close } where;
        waiter* client = nullptr;          // waiter: it no longer waits and holds the lease
        worker_index worker{};             // other_worker: forget the server here and send it there
        server_close reason{};             // close: begin_close() has been done
    };
    /// A leased, resetting or connecting server may be used again. Refuses (close) one that is too
    /// old or surplus.
    [[nodiscard]] placement free(server& who, time_point now);
    /// Leased -> resetting.
    void begin_reset(server& who, time_point now);
    /// Any state -> closing. The slot stays taken until `closed`.
    void begin_close(server& who, server_close reason, time_point now);
    /// It is gone at PostgreSQL too: gives the slot back and forgets it.
    void closed(server& who);

    /// Slot taken, socket about to be opened (after `grow` said so).
    void add_connecting(server& who, time_point now, double random);
    /// A server comes from another worker; its slot is taken already. Then call free().
    void adopt(server& who, time_point now);
    /// A server goes to another worker: forgotten here, the slot stays taken.
    void release_to_other(server& who);
    /// One idle server for another worker's waiter, or none. Already released from here.
    [[nodiscard]] server* give_idle();

    // Growth and decay ----------------------------------------------------------------------------

    /// Should a server be opened now? Takes the slot when it says so (open_…): call
    /// add_connecting() then. Call until it says no: minconn is refilled at once.
    [[nodiscard]] growth grow(time_point now);
    /// Another worker that should be asked for an idle server, when somebody waits here and no
    /// growth is possible.
    [[nodiscard]] std::optional<worker_index> whom_to_ask() const;
    /// Calls `close(server&, server_close)` for every idle server that is due; begin_close() has
    /// been done for it.
    template <typename Close> void sweep(time_point now, Close&& close);
    /// The oldest waiter that has waited out, already removed from the queue; none: nullptr.
    [[nodiscard]] waiter* next_timed_out(time_point now);
    /// When something here is due next (time-outs, expiries, retries).
    [[nodiscard]] std::optional<time_point> next_deadline() const;

    /// Keep minconn open from now on.
    void set_warm(bool warm) { warm_ = warm; }
    /// Configuration has changed.
    void set_limits(const limits& bounds) { limits_ = bounds; }
    [[nodiscard]] const limits& bounds() const { return limits_; }
    [[nodiscard]] ledger& shared() { return ledger_; }
    [[nodiscard]] stats& counters() { return stats_; }

    [[nodiscard]] std::uint32_t count(server_state state) const;
    [[nodiscard]] const intrusive_list<server>& servers(server_state state) const;
    [[nodiscard]] std::uint32_t waiting() const;

private:
    void set_state(server& who, server_state to, time_point now);
    void publish_waiters();
    void publish_idle();
    intrusive_list<server>& list_of(server_state state);

    ledger& ledger_;
    stats& stats_;
    worker_index self_;
    limits limits_;
    bool warm_ = false;
    intrusive_list<waiter> waiters_;          // oldest first
    intrusive_list<server> by_state_[5];      // idle: used last is at the front
};

template <typename Close> void shard::sweep(time_point now, Close&& close) {
    // From the back: those idle longest. Closing one moves it to another list, so step first.
    auto& idle = list_of(server_state::idle);
    for (auto* s = idle.back(); s != nullptr;) {
        auto* const before = idle.previous(*s);
        const auto why = should_evict(now, s->state_since, s->expires_at, ledger_.staying(), limits_);
        if (why) {
            // Another worker may evict at the same moment: the ledger decides who may.
            if (*why == server_close::idle_timeout && !ledger_.try_leave(limits_.minconn)) {
                break;
            }
            if (*why != server_close::idle_timeout) {
                ledger_.leave();
            }
            stats_.server_closes[static_cast<std::size_t>(*why)].add();
            set_state(*s, server_state::closing, now);
            close(*s, *why);
        }
        s = before;
    }
}

} // namespace pgweir::pool
