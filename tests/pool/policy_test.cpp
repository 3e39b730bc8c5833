// The pool's decisions as tables. Each table also checks that every value of its enum is reached.
#include "pool/policy.hpp"

#include <doctest/doctest.h>

#include <set>

using namespace pgweir::pool;
using namespace std::chrono_literals;

namespace {

constexpr time_point at(duration since_start) { return time_point(since_start); }

} // namespace

TEST_CASE("should_grow: whether to open a server, and why") {
    using enum ledger::health;
    struct row {
        const char* story;
        growth_facts facts;
        std::uint32_t minconn, maxconn;
        growth expected;
    };
    // facts: waiting, connecting, staying, taken, health, may_try, warm
    const row rows[] = {
        {"first client", {1, 0, 0, 0, unknown, true, true}, 5, 50, growth::open_for_waiter},
        {"a waiter, minimum reached", {1, 0, 5, 5, up, true, true}, 5, 50, growth::open_for_waiter},
        {"more wait than connect", {3, 2, 9, 9, up, true, true}, 5, 50, growth::open_for_waiter},
        {"last slot", {1, 0, 49, 49, up, true, true}, 5, 50, growth::open_for_waiter},
        {"nobody waits, below minimum",
         {0, 0, 4, 4, up, true, true},
         5,
         50,
         growth::open_for_minimum},
        {"one leaves and makes room below minimum",
         {0, 0, 4, 5, up, true, true},
         5,
         50,
         growth::open_for_minimum},
        {"connecting covers the waiter, minimum is still short",
         {1, 1, 1, 1, up, true, true},
         5,
         50,
         growth::open_for_minimum},
        {"connecting covers the waiters", {2, 2, 7, 7, up, true, true}, 5, 50, growth::enough},
        {"more connect than wait", {0, 3, 7, 7, up, true, true}, 5, 50, growth::enough},
        {"nothing wanted", {0, 0, 5, 5, up, true, true}, 5, 50, growth::enough},
        {"nothing wanted, though down",
         {0, 0, 5, 5, unreachable, false, true},
         5,
         50,
         growth::enough},
        {"cold: the minimum is not kept", {0, 0, 0, 0, up, true, false}, 5, 50, growth::enough},
        {"cold: a waiter is served", {1, 0, 0, 0, up, true, false}, 5, 50, growth::open_for_waiter},
        {"no minimum", {0, 0, 0, 0, up, true, true}, 0, 50, growth::enough},
        {"at maxconn", {1, 0, 50, 50, up, true, true}, 5, 50, growth::at_bound},
        {"above a lowered maxconn", {1, 0, 50, 50, up, true, true}, 5, 20, growth::at_bound},
        {"leaving ones hold their slots", {1, 0, 10, 50, up, true, true}, 5, 50, growth::at_bound},
        {"below minimum, but leaving ones fill the bound",
         {0, 0, 2, 5, up, true, true},
         5,
         5,
         growth::at_bound},
        {"at the bound beats backing off",
         {1, 0, 5, 5, unreachable, false, true},
         1,
         5,
         growth::at_bound},
        {"down, not yet time", {1, 0, 0, 0, unreachable, false, true}, 5, 50, growth::backing_off},
        {"down, the one that may knock",
         {1, 0, 0, 0, unreachable, true, true},
         5,
         50,
         growth::open_for_waiter},
        {"somebody else makes the first attempt",
         {1, 0, 1, 1, unknown, false, true},
         5,
         50,
         growth::backing_off},
        {"down, minimum short", {0, 0, 4, 4, unreachable, false, true}, 5, 50, growth::backing_off},
        {"up again, one at a time", {1, 0, 4, 4, up, false, true}, 1, 50, growth::backing_off},
        {"full, not yet time", {1, 0, 9, 9, full, false, true}, 5, 50, growth::server_full},
        {"full, the one that may try",
         {1, 0, 9, 9, full, true, true},
         5,
         50,
         growth::open_for_waiter},
        {"somebody waits longer elsewhere",
         {1, 0, 9, 9, up, true, true, true},
         5,
         50,
         growth::others_first},
        {"… but there is no slot", {1, 0, 50, 50, up, true, true, true}, 5, 50, growth::at_bound},
        {"maxconn 0 opens nothing", {1, 0, 0, 0, up, true, true}, 0, 0, growth::at_bound},
    };
    std::set<growth> reached;
    for (const auto& row : rows) {
        CAPTURE(row.story);
        limits bounds;
        bounds.minconn = row.minconn;
        bounds.maxconn = row.maxconn;
        const auto decision = should_grow(row.facts, bounds);
        CHECK_MESSAGE(decision == row.expected, to_string(decision));
        reached.insert(decision);
    }
    CHECK(reached.size() == 7);
    for (const auto decision : reached) {
        CHECK(to_string(decision) != "?");
    }
}

