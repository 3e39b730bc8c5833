// Two workers do something at the very same moment, many times over: one of them must notice the
// other. Each story is a window of a few nanoseconds that a whole run of threads hardly ever hits.
// Run under ThreadSanitizer too.
#include "pool/shard.hpp"

#include <doctest/doctest.h>

#include <array>
#include <atomic>
#include <thread>

using namespace pgweir::pool;

namespace {

constexpr int rounds = 40'000;

/// Where two threads meet, closely: they spin, and give up the processor only when the other one
/// does not come.
class meeting_point {
public:
    void meet() {
        const auto mine = arrived_.fetch_add(1);
        const auto both = mine - mine % 2 + 2;
        for (int spins = 0; arrived_.load() < both; ++spins) {
            if (spins > 1'000) {
                std::this_thread::yield();
            }
        }
    }

private:
    std::atomic<std::uint64_t> arrived_{0};
};

/// Some nanoseconds, spent on stores to cache lines that the other thread also writes: a processor
/// that still has those to write out lets a load overtake the store that matters, if it may.
void delay(int length) {
    struct alignas(64) line {
        std::atomic<int> value;
    };
    static std::array<line, 8> contended;
    for (int i = 0; i < length; ++i) {
        contended[static_cast<std::size_t>(i) % contended.size()].value.store(
            i, std::memory_order_relaxed);
    }
}

/// Runs `here` and `there` at the same moment in each round, then `after` once, alone.
template <typename Here, typename There, typename After>
void race(Here&& here, There&& there, After&& after) {
    meeting_point start;
    meeting_point end;
    meeting_point next;
    std::jthread other([&] {
        for (int round = 0; round < rounds; ++round) {
            start.meet();
            // A little later each time: the window is somewhere in between.
            delay(round % 16);
            there();
            end.meet();
            next.meet();
        }
    });
    for (int round = 0; round < rounds; ++round) {
        start.meet();
        delay(round / 16 % 16);
        here();
        end.meet();
        after();
        next.meet();
    }
}

struct fixture {
    explicit fixture(std::uint32_t minconn = 0) {
        bounds.minconn = minconn;
        bounds.maxconn = 1;
        here.set_limits(bounds);
        there.set_limits(bounds);
        book.report_up();
    }
    limits bounds;
    ledger book{2};
    stats counts_here, counts_there;
    shard here{book, counts_here, worker_index{0}, bounds};
    shard there{book, counts_there, worker_index{1}, bounds};
    time_point now{};
};

} // namespace

TEST_CASE("an idle server and a waiter published at once: one side sees the other") {
    ledger book(2);
    bool saw_waiter = false;
    bool saw_idle = false;
    int lost = 0;
    race(
        [&] {
            book.publish_idle(worker_index{0}, 1);
            saw_waiter = book.oldest_waiter(worker_index{0}).has_value();
        },
        [&] {
            book.publish_oldest_waiter(worker_index{1}, time_point{});
            saw_idle = book.who_has_idle(worker_index{1}).has_value();
        },
        [&] {
            lost += !saw_waiter && !saw_idle ? 1 : 0;
            book.publish_idle(worker_index{0}, 0);
            book.publish_oldest_waiter(worker_index{1}, std::nullopt);
        });
    CHECK(lost == 0);
}

TEST_CASE("a server is freed here while a client begins to wait there: they find each other") {
    fixture f;
    server only;
    waiter holder{{}, client_id{1}};
    waiter other{{}, client_id{2}};
    REQUIRE(f.book.try_take(1));
    f.here.add_connecting(only, f.now, 0);
    (void)f.here.free(only, f.now);
    REQUIRE(f.here.acquire(holder, f.now) == &only);
    shard::placement placed{};
    std::optional<worker_index> asked;
    int lost = 0;
    int sent = 0;
    race([&] { placed = f.here.free(only, f.now); },
         [&] {
             REQUIRE(f.there.acquire(other, f.now) == nullptr);
             asked = f.there.whom_to_ask();
         },
         [&] {
             if (placed.where == shard::placement::to::other_worker) {
                 ++sent;
                 f.here.adopt(only, f.now); // as if it had come back
             } else {
                 lost += asked ? 0 : 1;
             }
             f.there.leave_queue(other);
             if (only.state != server_state::idle) {
                 (void)f.here.free(only, f.now);
             }
             (void)f.here.acquire(holder, f.now);
         });
    CHECK(lost == 0);
    CHECK(sent > 0);
}

TEST_CASE("a slot comes free here while a client begins to wait there: it is woken, or grows") {
    fixture f;
    server here;
    server there;
    waiter client{{}, client_id{1}};
    REQUIRE(f.book.try_take(1));
    f.here.add_connecting(here, f.now, 0);
    bool woken = false;
    auto decision = growth::enough;
    int lost = 0;
    race(
        [&] {
            f.here.closed(here);
            woken = false;
            f.here.wake_others([&](worker_index) { woken = true; });
        },
        [&] {
            REQUIRE(f.there.acquire(client, f.now) == nullptr);
            decision = f.there.grow(f.now);
        },
        [&] {
            if (decision == growth::open_for_waiter) {
                f.there.add_connecting(there, f.now, 0);
                f.there.closed(there);
            } else {
                lost += woken ? 0 : 1;
            }
            f.there.leave_queue(client);
            (void)f.book.try_take(1);
            f.here.add_connecting(here, f.now, 0);
        });
    CHECK(lost == 0);
    CHECK(f.book.taken() == 1);
}

TEST_CASE("two workers that fill up to the minimum at once do not overshoot") {
    fixture f(1);
    f.bounds.maxconn = 9;
    f.here.set_limits(f.bounds);
    f.there.set_limits(f.bounds);
    f.here.set_warm(true);
    f.there.set_warm(true);
    int wrong = 0;
    race([&] { (void)f.here.grow(f.now); }, [&] { (void)f.there.grow(f.now); },
         [&] {
             wrong += f.book.taken() == 1 ? 0 : 1;
             while (f.book.taken() > 0) {
                 f.book.give_back();
             }
         });
    CHECK(wrong == 0);
}
