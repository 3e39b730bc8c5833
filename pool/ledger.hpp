// What all workers share of one pool: the count that maxconn bounds, who has idle servers, who has
// waiters, and whether PostgreSQL can be reached. Atomics only; no lock, and nothing here is
// touched by a transaction that finds a server on its own worker, but for one load.
//
// Owner: the pool directory; every worker's shard holds a reference. Life: the process.
// Thread: any. Tests: tests/pool/ledger_test.cpp (also under ThreadSanitizer).
#pragma once

#include "pool/ids.hpp"

#include <atomic>
#include <cstdint>
#include <limits>
#include <memory>
#include <optional>

namespace pgweir::pool {

class ledger {
public:
    explicit ledger(std::uint32_t workers);

    // The bound: connecting + open, across workers ---------------------------------------------

    /// Takes one slot if fewer than `bound` are taken. The only way the count grows.
    [[nodiscard]] bool try_take(std::uint32_t bound);
    /// Gives a slot back: the server is gone at PostgreSQL too.
    void give_back();
    [[nodiscard]] std::uint32_t taken() const { return taken_.load(std::memory_order_seq_cst); }

    /// Marks one taken slot as leaving if more than `floor` would stay; for evictions, so that two
    /// workers together never go below minconn. `give_back(leaving)` follows when it is gone.
    [[nodiscard]] bool try_leave(std::uint32_t floor);
    /// Marks a slot as leaving whatever stays (broken, too old).
    void leave();
    void give_back_left();
    /// Taken and not leaving: what counts against minconn.
    [[nodiscard]] std::uint32_t staying() const;

    // Between workers ---------------------------------------------------------------------------

    /// This worker's number of idle servers, and since when its oldest waiter waits. Written by
    /// that worker only, in the order that loses no wake-up: a waiter is published before the
    /// idle counts of others are read, an idle server before their waiters are (seq_cst both).
    void publish_idle(worker_index worker, std::uint32_t count);
    void publish_oldest_waiter(worker_index worker, std::optional<time_point> since);

    /// Another worker that has an idle server.
    [[nodiscard]] std::optional<worker_index> who_has_idle(worker_index self) const;
    struct waiting_elsewhere {
        worker_index worker;
        time_point since;
    };
    /// The other worker whose oldest waiter waits longest.
    [[nodiscard]] std::optional<waiting_elsewhere> oldest_waiter(worker_index self) const;

    // Reachability: one for all workers, so that only one of them knocks ---------------------------

    enum class health : std::uint8_t {
        unknown,     // never tried
        up,
        unreachable, // connect or login failed: one attempt at a time, spaced by the back-off
        full,        // PostgreSQL said 53300: no growth beyond what is open until the retry time
    };
    [[nodiscard]] health state() const { return health_.load(std::memory_order_acquire); }
    /// An attempt succeeded. True when that is news (for the one log line).
    bool report_up();
    /// An attempt failed; the next may start after the back-off, which is returned. True when news.
    struct failure_report {
        bool news;
        duration retry_in;
    };
    failure_report report_failure(health what, time_point now, duration retry_min,
                                  duration retry_max);
    /// May an attempt start now? While not up, exactly one caller per back-off period gets a yes.
    [[nodiscard]] bool may_try(time_point now);
    /// When a caller that got a no should ask again.
    [[nodiscard]] time_point next_try() const;

private:
    static constexpr std::int64_t nobody = std::numeric_limits<std::int64_t>::max();
    struct alignas(64) board {
        std::atomic<std::uint32_t> idle{0};
        std::atomic<std::int64_t> oldest_waiter_ns{nobody};
    };
    std::uint32_t workers_;
    std::unique_ptr<board[]> boards_;
    alignas(64) std::atomic<std::uint32_t> taken_{0};
    std::atomic<std::uint32_t> leaving_{0};
    alignas(64) std::atomic<health> health_{health::unknown};
    std::atomic<std::int64_t> next_try_ns_{0};
    std::atomic<std::int64_t> backoff_ns_{0};
};

} // namespace pgweir::pool
