// When a worker opens a server and when it closes one: growth, back-off, sweep, deadlines, reload.
#include "tests/pool/shard_fixture.hpp"

#include <array>
#include <deque>
#include <vector>

using namespace pgweir::pool;
using namespace std::chrono_literals;
using fixture = shard_fixture;

// Growth ----------------------------------------------------------------------------------------

TEST_CASE("as many servers are opened as waiters lack, up to the bound") {
    fixture f;
    CHECK(f.here.grow(at(0s)) == growth::enough);
    for (int i = 0; i < 2; ++i) {
        (void)f.here.acquire(f.client(), at(0s));
    }
    std::deque<server> made(3);
    for (int i = 0; i < 2; ++i) {
        CHECK(f.here.grow(at(0s)) == growth::open_for_waiter);
        f.here.add_connecting(made[static_cast<std::size_t>(i)], at(0s), 0.5);
    }
    CHECK(f.here.grow(at(0s)) == growth::enough);
    for (int i = 0; i < 2; ++i) {
        (void)f.here.acquire(f.client(), at(0s));
    }
    CHECK(f.here.grow(at(0s)) == growth::open_for_waiter);
    f.here.add_connecting(made[2], at(0s), 0.5);
    CHECK(f.here.grow(at(0s)) == growth::at_bound);
    CHECK(f.book.taken() == 3);
    SUBCASE("a connect that failed gives the slot back, and the next attempt is made") {
        f.here.begin_close(made[0], server_close::connect_failed, at(1s));
        CHECK(f.here.grow(at(1s)) == growth::at_bound);
        f.here.closed(made[0]);
        CHECK(f.here.grow(at(1s)) == growth::open_for_waiter);
    }
}

TEST_CASE("the minimum is filled at once, by whichever worker, and only when warm") {
    auto bounds = small_pool();
    bounds.minconn = 2;
    fixture f(bounds);
    CHECK(f.here.grow(at(0s)) == growth::enough);
    f.here.set_warm(true);
    f.there.set_warm(true);
    std::deque<server> made(3);
    CHECK(f.here.grow(at(0s)) == growth::open_for_minimum);
    f.here.add_connecting(made[0], at(0s), 0);
    CHECK(f.there.grow(at(0s)) == growth::open_for_minimum);
    f.there.add_connecting(made[1], at(0s), 0);
    CHECK(f.here.grow(at(0s)) == growth::enough);
    CHECK(f.there.grow(at(0s)) == growth::enough);
    // One leaves: it does not count towards the minimum, so a successor is opened at once.
    (void)f.here.free(made[0], at(0s));
    f.here.begin_close(made[0], server_close::server_eof, at(1s));
    CHECK(f.there.grow(at(1s)) == growth::open_for_minimum);
    f.there.add_connecting(made[2], at(1s), 0);
    CHECK(f.book.taken() == 3);
    CHECK(f.here.grow(at(1s)) == growth::enough);
    f.there.begin_close(made[1], server_close::server_eof, at(1s));
    CHECK(f.here.grow(at(1s)) == growth::at_bound); // two leave, the slots are still theirs
    f.here.closed(made[0]);
    CHECK(f.here.grow(at(1s)) == growth::open_for_minimum);
}

