// What all workers share of one pool: the count that maxconn bounds, who has idle servers, who has
// waiters, and whether PostgreSQL can be reached. Atomics only; no lock, and nothing here is
// touched by a transaction that finds a server on its own worker, but for one load.
//
// Owner: the pool directory; every worker's shard holds a reference. Life: the process.
// Thread: any. Tests: tests/pool/ledger_test.cpp, race_test.cpp (also under ThreadSanitizer).
#pragma once

#include "pool/ids.hpp"

#include <atomic>
#include <chrono>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>
#include <string_view>

namespace pgweir::pool {

class ledger {
public:
    explicit ledger(std::uint32_t workers);

    // The bound: connecting + open, across workers ---------------------------------------------

    static constexpr std::uint32_t no_minimum = std::numeric_limits<std::uint32_t>::max();

    /// Takes one slot if fewer than `bound` are taken, leaving ones included: those still exist at
    /// PostgreSQL. With a `minimum`, only if fewer than that would stay, so that two workers
    /// filling up to minconn do not overshoot together. The only way the count grows.
    [[nodiscard]] bool try_take(std::uint32_t bound, std::uint32_t minimum = no_minimum);
    /// Gives a slot back: the server is gone at PostgreSQL too.
    void give_back();
    [[nodiscard]] std::uint32_t taken() const { return taken_of(counts_.load()); }

    /// Marks one taken slot as leaving if more than `floor` would stay; for evictions, so that two
    /// workers together never go below minconn. `give_back_left()` follows when it is gone.
    [[nodiscard]] bool try_leave(std::uint32_t floor);
    /// Marks a slot as leaving whatever stays (broken, too old).
    void leave();
    void give_back_left();
    /// It is gone, but another server takes its slot over at once.
    void pass_on_left();
    /// Taken and not leaving: what counts against minconn.
    [[nodiscard]] std::uint32_t staying() const { return staying_of(counts_.load()); }

    // Between workers ---------------------------------------------------------------------------

    /// This worker's number of idle servers, and since when its oldest waiter waits. Written by
    /// that worker only, in the order that loses no wake-up: a waiter is published before the
    /// idle counts of others (and the count above) are read, an idle server (or a slot given back)
    /// before their waiters are (seq_cst both).
    void publish_idle(worker_index worker, std::uint32_t count);
    void publish_oldest_waiter(worker_index worker, std::optional<time_point> since);

    /// Another worker that has an idle server: the one with most.
    [[nodiscard]] std::optional<worker_index> who_has_idle(worker_index self) const;
    struct waiting_elsewhere {
        worker_index worker;
        time_point since;
    };
    /// The other worker whose oldest waiter waits longest.
    [[nodiscard]] std::optional<waiting_elsewhere> oldest_waiter(worker_index self) const;
    [[nodiscard]] bool has_waiter(worker_index worker) const;
    [[nodiscard]] std::uint32_t workers() const { return workers_; }

    // Who uses it -------------------------------------------------------------------------------

    /// A client has logged in.
    void client_came() { clients_.fetch_add(1); }
    /// One has left. True: it was the last, and from now on the pool is unused.
    [[nodiscard]] bool client_left(time_point now);
    [[nodiscard]] bool has_clients() const { return clients_.load() != 0; }
    /// The configuration asks for its minimum: it is never unused.
    void keep_warm() { kept_warm_.store(true); }
    /// Others need its servers: it is unused, however short a time nobody has been there, and kept
    /// warm no more until somebody comes.
    void let_go();
    /// Since when it has had no clients. Nothing: it has some, has had none yet, or is kept warm.
    [[nodiscard]] std::optional<time_point> unused_since() const;
    [[nodiscard]] bool is_unused(time_point now, duration for_so_long) const;
    [[nodiscard]] std::uint32_t idle() const;
    [[nodiscard]] bool has_idle(worker_index worker) const {
        return boards_[worker.value].idle.load() != 0;
    }

