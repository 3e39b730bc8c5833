// The ledger alone: the bound, the boards, and what is known of PostgreSQL. With threads where the
// promise is about threads (run under ThreadSanitizer too).
#include "pool/ledger.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <thread>
#include <vector>

using namespace pgweir::pool;
using namespace std::chrono_literals;
using health = ledger::health;

namespace {

constexpr time_point at(duration since_start) { return time_point(since_start); }
constexpr duration retry_min = 50ms;
constexpr duration retry_max = 500ms;

ledger::failure_report fail(ledger& book, health what, time_point now) {
    return book.report_failure(what, now, retry_min, retry_max);
}

} // namespace

// The bound -------------------------------------------------------------------------------------

TEST_CASE("slots are taken up to the bound and given back") {
    ledger book(1);
    CHECK(book.try_take(2));
    CHECK(book.try_take(2));
    CHECK_FALSE(book.try_take(2));
    CHECK(book.taken() == 2);
    book.give_back();
    CHECK(book.taken() == 1);
    CHECK(book.try_take(2));
    CHECK_FALSE(book.try_take(0));
}

TEST_CASE("a leaving server holds its slot but no longer counts as staying") {
    ledger book(1);
    for (int i = 0; i < 3; ++i) {
        REQUIRE(book.try_take(3));
    }
    book.leave();
    CHECK(book.taken() == 3);
    CHECK(book.staying() == 2);
    CHECK_FALSE(book.try_take(3));
    book.give_back_left();
    CHECK(book.taken() == 2);
    CHECK(book.staying() == 2);
}

TEST_CASE("evictions leave the floor alone") {
    ledger book(1);
    for (int i = 0; i < 4; ++i) {
        REQUIRE(book.try_take(9));
    }
    CHECK(book.try_leave(2));
    CHECK(book.try_leave(2));
    CHECK_FALSE(book.try_leave(2));
    CHECK(book.staying() == 2);
    CHECK(book.taken() == 4);
}

TEST_CASE("filling up to the minimum takes no slot beyond it, and counts staying ones only") {
    ledger book(1);
    CHECK(book.try_take(9, 2));
    CHECK(book.try_take(9, 2));
    CHECK_FALSE(book.try_take(9, 2));
    book.leave();
    CHECK(book.try_take(9, 2));
    CHECK(book.taken() == 3);
    book.leave();
    CHECK_FALSE(book.try_take(3, 2)); // the bound still holds
}

TEST_CASE("four threads together never exceed the bound nor go below the floor") {
    constexpr std::uint32_t bound = 7;
    constexpr std::uint32_t minimum = 3;
    ledger book(4);
    std::atomic<std::uint32_t> open{0}; // as PostgreSQL would count
    std::atomic<bool> broken{false};
    {
        std::vector<std::jthread> threads;
        for (unsigned seed = 1; seed <= 4; ++seed) {
            threads.emplace_back([&, seed] {
                auto random = seed * 2654435761U;
                std::uint32_t mine = 0;
                for (int i = 0; i < 20'000; ++i) {
                    random = random * 1664525U + 1013904223U;
                    switch ((random >> 16) % 4) {
                    case 0:
                    case 1:
                        if (book.try_take(bound,
                                          (random >> 20) % 2 ? ledger::no_minimum : minimum)) {
                            ++mine;
                            broken = broken || open.fetch_add(1) + 1 > bound;
                        }
                        break;
                    case 2:
                        if (mine > 0) {
                            --mine;
                            book.leave();
                            open.fetch_sub(1);
                            book.give_back_left();
                        }
                        break;
                    default:
                        if (mine > 0 && book.try_leave(minimum)) {
                            --mine;
                            open.fetch_sub(1);
                            book.give_back_left();
                        }
                    }
                    broken = broken || book.taken() > bound || book.staying() > bound;
                }
                for (; mine > 0; --mine) {
                    open.fetch_sub(1);
                    book.give_back();
                }
            });
        }
    }
    CHECK_FALSE(broken);
    CHECK(book.taken() == 0);
    CHECK(book.staying() == 0);
}

TEST_CASE("threads that fill up to the minimum together stop exactly there") {
    for (int round = 0; round < 50; ++round) {
        ledger book(4);
        {
            std::vector<std::jthread> threads;
            for (int i = 0; i < 4; ++i) {
                threads.emplace_back([&] {
                    while (book.try_take(50, 5)) {
                    }
                });
            }
        }
        REQUIRE(book.taken() == 5);
    }
}