TEST_CASE("first start: one attempt until it is known that PostgreSQL answers") {
    auto bounds = small_pool();
    bounds.minconn = 3;
    ledger book(1);
    stats counts;
    shard here(book, counts, worker_index{0}, bounds);
    here.set_warm(true);
    std::deque<server> made(3);
    CHECK(here.grow(at(0s)) == growth::open_for_minimum);
    here.add_connecting(made[0], at(0s), 0);
    CHECK(here.grow(at(0s)) == growth::backing_off);
    CHECK(here.next_deadline() == at(500ms));
    SUBCASE("it does: all at once") {
        book.report_up();
        (void)here.free(made[0], at(1ms));
        CHECK(here.grow(at(1ms)) == growth::open_for_minimum);
        here.add_connecting(made[1], at(0s), 0);
        CHECK(here.grow(at(1ms)) == growth::open_for_minimum);
        here.add_connecting(made[2], at(0s), 0);
        CHECK(here.grow(at(1ms)) == growth::enough);
    }
    SUBCASE("it does not: one after the back-off") {
        const auto report = book.report_failure(ledger::health::unreachable, at(1ms),
                                                bounds.retry_min, bounds.retry_max);
        CHECK(report.news);
        here.begin_close(made[0], server_close::connect_failed, at(1ms));
        here.closed(made[0]);
        CHECK(here.grow(at(1ms)) == growth::backing_off);
        CHECK(here.next_deadline() == at(51ms));
        CHECK(here.grow(at(51ms)) == growth::open_for_minimum);
        here.add_connecting(made[1], at(51ms), 0);
        CHECK(here.grow(at(51ms)) == growth::backing_off);
    }
    SUBCASE("PostgreSQL is full: what is open is used, nothing is added") {
        (void)book.report_failure(ledger::health::full, at(1ms), bounds.retry_min,
                                  bounds.retry_max);
        CHECK(here.grow(at(1ms)) == growth::server_full);
        CHECK(here.next_deadline() == at(501ms));
    }
}

TEST_CASE("a slot that came free is told to workers with waiters") {
    fixture f;
    std::vector<std::uint32_t> woken;
    const auto wake = [&](worker_index who) { woken.push_back(who.value); };
    auto& dying = f.leased(f.here);
    f.leased(f.here);
    f.leased(f.here);
    f.here.wake_others(wake);
    CHECK(woken.empty()); // nobody waits
    (void)f.there.acquire(f.client(), at(0s));
    CHECK(f.there.grow(at(0s)) == growth::at_bound);
    f.here.begin_close(dying, server_close::server_eof, at(0s));
    f.here.wake_others(wake);
    CHECK(woken.empty()); // no slot yet
    f.here.closed(dying);
    f.here.wake_others(wake);
    CHECK(woken == std::vector<std::uint32_t>{1});
    f.there.wake_others(wake);
    CHECK(woken.size() == 1); // not oneself
    CHECK(f.there.grow(at(0s)) == growth::open_for_waiter);
}

// Decay -----------------------------------------------------------------------------------------

TEST_CASE("sweep closes those idle too long, down to the minimum, longest idle first") {
    auto bounds = small_pool();
    bounds.minconn = 1;
    fixture f(bounds);
    auto& first = f.idle(f.here, at(0s));
    auto& second = f.idle(f.here, at(1s));
    auto& third = f.idle(f.here, at(2s));
    CHECK(f.here.next_deadline() == at(60s));
    CHECK(f.sweep(at(60s - 1ns)).empty());
    const auto at_60 = f.sweep(at(60s));
    REQUIRE(at_60.size() == 1);
    CHECK(at_60[0] == std::pair(&first, server_close::idle_timeout));
    CHECK(first.state == server_state::closing);
    CHECK(f.here.next_deadline() == at(61s));
    const auto later = f.sweep(at(1000s));
    REQUIRE(later.size() == 1);
    CHECK(later[0].first == &second);
    CHECK(third.state == server_state::idle);
    // The last one is due at the end of its life only.
    CHECK(f.here.next_deadline() == at(1h + 2s));
    CHECK(f.closes(server_close::idle_timeout) == 2);
    const auto last = f.sweep(at(1h + 2s));
    REQUIRE(last.size() == 1);
    CHECK(last[0] == std::pair(&third, server_close::max_lifetime));
    CHECK_FALSE(f.here.next_deadline());
}

TEST_CASE("sweep leaves alone what is not idle") {
    fixture f;
    f.connecting(f.here);
    f.leased(f.here);
    auto& cleaning = f.leased(f.here);
    f.here.begin_reset(cleaning, at(0s));
    CHECK(f.sweep(at(48h)).empty());
    CHECK_FALSE(f.here.next_deadline());
}

