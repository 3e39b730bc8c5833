// Pools that nobody uses: when they let go of their minimum.
#include "tests/pool/shard_fixture.hpp"

using namespace pgweir::pool;
using namespace std::chrono_literals;
using fixture = shard_fixture;

namespace {

/// minconn 2, idle_timeout 60 s, two idle servers; one client has come.
struct used : fixture {
    used()
        : fixture([] {
            auto wanted = small_pool();
            wanted.minconn = 2;
            return wanted;
        }()) {
        here.set_warm(true);
        book.client_came();
        for (auto* const each : {&idle(here, at(0s)), &idle(here, at(1s))}) {
            CHECK(each->state == server_state::idle);
        }
    }
    void all_closed() {
        for (auto& each : servers) {
            here.closed(each);
        }
    }
};

} // namespace

TEST_CASE("a pool that nobody has used for idle_timeout keeps no minimum") {
    used f;
    CHECK(f.sweep(at(100s)).empty()); // somebody is there
    CHECK(f.here.next_deadline() == at(1h));
    CHECK(f.book.client_left(at(100s)));
    CHECK(f.here.next_deadline() == at(160s));
    CHECK(f.sweep(at(160s - 1ns)).empty());
    SUBCASE("it goes") {
        CHECK(f.sweep(at(160s)).size() == 2);
        f.all_closed();
        CHECK(f.here.grow(at(160s)) == growth::enough);
        CHECK_FALSE(f.here.next_deadline());
        SUBCASE("and comes back with the next one") {
            f.book.client_came();
            f.here.set_warm(true);
            CHECK(f.here.grow(at(161s)) == growth::open_for_minimum);
        }
        SUBCASE("which another worker does not open that had one before") {
            f.book.client_came();
            CHECK(f.here.grow(at(161s)) == growth::enough);
        }
    }
    SUBCASE("somebody comes before") {
        f.book.client_came();
        CHECK(f.here.next_deadline() == at(1h));
        CHECK(f.sweep(at(300s)).empty());
        CHECK(f.book.client_left(at(300s))); // counted from the last one
        CHECK(f.sweep(at(359s)).empty());
        CHECK(f.sweep(at(360s)).size() == 2);
    }
    SUBCASE("while PostgreSQL is away nothing is tried for ever") {
        f.book.report_failure(ledger::health::unreachable, at(110s), 50ms, 500ms);
        for (auto& each : f.servers) {
            f.here.begin_close(each, server_close::server_eof, at(110s));
        }
        f.all_closed();
        CHECK(f.here.grow(at(111s)) == growth::open_for_minimum);
        CHECK(f.here.grow(at(160s)) == growth::enough);
        CHECK_FALSE(f.here.next_deadline());
    }
}

TEST_CASE("the last of several clients decides, and what the configuration asks for stays") {
    used f;
    SUBCASE("two") {
        f.book.client_came();
        CHECK_FALSE(f.book.client_left(at(10s)));
        CHECK(f.sweep(at(1000s)).empty());
    }
    SUBCASE("kept warm") {
        f.book.keep_warm();
        CHECK_FALSE(f.book.client_left(at(10s)));
        CHECK(f.sweep(at(1000s)).empty());
        CHECK(f.here.next_deadline() == at(1h));
    }
    SUBCASE("no idle_timeout: never") {
        auto bounds = f.bounds;
        bounds.idle_timeout = 0s;
        f.here.set_limits(bounds);
        CHECK(f.book.client_left(at(10s)));
        CHECK(f.sweep(at(1000s)).empty());
        CHECK(f.here.next_deadline() == at(1h));
    }
}