TEST_CASE("should_evict: which idle server closes, and why") {
    struct row {
        const char* story;
        duration now, idle_since, expires_at;
        std::uint32_t staying;
        duration idle_timeout;
        std::optional<server_close> expected;
    };
    // minconn 5, maxconn 10
    const row rows[] = {
        {"fresh", 10s, 9s, 1h, 8, 60s, std::nullopt},
        {"idle for just under the limit", 60s, 1ns, 1h, 8, 60s, std::nullopt},
        {"idle for the limit", 60s, 0s, 1h, 8, 60s, server_close::idle_timeout},
        {"at the minimum it stays", 600s, 0s, 1h, 5, 60s, std::nullopt},
        {"below the minimum it stays", 600s, 0s, 1h, 3, 60s, std::nullopt},
        {"one above the minimum", 600s, 0s, 1h, 6, 60s, server_close::idle_timeout},
        {"no idle limit", 600s, 0s, 1h, 8, 0s, std::nullopt},
        {"just before its end", 1h - 1ns, 1h - 1s, 1h, 5, 60s, std::nullopt},
        {"at its end, even at the minimum", 1h, 1h - 1s, 1h, 5, 60s, server_close::max_lifetime},
        {"old and idle: its age is the reason", 2h, 0s, 1h, 8, 60s, server_close::max_lifetime},
        {"at maxconn", 1s, 0s, 1h, 10, 60s, std::nullopt},
        {"above a lowered maxconn", 1s, 0s, 1h, 11, 60s, server_close::surplus},
        {"surplus before idle", 1h - 1s, 0s, 1h, 11, 60s, server_close::surplus},
        {"surplus without an idle limit", 1s, 0s, 1h, 11, 0s, server_close::surplus},
    };
    for (const auto& row : rows) {
        CAPTURE(row.story);
        limits bounds;
        bounds.minconn = 5;
        bounds.maxconn = 10;
        bounds.idle_timeout = row.idle_timeout;
        CHECK(should_evict(at(row.now), at(row.idle_since), at(row.expires_at), row.staying,
                           bounds) == row.expected);
    }
}

TEST_CASE("expiry: a lifetime, shortened by a random part of the jitter") {
    struct row {
        duration now, max_lifetime;
        double jitter, random;
        time_point expected;
    };
    const row rows[] = {
        {0s, 1h, 0.1, 0.0, at(1h)},
        {5s, 1h, 0.1, 0.0, at(1h + 5s)},
        {0s, 1000s, 0.1, 0.5, at(950s)},
        {0s, 1000s, 0.1, 1.0, at(900s)},
        {0s, 1000s, 0.0, 0.9, at(1000s)},
        {0s, 1000s, 1.0, 0.75, at(250s)},
        {7s, 0s, 0.1, 0.5, time_point::max()},
        {7s, -1s, 0.1, 0.5, time_point::max()},
        {1h, duration::max(), 0.0, 0.0, time_point::max()}, // no overflow
    };
    for (const auto& row : rows) {
        CAPTURE(row.now.count());
        CAPTURE(row.max_lifetime.count());
        CAPTURE(row.random);
        limits bounds;
        bounds.max_lifetime = row.max_lifetime;
        bounds.lifetime_jitter = row.jitter;
        CHECK(expiry(at(row.now), bounds, row.random) == row.expected);
    }
}

TEST_CASE("who_is_next: age decides, but a small difference does not move a server") {
    using enum next_holder::to;
    const worker_index there{3};
    struct row {
        const char* story;
        std::optional<time_point> here;
        std::optional<time_point> elsewhere;
        next_holder::to expected;
    };
    const row rows[] = {
        {"nobody waits", std::nullopt, std::nullopt, nobody},
        {"one here", at(10ms), std::nullopt, waiter_here},
        {"one elsewhere", std::nullopt, at(10ms), waiter_elsewhere},
        {"here is older", at(10ms), at(20ms), waiter_here},
        {"same age", at(10ms), at(10ms), waiter_here},
        {"elsewhere older, within the margin", at(10ms), at(9ms), waiter_here},
        {"elsewhere older by exactly the margin", at(10ms), at(8ms), waiter_here},
        {"elsewhere older by more", at(10ms), at(8ms - 1ns), waiter_elsewhere},
    };
    std::set<next_holder::to> reached;
    for (const auto& row : rows) {
        CAPTURE(row.story);
        std::optional<ledger::waiting_elsewhere> elsewhere;
        if (row.elsewhere) {
            elsewhere = {there, *row.elsewhere};
        }
        const auto next = who_is_next(row.here, elsewhere, 2ms);
        CHECK(next.whom == row.expected);
        CHECK(next.worker == (row.expected == waiter_elsewhere ? there : worker_index{}));
        reached.insert(next.whom);
    }
    CHECK(reached.size() == 3);
}