TEST_CASE("sweep finds an old server behind a younger one that must stay") {
    auto bounds = small_pool();
    bounds.minconn = 3;
    fixture f(bounds);
    auto& old = f.idle(f.here, at(0s));
    f.idle(f.here, at(30min));
    auto& client = f.client();
    // The old one is used last: at the front of the list, while others are idle for longer.
    auto* const other = f.here.acquire(client, at(31min));
    REQUIRE(f.here.acquire(f.client(), at(31min)) == &old);
    CHECK(f.here.free(*other, at(32min)).where == shard::placement::to::idle);
    CHECK(f.here.free(old, at(33min)).where == shard::placement::to::idle);
    CHECK(f.here.next_deadline() == at(1h));
    const auto due = f.sweep(at(1h));
    REQUIRE(due.size() == 1);
    CHECK(due[0] == std::pair(&old, server_close::max_lifetime));
    CHECK(f.here.next_deadline() == at(90min));
}

TEST_CASE("sweep closes idle servers above a lowered maxconn") {
    fixture f;
    f.idle(f.here);
    f.idle(f.here);
    f.idle(f.here);
    f.bounds.maxconn = 2;
    f.here.set_limits(f.bounds);
    CHECK(f.here.next_deadline() <= at(0s)); // at once
    const auto due = f.sweep(at(1s));
    REQUIRE(due.size() == 1);
    CHECK(due[0].second == server_close::surplus);
    CHECK(f.here.next_deadline() == at(60s));
}

TEST_CASE("whatever close() does during a sweep, the sweep goes on") {
    fixture f;
    auto& client = f.client();
    f.idle(f.here);
    f.idle(f.here);
    f.idle(f.here);
    int closed = 0;
    f.here.sweep(at(2h), [&](server& who, server_close) {
        f.here.closed(who); // gone at once
        if (++closed == 1) {
            CHECK(f.here.acquire(client, at(2h)) != nullptr); // takes another one off the list
        }
    });
    CHECK(closed == 2);
    CHECK(f.book.taken() == 1);
    CHECK(f.here.count(server_state::leased) == 1);
}

TEST_CASE("two workers that sweep together leave the minimum") {
    auto bounds = small_pool();
    bounds.minconn = 1;
    fixture f(bounds);
    f.idle(f.here);
    f.idle(f.there);
    CHECK(f.sweep(at(60s)).size() == 1);
    int closed = 0;
    f.there.sweep(at(60s), [&](server&, server_close) { ++closed; });
    CHECK(closed == 0);
    CHECK(f.book.staying() == 1);
    CHECK(f.there.next_deadline() == at(1h)); // not 60 s again: that would spin
}

TEST_CASE("a deadline that became too early is put right by the sweep, and does not spin") {
    auto bounds = small_pool();
    bounds.idle_timeout = 0s;
    fixture f(bounds);
    auto& old = f.idle(f.here, at(0s));
    f.idle(f.here, at(1s));
    // The first to expire is taken away: the deadline is early now.
    CHECK(f.here.give_idle() == &old);
    CHECK(f.here.next_deadline() == at(1h));
    CHECK(f.sweep(at(1h)).empty());
    CHECK(f.here.next_deadline() == at(1h + 1s));
}

TEST_CASE("the deadline is that of the oldest waiter, or of the retry it waits for") {
    fixture f;
    CHECK_FALSE(f.here.next_deadline());
    (void)f.here.acquire(f.client(), at(1s));
    (void)f.here.acquire(f.client(), at(2s));
    CHECK(f.here.next_deadline() == at(6s));
    (void)f.book.report_failure(ledger::health::unreachable, at(3s), 50ms, 500ms);
    CHECK(f.here.next_deadline() == at(3050ms));
    f.connecting(f.here);
    f.connecting(f.here);
    CHECK(f.here.next_deadline() == at(6s)); // enough are on their way
    CHECK_FALSE(f.there.next_deadline());    // nothing is wanted there
}

