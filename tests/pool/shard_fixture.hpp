// What the tests of shard share: two workers on one ledger, clients and servers to play with.
#pragma once

#include "pool/shard.hpp"

#include <doctest/doctest.h>

#include <deque>
#include <utility>
#include <vector>

namespace pgweir::pool {

[[nodiscard]] constexpr time_point at(duration since_start) { return time_point(since_start); }

[[nodiscard]] inline limits small_pool() {
    limits bounds;
    bounds.minconn = 0;
    bounds.maxconn = 3;
    bounds.wait_timeout = std::chrono::seconds(5);
    bounds.idle_timeout = std::chrono::seconds(60);
    bounds.max_lifetime = std::chrono::hours(1);
    bounds.lifetime_jitter = 0;
    return bounds;
}

/// Two workers on one ledger, PostgreSQL known to be up.
struct shard_fixture {
    explicit shard_fixture(const limits& limits_now = small_pool())
        : bounds(limits_now)
        , here(book, counts, worker_index{0}, bounds)
        , there(book, counts_there, worker_index{1}, bounds) {
        book.report_up();
    }

    waiter& client() {
        auto& made = clients.emplace_back();
        made.id = client_id{clients.size()};
        return made;
    }
    /// A server in `connecting`, its slot taken.
    server& connecting(shard& where, time_point now = time_point{}) {
        REQUIRE(book.try_take(1000));
        auto& made = servers.emplace_back();
        made.id = server_id{servers.size()};
        where.add_connecting(made, now, 0.0);
        return made;
    }
    server& idle(shard& where, time_point now = time_point{}) {
        auto& made = connecting(where, now);
        REQUIRE(where.free(made, now).where == shard::placement::to::idle);
        return made;
    }
    server& leased(shard& where, time_point now = time_point{}) {
        idle(where, now);
        auto* const got = where.acquire(client(), now);
        REQUIRE(got != nullptr);
        return *got;
    }
    std::uint64_t closes(server_close reason) const {
        return counts.server_closes[static_cast<std::size_t>(reason)].load();
    }
    std::vector<std::pair<server*, server_close>> sweep(time_point now) {
        std::vector<std::pair<server*, server_close>> result;
        here.sweep(now, [&](server& who, server_close why) { result.emplace_back(&who, why); });
        return result;
    }

    limits bounds;
    ledger book{2};
    stats counts, counts_there;
    shard here, there;
    std::deque<waiter> clients; // stable addresses
    std::deque<server> servers;
};

} // namespace pgweir::pool
