// The numbers one pool runs by: what configuration says for this database and user. A value.
#pragma once

#include "pool/ids.hpp"

#include <chrono>
#include <cstdint>

namespace pgweir::pool {

enum class pool_mode : std::uint8_t { transaction, session, statement };

struct limits {
    pool_mode mode = pool_mode::transaction;
    /// Test-only: hand out the server that was idle longest, so that a client changes servers at
    /// every permitted boundary, instead of the one used last.
    bool rotate = false;
    /// False: each server is opened for one client (shard::next_to_open_for) and closed after it;
    /// none is ever idle. Then `minconn` is 0.
    bool reuse = true;
    std::uint32_t minconn = 5;
    std::uint32_t maxconn = 50;
    std::uint32_t prepared_statements = 200; // named ones on each server; 0: they pin
    duration wait_timeout = std::chrono::seconds(5);
    duration idle_timeout = std::chrono::minutes(10); // above minconn; 0: never
    duration max_lifetime = std::chrono::hours(1);    // 0: for ever
    /// Lifetimes are shortened by a random part of up to this fraction, so that servers opened
    /// together do not close together.
    double lifetime_jitter = 0.1;
    duration connect_timeout = std::chrono::seconds(15);
    duration pin_idle_timeout{};   // of a pinned client; 0: never
    std::uint32_t audit_every = 0; // one in so many leases is audited; 0: none
    bool observe = false;          // session mode: count what would pin in transaction mode
    // What is not to pin, by bit (the engine says which is which): refused, or let pass.
    std::uint16_t rejected_state = 0, ignored_state = 0;
    bool listens_for_all = true; // one connection, beside maxconn; else LISTEN pins like the others
    bool shares_sql_statements =
        true; // SQL's PREPARE is carried out wherever it is needed; else it pins
    duration retry_min = std::chrono::milliseconds(50);  // back-off after a failed connect:
    duration retry_max = std::chrono::milliseconds(500); // doubles from min to max
    /// A waiter elsewhere is served before one here only when it has waited this much longer.
    duration migration_margin = std::chrono::milliseconds(2);
};

} // namespace pgweir::pool