TEST_CASE("a retry does not become a deadline while the bound leaves no room for it") {
    fixture f;
    f.connecting(f.there);
    f.connecting(f.there);
    f.connecting(f.there);
    (void)f.here.acquire(f.client(), at(1s));
    (void)f.book.report_failure(ledger::health::unreachable, at(1s), 50ms, 500ms);
    CHECK(f.here.next_deadline() == at(6s));
}

// Reload ----------------------------------------------------------------------------------------

TEST_CASE("a reload changes the lifetime of servers that are open") {
    fixture f;
    auto& idle = f.idle(f.here, at(10s));
    auto& busy = f.leased(f.here, at(20s)); // takes the server used last: its own
    f.bounds.max_lifetime = 60s;
    f.here.set_limits(f.bounds);
    CHECK(idle.expires_at == at(70s));
    CHECK(busy.expires_at == at(80s));
    f.bounds.lifetime_jitter = 0.5;
    f.here.set_limits(f.bounds);
    CHECK(idle.expires_at > at(40s));
    CHECK(idle.expires_at <= at(70s));
    CHECK(idle.expires_at - at(10s) != busy.expires_at - at(20s)); // spread
    f.bounds.lifetime_jitter = 0;
    f.here.set_limits(f.bounds);
    CHECK(f.here.next_deadline() == at(70s));
    f.bounds.max_lifetime = 0s;
    f.here.set_limits(f.bounds);
    CHECK(busy.expires_at == time_point::max());
    CHECK(f.here.bounds().max_lifetime == 0s);
    SUBCASE("also of one that was under way between workers") {
        f.here.release_to_other(busy);
        f.bounds.max_lifetime = 30s;
        f.there.set_limits(f.bounds);
        f.there.adopt(busy, at(25s));
        CHECK(busy.expires_at == at(50s));
    }
}

TEST_CASE("lifetimes are spread by the jitter") {
    auto bounds = small_pool();
    bounds.lifetime_jitter = 0.1;
    fixture f(bounds);
    std::deque<server> made(2);
    for (auto& one : made) {
        REQUIRE(f.book.try_take(9));
        f.here.add_connecting(one, at(0s), &one == &made[0] ? 0.0 : 0.5);
    }
    CHECK(made[0].expires_at == at(60min));
    CHECK(made[1].expires_at == at(57min));
}

// Without reuse ----------------------------------------------------------------------------------

namespace {

limits without_reuse(std::uint32_t maxconn) {
    auto bounds = small_pool();
    bounds.reuse = false;
    bounds.maxconn = maxconn;
    return bounds;
}

} // namespace

TEST_CASE("without reuse each waiter gets a server of its own, in order, and nobody else's") {
    fixture f(without_reuse(2));
    auto& first = f.client();
    auto& second = f.client();
    auto& third = f.client();
    for (auto* const who : {&first, &second, &third}) {
        CHECK(f.here.acquire(*who, at(0s)) == nullptr);
    }
    std::deque<server> made(3);
    REQUIRE(f.here.grow(at(1s)) == growth::open_for_waiter);
    CHECK(&f.here.next_to_open_for(at(1s)) == &first);
    CHECK(!first.waiting);
    f.here.add_connecting(made[0], at(1s), 0);
    // One is connecting and two wait: it is for neither of them.
    REQUIRE(f.here.grow(at(1s)) == growth::open_for_waiter);
    CHECK(&f.here.next_to_open_for(at(1s)) == &second);
    f.here.add_connecting(made[1], at(1s), 0);
    CHECK(f.here.grow(at(1s)) == growth::at_bound);
    CHECK(f.counts.wait_time.count() == 2);

    f.here.lease_own(made[1], second.id, at(2s));
    CHECK(made[1].state == server_state::leased);
    CHECK(made[1].holder == second.id);
    CHECK(f.here.waiting() == 1);
    f.here.begin_close(made[1], server_close::session_ended, at(3s));
    CHECK(f.here.grow(at(3s)) == growth::at_bound);
    f.here.closed(made[1]);
    CHECK(f.here.grow(at(3s)) == growth::open_for_waiter);
    CHECK(&f.here.next_to_open_for(at(3s)) == &third);
    CHECK(f.here.grow(at(3s)) == growth::enough);
}

