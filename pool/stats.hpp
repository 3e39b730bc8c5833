// Counters and histograms of one pool on one worker. One writer (the worker), any reader: plain
// relaxed stores, no lock prefix, no shared cache line. A reader sums over workers; what it costs
// does not depend on the number of clients.
// Tests: tests/pool/stats_test.cpp.
#pragma once

#include "pool/close_reason.hpp"
#include "pool/ids.hpp"

#include <array>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

namespace pgweir::pool {

/// A number that one thread writes and any thread reads.
class counter {
public:
    void add(std::uint64_t n = 1) {
        value_.store(value_.load(std::memory_order_relaxed) + n, std::memory_order_relaxed);
    }
    void subtract(std::uint64_t n = 1) {
        value_.store(value_.load(std::memory_order_relaxed) - n, std::memory_order_relaxed);
    }
    void set(std::uint64_t n) { value_.store(n, std::memory_order_relaxed); }
    [[nodiscard]] std::uint64_t load() const { return value_.load(std::memory_order_relaxed); }

private:
    std::atomic<std::uint64_t> value_{0};
};

/// Durations in buckets of 1-2.5-5 per decade, 100 µs to 100 s, and one above.
class duration_histogram {
public:
    static constexpr std::array<double, 19> upper_bounds_seconds{
        0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1,
        0.25,   0.5,     1.0,    2.5,   5.0,    10.0,  25.0, 50.0,  100.0};

    void observe(duration value);
    /// Not cumulative: how many fell between the bound before and this one; last: above all.
    [[nodiscard]] std::uint64_t bucket(std::size_t i) const { return buckets_[i].load(); }
    [[nodiscard]] std::uint64_t count() const;
    [[nodiscard]] double sum_seconds() const;

private:
    std::array<counter, upper_bounds_seconds.size() + 1> buckets_;
    counter sum_ns_;
};

/// All that is counted of a pool. Names follow the exported metrics.
struct stats {
    // Now
    counter clients;        // logged in
    counter clients_active; // holding a server
    counter clients_waiting;
    counter servers_connecting; // connecting or logging in
    counter servers_idle;
    counter servers_in_use;    // leased
    counter servers_resetting; // being cleaned, or waiting for a cancel to close
    counter servers_closing;
    // Ever
    counter transactions;
    counter transactions_pinned; // … of clients that had kept their server from the one before
    counter queries;
    counter assignments; // leases given
    counter exhausted;   // a client had to wait because the pool was at its bound
    counter wait_timeouts;
    counter migrations; // servers that came from another worker
    counter bytes_from_clients;
    counter bytes_to_clients;
    counter bytes_from_servers;
    counter bytes_to_servers;
    counter logins;
    counter server_connects;
    counter pins;                                  // leases kept beyond their transaction
    counter clients_pinned;                        // now
    static constexpr std::size_t pin_reasons = 11; // the engine says which is which
    std::array<counter, pin_reasons> pins_now, pins_by_reason, pinned_ns;
    std::array<counter, pin_reasons> leaks; // audits that found such a thing left behind
    counter audits, audits_failed;          // …, those that got no answer
    counter statements_found;               // uses of a prepared statement that the server had
    counter statements_provided;            // … that it had to be given first
    counter statements_evicted;             // … that it had to give up for another
    counter statements_retried;         // batches sent once more because a plan had become invalid
    counter catalogue_questions;        // put to PostgreSQL about what names hide
    counter catalogue_questions_failed; // …
    counter clients_listening;          // now, through the listening connection
    counter channels;                   // now, that it listens to
    counter notifications;              // that clients were told of by it
    counter listen_gaps;                // times it was lost
    counter wait_ns, transaction_ns, query_ns; // totals, for SHOW STATS
    std::array<counter, client_close_count> client_closes;
    std::array<counter, server_close_count> server_closes;
    /// Errors that PostgreSQL sent to clients, by SQLSTATE class (two characters, base 36).
    std::array<counter, 36 * 36> errors_by_class;
    duration_histogram wait_time;        // of those who had to wait
    duration_histogram transaction_time; // from the first message to the last ReadyForQuery
    duration_histogram query_time;

    /// Index into errors_by_class, for a SQLSTATE; what is none counts as XX.
    [[nodiscard]] static std::size_t class_index(std::string_view sqlstate);
};

} // namespace pgweir::pool
