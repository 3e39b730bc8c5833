// Pools that nobody uses: when they let go of their minimum, and what they give to others.
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

TEST_CASE("what is idle is given up for others, the longest idle first") {
    used f;
    CHECK_FALSE(f.here.can_spare_idle()); // the minimum is for whoever is there
    CHECK(f.here.give_up_idle(at(2s)) == nullptr);
    SUBCASE("above the minimum") {
        (void)f.idle(f.here, at(2s));
        CHECK(f.here.can_spare_idle());
        CHECK(f.here.give_up_idle(at(3s)) == &f.servers[0]);
        CHECK(f.closes(server_close::made_room) == 1);
        CHECK(f.here.give_up_idle(at(3s)) == nullptr);
    }
    SUBCASE("all, where nobody is there, and none is opened again for a minimum") {
        f.book.keep_warm();
        (void)f.book.client_left(at(2s));
        CHECK(f.here.give_up_idle(at(3s)) == &f.servers[0]);
        CHECK(f.here.give_up_idle(at(3s)) == &f.servers[1]);
        CHECK_FALSE(f.here.can_spare_idle());
        CHECK(f.here.give_up_idle(at(3s)) == nullptr);
        f.there.set_warm(true);
        f.all_closed();
        CHECK(f.here.grow(at(3s)) == growth::enough);
        CHECK(f.there.grow(at(3s)) == growth::enough);
        f.book.client_came();
        f.there.set_warm(true);
        CHECK(f.there.grow(at(4s)) == growth::open_for_minimum);
    }
}

TEST_CASE("room at a PostgreSQL that was full is tried for at once, once") {
    ledger book(1);
    book.report_up();
    (void)book.report_failure(ledger::health::full, at(1s), 50ms, 500ms);
    CHECK_FALSE(book.may_try(at(1s)));
    book.room_made();
    CHECK(book.may_try(at(1s)));
    CHECK_FALSE(book.may_try(at(1s)));
    book.room_made(); // that attempt is still being made
    CHECK_FALSE(book.may_try(at(1s)));
    SUBCASE("not where it could not be reached") {
        (void)book.report_failure(ledger::health::unreachable, at(2s), 50ms, 500ms);
        book.room_made();
        CHECK_FALSE(book.may_try(at(2s)));
    }
}
