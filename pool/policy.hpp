// The pool's decisions, each a pure function that says why. Tests: tests/pool/policy_test.cpp.
#pragma once

#include "pool/close_reason.hpp"
#include "pool/ids.hpp"
#include "pool/ledger.hpp"
#include "pool/limits.hpp"

#include <cstdint>
#include <optional>
#include <string_view>

namespace pgweir::pool {

/// Should a worker open another server?
enum class growth : std::uint8_t {
    open_for_waiter,  // somebody waits that no connecting server is meant for
    open_for_minimum, // below minconn
    enough,           // as many are connecting as wait
    at_bound,         // maxconn
    backing_off,      // PostgreSQL does not answer: not before the next try
    server_full,      // PostgreSQL has no connection left for us
    others_first,     // somebody on another worker has waited longer for the slot there is
};
struct growth_facts {
    std::uint32_t waiting = 0;    // on this worker
    std::uint32_t connecting = 0; // on this worker, for those who wait
    std::uint32_t staying = 0;    // across workers
    std::uint32_t taken = 0;      // across workers
    ledger::health health = ledger::health::unknown;
    bool may_try = true;
    bool warm = true; // keep minconn open (somebody uses this pool, or it is configured to)
    /// Somebody waits longer on another worker, and only a slot can help there (limits::reuse).
    bool older_elsewhere = false;
};
[[nodiscard]] growth should_grow(const growth_facts& facts, const limits& bounds);

/// Should an idle server be closed, and why?
[[nodiscard]] std::optional<server_close> should_evict(time_point now, time_point idle_since,
                                                       time_point expires_at, std::uint32_t staying,
                                                       const limits& bounds);

/// When a server opened now is too old. `random` in [0, 1).
[[nodiscard]] time_point expiry(time_point now, const limits& bounds, double random);

/// A server came free here. Who gets it?
struct next_holder {
    enum class to : std::uint8_t { waiter_here, waiter_elsewhere, nobody } whom;
    worker_index worker{}; // for waiter_elsewhere
};
[[nodiscard]] next_holder who_is_next(std::optional<time_point> oldest_here,
                                      std::optional<ledger::waiting_elsewhere> oldest_elsewhere,
                                      duration margin);

[[nodiscard]] std::string_view to_string(growth decision);

} // namespace pgweir::pool