TEST_CASE("threads that evict together stop exactly at the floor") {
    for (int round = 0; round < 50; ++round) {
        ledger book(4);
        for (int i = 0; i < 20; ++i) {
            REQUIRE(book.try_take(20));
        }
        {
            std::vector<std::jthread> threads;
            for (int i = 0; i < 4; ++i) {
                threads.emplace_back([&] {
                    while (book.try_leave(5)) {
                        book.give_back_left();
                    }
                });
            }
        }
        REQUIRE(book.taken() == 5);
        REQUIRE(book.staying() == 5);
    }
}

// Between workers -------------------------------------------------------------------------------

TEST_CASE("who has idle servers: another worker, the one with most") {
    ledger book(3);
    CHECK_FALSE(book.who_has_idle(worker_index{0}));
    book.publish_idle(worker_index{0}, 4);
    CHECK_FALSE(book.who_has_idle(worker_index{0})); // one's own do not count
    CHECK(book.who_has_idle(worker_index{1}) == worker_index{0});
    book.publish_idle(worker_index{2}, 9);
    CHECK(book.who_has_idle(worker_index{1}) == worker_index{2});
    book.publish_idle(worker_index{2}, 0);
    CHECK(book.who_has_idle(worker_index{1}) == worker_index{0});
}

TEST_CASE("workers that look for equal idle counts look behind themselves first") {
    ledger book(4);
    for (std::uint32_t i = 0; i < 4; ++i) {
        book.publish_idle(worker_index{i}, 1);
    }
    for (std::uint32_t i = 0; i < 4; ++i) {
        CHECK(book.who_has_idle(worker_index{i}) == worker_index{(i + 1) % 4});
    }
}

TEST_CASE("the oldest waiter of the other workers") {
    ledger book(3);
    CHECK_FALSE(book.oldest_waiter(worker_index{0}));
    book.publish_oldest_waiter(worker_index{0}, at(1ms));
    CHECK_FALSE(book.oldest_waiter(worker_index{0}));
    CHECK(book.has_waiter(worker_index{0}));
    CHECK_FALSE(book.has_waiter(worker_index{1}));
    book.publish_oldest_waiter(worker_index{1}, at(9ms));
    book.publish_oldest_waiter(worker_index{2}, at(5ms));
    const auto found = book.oldest_waiter(worker_index{0});
    REQUIRE(found);
    CHECK(found->worker == worker_index{2});
    CHECK(found->since == at(5ms));
    book.publish_oldest_waiter(worker_index{2}, std::nullopt);
    CHECK(book.oldest_waiter(worker_index{0})->worker == worker_index{1});
    CHECK_FALSE(book.has_waiter(worker_index{2}));
}

TEST_CASE("a ledger of no workers is one of one") {
    ledger book(0);
    CHECK(book.workers() == 1);
    book.publish_idle(worker_index{0}, 1);
    CHECK_FALSE(book.who_has_idle(worker_index{0}));
}

// Reachability ----------------------------------------------------------------------------------

TEST_CASE("first start: one attempt until the first result is known") {
    ledger book(2);
    CHECK(book.state() == health::unknown);
    CHECK(book.may_try(at(0s), 500ms));
    CHECK_FALSE(book.may_try(at(0s), 500ms));
    CHECK_FALSE(book.may_try(at(499ms), 500ms));
    CHECK(book.next_try() == at(500ms));
    SUBCASE("success: everybody may") {
        CHECK(book.report_up());
        CHECK(book.state() == health::up);
        CHECK_FALSE(book.report_up());
        CHECK(book.may_try(at(1ms)));
        CHECK(book.may_try(at(1ms)));
        CHECK(book.next_try() == time_point::min());
    }
    SUBCASE("nothing is reported: another one may, one at a time") {
        CHECK(book.may_try(at(500ms), 500ms));
        CHECK_FALSE(book.may_try(at(500ms), 500ms));
        CHECK(book.state() == health::unknown);
    }
    SUBCASE("failure") {
        const auto report = fail(book, health::unreachable, at(3ms));
        CHECK(report.news);
        CHECK(report.retry_in == retry_min);
        CHECK(book.next_try() == at(53ms));
    }
}

TEST_CASE("unreachable: the back-off doubles from retry_min to retry_max, one attempt in each") {
    ledger book(1);
    book.report_up();
    auto now = at(1s);
    CHECK(fail(book, health::unreachable, now).news);
    for (const auto wait : {50ms, 100ms, 200ms, 400ms, 500ms, 500ms}) {
        CAPTURE(wait.count());
        CHECK(book.next_try() == now + wait);
        CHECK_FALSE(book.may_try(now + wait - 1us));
        now += wait;
        CHECK(book.may_try(now));
        CHECK_FALSE(book.may_try(now));
        CHECK(book.state() == health::unreachable);
        CHECK_FALSE(fail(book, health::unreachable, now).news);
    }
    CHECK(book.report_up());
    CHECK(fail(book, health::unreachable, now).retry_in == retry_min); // starts anew
}