TEST_CASE("the slot of a closing server is passed on, and nobody can take it in between") {
    fixture f(without_reuse(1));
    auto& first = f.connecting(f.here);
    f.here.begin_close(first, server_close::other_settings, at(1s));
    CHECK(f.book.staying() == 0);
    SUBCASE("PostgreSQL is up") {
        REQUIRE(f.here.pass_slot_on(first, at(2s)));
        CHECK(f.book.taken() == 1);
        CHECK(f.book.staying() == 1);
        CHECK_FALSE(f.book.try_take(1));
    }
    SUBCASE("PostgreSQL is full: there is room for the one that has gone") {
        (void)f.book.report_failure(ledger::health::full, at(1s), 1s, 2s);
        CHECK(f.here.pass_slot_on(first, at(1s)));
    }
    SUBCASE("PostgreSQL cannot be reached") {
        (void)f.book.report_failure(ledger::health::unreachable, at(1s), 10s, 10s);
        CHECK_FALSE(f.here.pass_slot_on(first, at(1s)));
        f.here.closed(first);
        CHECK(f.book.taken() == 0);
    }
    SUBCASE("maxconn was lowered") {
        (void)f.leased(f.here);
        CHECK_FALSE(f.here.pass_slot_on(first, at(2s)));
        CHECK(f.book.taken() == 2);
    }
}

TEST_CASE("who waits again is before all who came later") {
    fixture f(without_reuse(1));
    auto& first = f.client();
    auto& second = f.client();
    auto& third = f.client();
    f.here.wait(first, at(1s));
    f.here.wait(second, at(2s));
    f.here.wait(third, at(3s));
    CHECK(&f.here.next_to_open_for(at(4s)) == &first);
    CHECK(&f.here.next_to_open_for(at(4s)) == &second);
    f.here.wait_again(second);
    f.here.wait_again(first);
    CHECK(f.counts.clients_waiting.load() == 3);
    CHECK(&f.here.next_to_open_for(at(5s)) == &first);
    CHECK(&f.here.next_to_open_for(at(5s)) == &second);
    CHECK(&f.here.next_to_open_for(at(5s)) == &third);
    f.here.wait_again(third);
    CHECK(f.here.oldest_waiter() == &third);
}

TEST_CASE("without reuse a slot goes to the worker where somebody has waited longer") {
    fixture f(without_reuse(1));
    std::deque<server> made(1);
    auto& elder = f.client();
    auto& younger = f.client();
    CHECK(f.there.acquire(elder, at(0s)) == nullptr);
    CHECK(f.here.acquire(younger, at(1s)) == nullptr);
    CHECK(f.here.grow(at(1s)) == growth::others_first);
    CHECK(f.book.taken() == 0);
    SUBCASE("it is taken there") {
        CHECK(f.there.grow(at(1s)) == growth::open_for_waiter);
        CHECK(&f.there.next_to_open_for(at(1s)) == &elder);
        CHECK(f.here.grow(at(1s)) == growth::at_bound);
    }
    SUBCASE("the elder gives up") {
        f.there.leave_queue(elder);
        CHECK(f.here.grow(at(1s)) == growth::open_for_waiter);
    }
}

TEST_CASE("without reuse two that came at the same time do not wait for one another") {
    fixture f(without_reuse(2));
    CHECK(f.there.acquire(f.client(), at(0s)) == nullptr);
    CHECK(f.here.acquire(f.client(), at(f.bounds.migration_margin)) == nullptr);
    CHECK(f.here.grow(at(1s)) == growth::open_for_waiter);
}
