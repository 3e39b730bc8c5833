// One worker's part of one pool: its servers, its waiters, and the rules by which they meet.
// No bytes, no sockets, no clock: whoever drives it opens and closes connections as it says.
//
// Every server is in exactly one state, and each state is a list it is on. Counts change where
// lists do: in put_on_list() and take_off_list(). Waiters are served first come, first served.
//
// No wake-up is lost between workers if the driver keeps to this:
//   acquire() gave none:      grow() until it says no, ask whom_to_ask()
//   asked by another worker:  send it give_idle(); has none: pass the question on (whom_else())
//   free() says other_worker: send the server there; there: adopt(), free()
//   free() says close; after begin_close(), closed(), report_up(), set_limits(), and at
//   next_deadline():          grow() until it says no
//   grow() says others_first: grow() again after migration_margin, that one may have gone
//   the last client leaves:   the others that have idle servers have a deadline now:
//   next_deadline() closed(), report_up():    then also wake_others(); the woken one calls grow(),
//   but wakes
//                             nobody in turn, or two would wake each other for ever
//
// Owner: a worker's engine, one per (database, user). Thread: that worker's.
// Tests: tests/pool/shard_test.cpp and shard_growth_test.cpp step by step, schedule_test.cpp in
// random schedules, race_test.cpp and workers_test.cpp on threads.
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
    /// For one that waits already nothing changes.
    [[nodiscard]] server* acquire(waiter& who, time_point now);
    /// … gets this one, which is idle.
    void lease_idle(server& which, waiter& who, time_point now);
    /// … joins the queue. Where any server does for anybody, nobody waits while one is idle.
    void wait(waiter& who, time_point now);
    /// The server that was to be opened for it is not: it waits again, in its old place.
    void wait_again(waiter& who);
    /// The server that acquire() would give now.
    [[nodiscard]] server* next_idle() const;
    /// `who` no longer waits (time-out, cancel, gone). No-op for one that does not wait.
    void leave_queue(waiter& who);
    /// The oldest waiter, or none.
    [[nodiscard]] waiter* oldest_waiter();
    [[nodiscard]] const intrusive_list<waiter>& waiters() const { return waiters_; }

    // Servers -----------------------------------------------------------------------------------

    /// Where a free server goes. The shard has already set its state.
    struct placement {
        enum class to : std::uint8_t { waiter, idle, other_worker, close } where;
        waiter* client = nullptr; // waiter: it no longer waits and holds the lease
        worker_index worker{};    // other_worker: forget the server here and send it there
        server_close reason{};    // close: begin_close() has been done
    };
    /// A leased, resetting, connecting (logged in now) or adopted server may be used. Refuses
    /// (close) one that is too old or surplus; grow() and wake_others() find it a successor.
    [[nodiscard]] placement free(server& who, time_point now);
    /// Leased -> resetting.
    void begin_reset(server& who, time_point now);
    /// A closing server is gone. True: its slot stays taken for another one, to be opened at once.
    /// False: that may not be now; nothing has been done, call closed().
    [[nodiscard]] bool pass_slot_on(server& who, time_point now);
    /// Any state -> closing, counted under `reason`. The slot stays taken until `closed`. One that
    /// is closing already keeps its first reason.
    void begin_close(server& who, server_close reason, time_point now);
    /// It is gone at PostgreSQL too: gives the slot back and forgets it. From any state.
    void closed(server& who);

    /// For limits without reuse, when grow() has said open_for_waiter: whom the server is for. That
    /// client waits no longer; when the server has logged in, it is leased to it and to nobody
    /// else.
    [[nodiscard]] waiter& next_to_open_for(time_point now);
    /// Connecting -> leased to whom it was opened for.
    void lease_own(server& who, client_id to, time_point now);
    /// Slot taken, socket about to be opened (after `grow` said so).
    void add_connecting(server& who, time_point now, double random);
    /// A server comes from another worker; its slot is taken already. Then call free(). In between
    /// it counts as resetting.
    void adopt(server& who, time_point now);
    /// A server goes to another worker: forgotten here, the slot stays taken.
    void release_to_other(server& who);
    /// One idle server for another worker's waiter, or none. Already released from here.
    [[nodiscard]] server* give_idle();

    /// The one that has been idle longest, for clients of another pool, now closing; below minconn
    /// only where nobody uses the pool, which then keeps none until somebody comes. None:
    /// nothing that may be spared.
    [[nodiscard]] server* give_up_idle(time_point now);
    [[nodiscard]] bool can_spare_idle() const;

    // Growth and decay ----------------------------------------------------------------------------

    /// Should a server be opened now? Takes the slot when it says so (open_…): call
    /// add_connecting() then. Call until it says no: minconn is refilled at once. Whoever opens one
    /// reports its end to shared(): report_up() or report_failure().
    [[nodiscard]] growth grow(time_point now);
    /// Another worker that should be asked for an idle server, when somebody waits here. Asked also
    /// while a server is connecting for the waiter: an idle one is microseconds away, a new one
    /// milliseconds, or a whole connect_timeout.
    [[nodiscard]] std::optional<worker_index> whom_to_ask() const;
    /// Asked by `asker` for an idle server, but none is left here: who has one still? The question
    /// must go on to that worker, or an idle server and a waiter may never meet.
    [[nodiscard]] std::optional<worker_index> whom_else(worker_index asker) const;
    /// Calls `wake(worker_index)` for every other worker with waiters while a slot is free: it
    /// should call grow(). For when a slot has come free that is not wanted here, or PostgreSQL is
    /// back: nothing else would tell them before their next deadline.
    template <typename Wake>
    void wake_others(Wake&& wake) const;
    /// Calls `close(server&, server_close)` for every idle server that is due; begin_close() has
    /// been done for it. `close` may call anything here, closed() included.
    template <typename Close>
    void sweep(time_point now, Close&& close);
    /// The oldest waiter that has waited out, already removed from the queue; none: nullptr.
    [[nodiscard]] waiter* next_timed_out(time_point now);
    /// When something here is due next (time-outs, expiries, retries). Then call next_timed_out()
    /// and grow() until they say no, and sweep(): after these the deadline lies in the future, or
    /// is none; what no deadline could bring about (a slot that only another worker can free) is
    /// not in it. So a timer that follows it never spins.
    [[nodiscard]] std::optional<time_point> next_deadline() const;

    /// Keep minconn open from now on, until the pool has been unused for idle_timeout
    /// (ledger::is_unused()).
    void set_warm(bool warm) { warm_ = warm; }
    /// Configuration has changed.
    void set_limits(const limits& bounds);
    [[nodiscard]] const limits& bounds() const { return limits_; }
    [[nodiscard]] ledger& shared() { return ledger_; }
    [[nodiscard]] stats& counters() { return stats_; }

    [[nodiscard]] std::uint32_t count(server_state state) const;
    [[nodiscard]] const intrusive_list<server>& servers(server_state state) const;
    [[nodiscard]] std::uint32_t waiting() const;