TEST_CASE("many attempts that fail together are one failure: one line, one step of the back-off") {
    ledger book(1);
    book.report_up();
    CHECK(fail(book, health::unreachable, at(1s)).news);
    for (int i = 0; i < 20; ++i) {
        const auto report = fail(book, health::unreachable, at(1s + 10ms));
        CHECK_FALSE(report.news);
        CHECK(report.retry_in == 40ms);
    }
    CHECK(book.next_try() == at(1s + 50ms));
    CHECK(fail(book, health::unreachable, at(2s)).retry_in ==
          0ns); // a late one: nothing to wait for
}

TEST_CASE("full: retried one at a time, from retry_max up to five seconds") {
    ledger book(1);
    book.report_up();
    auto now = at(1s);
    CHECK(fail(book, health::full, now).news);
    for (const auto wait : {500ms, 1000ms, 2000ms, 4000ms, 5000ms, 5000ms}) {
        CAPTURE(wait.count());
        CHECK(book.state() == health::full);
        CHECK(book.next_try() == now + wait);
        CHECK_FALSE(book.may_try(now + wait - 1us));
        now += wait;
        CHECK(book.may_try(now));
        CHECK_FALSE(book.may_try(now + 1ms));
        CHECK_FALSE(fail(book, health::full, now).news);
    }
}

TEST_CASE("after full, attempts succeed one at a time before several are made at once") {
    ledger book(1);
    book.report_up();
    CHECK(fail(book, health::full, at(0s)).news);
    REQUIRE(book.may_try(at(1s)));
    CHECK(book.report_up());
    SUBCASE("they succeed") {
        for (int i = 0; i < ledger::careful_after_full; ++i) {
            CAPTURE(i);
            CHECK(book.state() == health::up);
            CHECK(book.may_try(at(1s)));
            CHECK_FALSE(book.may_try(at(1s)));
            CHECK_FALSE(book.report_up());
        }
        CHECK(book.may_try(at(1s)));
        CHECK(book.may_try(at(1s)));
        CHECK(fail(book, health::full, at(2s)).retry_in == 500ms);
    }
    SUBCASE("full again: the back-off goes on where it was") {
        CHECK(book.may_try(at(1s)));
        const auto report = fail(book, health::full, at(1s));
        CHECK(report.news);
        CHECK(report.retry_in == 1000ms);
    }
}

TEST_CASE("news is a change of state, whichever") {
    ledger book(1);
    CHECK(fail(book, health::unreachable, at(0s)).news);
    CHECK(fail(book, health::full, at(0s)).news);
    CHECK(fail(book, health::unreachable, at(0s)).news);
    CHECK(book.report_up());
    CHECK(fail(book, health::full, at(0s)).news);
    CHECK(book.report_up());
}

TEST_CASE("odd back-offs do no harm") {
    ledger book(1);
    const auto report = book.report_failure(health::unreachable, at(0s), 0ns, 0ns);
    CHECK(report.news);
    CHECK(report.retry_in >= 0ns);
    CHECK(book.may_try(at(1us)));
    const auto inverted = book.report_failure(health::unreachable, at(1s), 500ms, 50ms);
    CHECK(inverted.retry_in == 500ms);
    const auto early = book.report_failure(health::full, time_point(-1s), 1ms, 1ms);
    CHECK(early.news);
}

TEST_CASE("of many threads one knocks per back-off period") {
    ledger book(4);
    book.report_up();
    auto now = at(1s);
    for (int round = 0; round < 100; ++round) {
        const auto wait = fail(book, health::unreachable, now).retry_in;
        now += wait + 1us;
        std::atomic<int> knocks{0};
        {
            std::vector<std::jthread> threads;
            for (int i = 0; i < 4; ++i) {
                threads.emplace_back([&] { knocks += book.may_try(now) ? 1 : 0; });
            }
        }
        REQUIRE(knocks == 1);
    }
}

TEST_CASE("states have names") {
    CHECK(to_string(health::unknown) == "unknown");
    CHECK(to_string(health::up) == "up");
    CHECK(to_string(health::unreachable) == "unreachable");
    CHECK(to_string(health::full) == "full");
}
