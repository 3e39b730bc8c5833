// The decisions of policy.hpp. Pure: facts in, decision out.
#include "pool/policy.hpp"

namespace pgweir::pool {

growth should_grow(const growth_facts& facts, const limits& bounds) {
    // Is another one wanted?
    const bool for_waiter = facts.waiting > facts.connecting;
    const bool for_minimum = facts.warm && facts.staying < bounds.minconn;
    if (!for_waiter && !for_minimum) {
        return growth::enough;
    }
    // May it be had? A server that is leaving still counts here: it exists at PostgreSQL.
    if (facts.taken >= bounds.maxconn) {
        return growth::at_bound;
    }
    if (!facts.may_try) {
        return facts.health == ledger::health::full ? growth::server_full : growth::backing_off;
    }
    if (for_waiter && facts.older_elsewhere) {
        return growth::others_first;
    }
    return for_waiter ? growth::open_for_waiter : growth::open_for_minimum;
}

std::optional<server_close> should_evict(time_point now, time_point idle_since,
                                         time_point expires_at, std::uint32_t staying,
                                         const limits& bounds) {
    if (now >= expires_at) {
        return server_close::max_lifetime;
    }
    if (staying > bounds.maxconn) {
        return server_close::surplus;
    }
    if (bounds.idle_timeout > duration(0) && staying > bounds.minconn &&
        now - idle_since >= bounds.idle_timeout) {
        return server_close::idle_timeout;
    }
    return std::nullopt;
}

time_point expiry(time_point now, const limits& bounds, double random) {
    if (bounds.max_lifetime <= duration(0)) {
        return time_point::max();
    }
    const auto shorter =
        static_cast<double>(bounds.max_lifetime.count()) * bounds.lifetime_jitter * random;
    const auto lifetime = bounds.max_lifetime - duration(static_cast<std::int64_t>(shorter));
    // A lifetime of centuries is "for ever" too, not an overflow.
    return lifetime > time_point::max() - now ? time_point::max() : now + lifetime;
}

next_holder who_is_next(std::optional<time_point> oldest_here,
                        std::optional<ledger::waiting_elsewhere> oldest_elsewhere,
                        duration margin) {
    if (oldest_here) {
        // Moving costs two workers a wake-up, so a small difference in age does not pay for it.
        if (oldest_elsewhere && *oldest_here - oldest_elsewhere->since > margin) {
            return {next_holder::to::waiter_elsewhere, oldest_elsewhere->worker};
        }
        return {next_holder::to::waiter_here, {}};
    }
    if (oldest_elsewhere) {
        return {next_holder::to::waiter_elsewhere, oldest_elsewhere->worker};
    }
    return {next_holder::to::nobody, {}};
}

std::string_view to_string(growth decision) {
    switch (decision) {
    case growth::open_for_waiter:
        return "open_for_waiter";
    case growth::open_for_minimum:
        return "open_for_minimum";
    case growth::enough:
        return "enough";
    case growth::at_bound:
        return "at_bound";
    case growth::others_first:
        return "others_first";
    case growth::backing_off:
        return "backing_off";
    case growth::server_full:
        return "server_full";
    }
    return "?";
}

} // namespace pgweir::pool
