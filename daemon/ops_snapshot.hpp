// What an operator can be told about the daemon at one moment: one value per pool and one for the
// process. Metrics, status page and console all read this, so they cannot disagree.
//
// Owner: whoever asked for it, for as long as it renders. Thread: made and read on the ops thread;
// the stats behind it are written by workers meanwhile (single-writer counters, relaxed loads).
// The cost of making and rendering it grows with pools and workers, never with clients.
#pragma once

#include "pool/close_reason.hpp"
#include "pool/ledger.hpp"
#include "pool/limits.hpp"
#include "pool/stats.hpp"

#include <array>
#include <chrono>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

namespace pgweir::daemon {

/// One pool: a (database, user) pair, across workers.
struct pool_snapshot {
    std::string database;
    std::string user;
    pool::limits limits;
    std::uint32_t taken = 0; // ledger: servers connecting + open, what maxconn bounds
    /// Replication connections, which have a bound of their own beside maxconn.
    std::uint32_t replication = 0;
    std::uint32_t max_replication = 0;
    /// The listening connection, beside maxconn as well: one or none; and what it listens to.
    std::uint32_t listening = 0;
    std::uint64_t channels = 0;
    pool::ledger::health health = pool::ledger::health::unknown;
    bool names_known = false; // what functions, views and triggers do to a session; or it is of no
                              // interest here
    /// One per worker. They outlive the snapshot: a pool's stats are never freed while the daemon
    /// runs.
    std::vector<const pool::stats*> per_worker;

    [[nodiscard]] std::uint64_t sum(pool::counter pool::stats::*which) const;
    /// The same for a counter that goes up and down. Workers are read one after the other while
    /// servers move between them, so a sum can be off by one for a moment; it is never below 0.
    [[nodiscard]] std::uint64_t sum_now(pool::counter pool::stats::*which) const;
    /// PostgreSQL answers (or has not been tried yet).
    [[nodiscard]] bool reachable() const { return health != pool::ledger::health::unreachable; }
    /// Servers in use / maxconn.
    [[nodiscard]] double utilisation() const;
};

/// What no pool owns.
struct process_snapshot {
    std::uint64_t clients = 0; // connections, logged in or not
    std::uint64_t max_clients = 0;
    std::uint64_t accepted = 0;        // connections, ever
    std::uint64_t cancel_requests = 0; // connections that carried one
    /// Connections that ended before their login was complete, by why. Those that carried a
    /// CancelRequest are not failures and are counted above.
    std::array<std::uint64_t, pool::client_close_count> login_failures{};
    std::uint64_t reloads = 0; // configuration taken over
    std::uint64_t reload_failures = 0;
    bool last_reload_ok = true;
    std::uint32_t workers = 0;
    std::uint64_t statements = 0;      // distinct prepared statements that clients refer to
    std::uint64_t statement_bytes = 0; // what is held of them
    std::uint64_t dropped_log_lines = 0;
};

/// Where snapshots come from. Both are called on the ops thread.
struct snapshot_source {
    std::function<std::vector<pool_snapshot>()> pools;
    std::function<process_snapshot()> process;
};

/// The version that was built, for pgweir_build_info, the status page and `pgweir version`.
[[nodiscard]] std::string_view build_version();

} // namespace pgweir::daemon