private:
    static constexpr std::size_t states = 5;

    void set_state(server& who, server_state to, time_point now);
    void put_on_list(server& who, server_state state, time_point now);
    void take_off_list(server& who);
    void lease(server& who, client_id to, time_point now);
    void mark_closing(server& who, server_close reason, time_point now);
    void observe_wait(const waiter& who, time_point now);
    void publish_waiters();
    void publish_idle();
    [[nodiscard]] growth_facts facts() const;
    [[nodiscard]] bool attempt_wanted() const;
    intrusive_list<server>& list_of(server_state state);
    counter& gauge_of(server_state state);

    struct eviction {
        server* who;
        server_close reason;
    };
    /// The next idle server that is due, marked as leaving in the ledger.
    [[nodiscard]] std::optional<eviction> next_eviction(time_point now);

    ledger& ledger_;
    stats& stats_;
    worker_index self_;
    limits limits_;
    bool warm_ = false;
    intrusive_list<waiter> waiters_;          // oldest first
    intrusive_list<server> by_state_[states]; // idle: used last is at the front
    /// No idle server expires before this. May be too early (it has left meanwhile); sweep() makes
    /// it exact again. Spares next_deadline() the walk over all idle servers.
    time_point first_expiry_ = time_point::max();
};

template <typename Wake>
void shard::wake_others(Wake&& wake) const {
    for (std::uint32_t at = 0; at < ledger_.workers(); ++at) {
        if (at != self_.value && ledger_.taken() < limits_.maxconn &&
            ledger_.has_waiter(worker_index{at})) {
            wake(worker_index{at});
        }
    }
}

template <typename Close>
void shard::sweep(time_point now, Close&& close) {
    // Each time from the start: `close` may have changed any list.
    while (const auto due = next_eviction(now)) {
        mark_closing(*due->who, due->reason, now);
        close(*due->who, due->reason);
    }
}

} // namespace pgweir::pool