    // Reachability: one for all workers, so that only one of them knocks
    // ---------------------------

    enum class health : std::uint8_t {
        unknown, // never tried: one attempt at a time until a first result is known
        up,
        unreachable, // connect or login failed: one attempt at a time, spaced by the back-off
        full,        // PostgreSQL said 53300: no growth beyond what is open until the retry time
    };
    [[nodiscard]] health state() const { return unpack(reach_.load()).state; }
    /// An attempt succeeded. True when that is news (for the one log line).
    bool report_up();
    /// An attempt failed; the next may start after the back-off, which is returned. True when news.
    /// `what` is unreachable (back-off retry_min to retry_max) or full (retry_max to
    /// full_retry_max).
    struct failure_report {
        bool news;
        duration retry_in;
    };
    failure_report report_failure(health what, time_point now, duration retry_min,
                                  duration retry_max);
    /// There is room at PostgreSQL, which was full: the next attempt may start at once.
    void room_made();
    /// May an attempt start now? While up, yes. Else exactly one caller per back-off period gets a
    /// yes, which is its claim until the result is reported; a claim that nobody reports on is void
    /// after `patience` (SYNs that vanish must not keep everybody from trying for connect_timeout).
    [[nodiscard]] bool may_try(time_point now, duration patience = std::chrono::milliseconds(500));
    /// When a caller that got a no should ask again; time_point::min() while all may try.
    [[nodiscard]] time_point next_try() const;

    /// The longest back-off while PostgreSQL is full.
    static constexpr duration full_retry_max = std::chrono::seconds(5);
    /// After `full`, this many attempts must succeed one after the other before several may be made
    /// at once: one free slot at PostgreSQL must not draw fifty attempts.
    static constexpr std::uint8_t careful_after_full = 8;

private:
    // taken in the low half, leaving in the high half: one word, so that the difference is always
    // of one moment.
    static constexpr std::uint64_t one_taken = 1;
    static constexpr std::uint64_t one_leaving = std::uint64_t{1} << 32;
    static std::uint32_t taken_of(std::uint64_t counts) {
        return static_cast<std::uint32_t>(counts);
    }
    static std::uint32_t staying_of(std::uint64_t counts) {
        return static_cast<std::uint32_t>(counts) - static_cast<std::uint32_t>(counts >> 32);
    }

    // All that is known of PostgreSQL, also one word: every report is one compare-and-swap, and no
    // reader sees half of it.
    struct reachability {
        health state = health::unknown;
        bool claimed = false;     // somebody is trying, the others wait for the result
        std::uint8_t level = 0;   // the back-off has doubled so often
        std::uint8_t careful = 0; // up again after full: successes still owed
        std::uint64_t next_try_us = 0;
        [[nodiscard]] bool all_may_try() const { return state == health::up && careful == 0; }
    };
    static std::uint64_t pack(const reachability& what);
    static reachability unpack(std::uint64_t word);

    static constexpr std::int64_t for_ever = std::numeric_limits<std::int64_t>::min();
    static constexpr std::int64_t nobody = std::numeric_limits<std::int64_t>::max();
    struct alignas(64) board {
        std::atomic<std::uint32_t> idle{0};
        std::atomic<std::int64_t> oldest_waiter_ns{nobody};
    };
    std::uint32_t workers_;
    std::unique_ptr<board[]> boards_;
    alignas(64) std::atomic<std::uint64_t> counts_{0};
    alignas(64) std::atomic<std::uint64_t> reach_{0};
    alignas(64) std::atomic<std::uint32_t> clients_{0}; // written at logins and ends only
    std::atomic<std::int64_t> unused_since_ns_{nobody}; // … written before the last one is gone
    std::atomic<bool> kept_warm_{false};
};

[[nodiscard]] std::string_view to_string(ledger::health state);

} // namespace pgweir::pool
