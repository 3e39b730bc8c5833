// Random schedules over one to four workers: whatever happens in whatever order, the bound holds,
// nobody is overtaken or forgotten, and everything is given back. A failure names its seed and
// step.
#include "tests/pool/schedule.hpp"

#include <doctest/doctest.h>

using namespace pgweir::pool;
using namespace std::chrono_literals;

namespace {

schedule::options options_for(std::uint64_t seed) {
    schedule::options how;
    how.seed = seed;
    how.workers = static_cast<std::uint32_t>(1 + seed % 4);
    how.limits_change = seed % 2 == 0;
    how.bounds.minconn = static_cast<std::uint32_t>(seed % 3);
    how.bounds.maxconn = static_cast<std::uint32_t>(2 + seed % 7);
    how.bounds.wait_timeout = 60ms;
    how.bounds.idle_timeout = 100ms;
    how.bounds.max_lifetime = 2s;
    return how;
}

} // namespace

TEST_CASE("a million random steps break nothing, and everything is given back in the end") {
    schedule::tally all;
    for (std::uint64_t seed = 1; seed <= 400; ++seed) {
        CAPTURE(seed);
        schedule world(options_for(seed));
        for (int i = 0; i < 2'500; ++i) {
            world.step();
        }
        world.wind_down();
        all.add(world.counts());
    }
    // The schedules have been everywhere.
    for (const auto count : {all.at_once, all.waited, all.served, all.cancelled, all.timed_out,
                             all.connected, all.refused, all.full, all.died, all.reset,
                             all.migrated, all.asked, all.passed_on, all.woken, all.reloads}) {
        CHECK(count > 100);
    }
    for (const auto reason :
         {server_close::connect_failed, server_close::idle_timeout, server_close::max_lifetime,
          server_close::surplus, server_close::server_eof}) {
        CAPTURE(to_string(reason));
        CHECK(all.closed[static_cast<std::size_t>(reason)] > 100);
    }
    for (std::size_t i = 0; i < all.grown.size(); ++i) {
        CAPTURE(to_string(static_cast<growth>(i)));
        CHECK(all.grown[i] > 100);
    }
}

TEST_CASE("the same seed makes the same schedule, another one another") {
    const auto run = [](std::uint64_t seed) {
        schedule world(options_for(seed));
        for (int i = 0; i < 1'000; ++i) {
            world.step();
        }
        return world.trace();
    };
    CHECK(run(5) == run(5));
    CHECK(run(5) != run(9));
}
