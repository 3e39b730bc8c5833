// One worker's part of the pool, step by step; and two of them on one ledger where the story needs
// another worker. Growth and decay are in shard_growth_test.cpp, whole schedules in
// schedule_test.cpp, threads in workers_test.cpp.
#include "tests/pool/shard_fixture.hpp"

#include <array>
#include <deque>
#include <vector>

using namespace pgweir::pool;
using namespace std::chrono_literals;
using fixture = shard_fixture;
using to = shard::placement::to;

// Clients ---------------------------------------------------------------------------------------

TEST_CASE("a client gets the server used last") {
    fixture f;
    auto& first = f.idle(f.here);
    auto& second = f.idle(f.here);
    auto& client = f.client();
    CHECK(f.here.acquire(client, at(1s)) == &second);
    CHECK(second.state == server_state::leased);
    CHECK(second.state_since == at(1s));
    CHECK(second.holder == client.id);
    CHECK_FALSE(client.waiting);
    CHECK(f.here.free(second, at(2s)).where == to::idle);
    CHECK_FALSE(second.holder);
    CHECK(f.here.acquire(client, at(3s)) == &second);
    CHECK(f.here.acquire(f.client(), at(3s)) == &first);
    CHECK(f.counts.assignments.load() == 3);
    CHECK(f.counts.wait_time.count() == 0); // nobody had to wait
}

TEST_CASE("who finds no server waits, first come, first served") {
    fixture f;
    auto& server = f.leased(f.here);
    std::array<waiter*, 3> clients{&f.client(), &f.client(), &f.client()};
    for (auto* const one : clients) {
        CHECK(f.here.acquire(*one, at(1s)) == nullptr);
        CHECK(one->waiting);
    }
    CHECK(f.here.waiting() == 3);
    CHECK(f.counts.clients_waiting.load() == 3);
    CHECK(f.here.oldest_waiter() == clients[0]);
    for (auto* const one : clients) {
        const auto placed = f.here.free(server, at(2s));
        CHECK(placed.where == to::waiter);
        CHECK(placed.client == one);
        CHECK_FALSE(one->waiting);
        CHECK(server.state == server_state::leased);
        CHECK(server.holder == one->id);
    }
    CHECK(f.here.waiting() == 0);
    CHECK(f.counts.clients_waiting.load() == 0);
    CHECK(f.counts.wait_time.count() == 3);
    CHECK(f.counts.wait_ns.load() == 3'000'000'000);
    CHECK(f.here.free(server, at(3s)).where == to::idle);
}

TEST_CASE("asking twice changes nothing; leaving the queue twice neither") {
    fixture f;
    auto& client = f.client();
    CHECK(f.here.acquire(client, at(1s)) == nullptr);
    CHECK(f.here.acquire(client, at(2s)) == nullptr);
    CHECK(f.here.waiting() == 1);
    CHECK(client.waiting_since == at(1s));
    f.here.leave_queue(client);
    f.here.leave_queue(client);
    CHECK(f.here.waiting() == 0);
    CHECK(f.counts.clients_waiting.load() == 0);
    CHECK(f.counts.wait_time.count() == 0);
}

TEST_CASE("the oldest waiter is what other workers see") {
    fixture f;
    auto& first = f.client();
    auto& second = f.client();
    CHECK(f.here.acquire(first, at(1s)) == nullptr);
    CHECK(f.here.acquire(second, at(2s)) == nullptr);
    CHECK(f.book.oldest_waiter(worker_index{1})->since == at(1s));
    f.here.leave_queue(first);
    CHECK(f.book.oldest_waiter(worker_index{1})->since == at(2s));
    f.here.leave_queue(second);
    CHECK_FALSE(f.book.oldest_waiter(worker_index{1}));
}

TEST_CASE("exhaustion is counted once for each client that had to wait at the bound") {
    fixture f;
    (void)f.here.acquire(f.client(), at(0s)); // waits, but growth is possible
    CHECK(f.counts.exhausted.load() == 0);
    auto& server = f.connecting(f.here);
    f.connecting(f.there);
    f.connecting(f.there);
    auto& late = f.client();
    (void)f.here.acquire(late, at(1s));
    (void)f.here.acquire(late, at(1s));
    CHECK(f.counts.exhausted.load() == 1);
    CHECK(f.here.free(server, at(2s)).where == to::waiter);
    CHECK(f.counts.exhausted.load() == 1);
}

TEST_CASE("waiters time out in their order, each at its own time") {
    fixture f;
    auto& first = f.client();
    auto& second = f.client();
    (void)f.here.acquire(first, at(1s));
    (void)f.here.acquire(second, at(2s));
    CHECK(f.here.next_timed_out(at(6s - 1ns)) == nullptr);
    CHECK(f.here.next_timed_out(at(6s)) == &first);
    CHECK_FALSE(first.waiting);
    CHECK(f.here.next_timed_out(at(6s)) == nullptr);
    CHECK(f.here.next_timed_out(at(60s)) == &second);
    CHECK(f.here.next_timed_out(at(60s)) == nullptr);
    CHECK(f.counts.wait_timeouts.load() == 2);
    CHECK(f.counts.wait_time.count() == 2);
    CHECK(f.counts.clients_waiting.load() == 0);
}

// Where a free server goes ----------------------------------------------------------------------

TEST_CASE("a new server that is logged in goes to the waiter") {
    fixture f;
    auto& client = f.client();
    (void)f.here.acquire(client, at(0s));
    auto& server = f.connecting(f.here);
    CHECK(f.counts.servers_connecting.load() == 1);
    CHECK(f.here.free(server, at(1s)).client == &client);
    CHECK(f.counts.servers_connecting.load() == 0);
    CHECK(f.counts.servers_in_use.load() == 1);
}

TEST_CASE("a server past its lifetime is not used again, whoever waits") {
    fixture f;
    auto& server = f.leased(f.here);
    (void)f.here.acquire(f.client(), at(1h - 1s));
    SUBCASE("just before") { CHECK(f.here.free(server, at(1h - 1ns)).where == to::waiter); }
    SUBCASE("then") {
        const auto placed = f.here.free(server, at(1h));
        CHECK(placed.where == to::close);
        CHECK(placed.reason == server_close::max_lifetime);
        CHECK(server.state == server_state::closing);
        CHECK(f.closes(server_close::max_lifetime) == 1);
        CHECK(f.book.staying() == 0);
        CHECK(f.book.taken() == 1);
        f.here.closed(server);
        CHECK(f.book.taken() == 0);
        CHECK(f.here.grow(at(1h)) == growth::open_for_waiter);
    }
}

TEST_CASE("a lowered maxconn closes surplus servers as they come back, and no more than that") {
    fixture f;
    std::array<server*, 3> three{&f.leased(f.here), &f.leased(f.here), &f.leased(f.here)};
    f.bounds.maxconn = 1;
    f.here.set_limits(f.bounds);
    CHECK(f.here.free(*three[0], at(1s)).reason == server_close::surplus);
    CHECK(f.here.free(*three[1], at(1s)).reason == server_close::surplus);
    // Both are still open at PostgreSQL, but they will go: the third may stay.
    CHECK(f.book.taken() == 3);
    CHECK(f.here.free(*three[2], at(1s)).where == to::idle);
    CHECK(f.closes(server_close::surplus) == 2);
    CHECK(f.here.count(server_state::closing) == 2);
}

TEST_CASE("a free server goes to a waiter elsewhere when nobody waits here") {
    fixture f;
    auto& server = f.leased(f.here);
    auto& client = f.client();
    CHECK(f.there.acquire(client, at(1s)) == nullptr);
    const auto placed = f.here.free(server, at(2s));
    CHECK(placed.where == to::other_worker);
    CHECK(placed.worker == worker_index{1});
    CHECK(f.here.count(server_state::leased) == 0);
    CHECK(f.counts.servers_in_use.load() == 0);
    CHECK(f.book.taken() == 1); // the slot travels with it
    f.there.adopt(server, at(2s));
    CHECK(f.counts_there.migrations.load() == 1);
    CHECK(f.counts_there.servers_resetting.load() == 1);
    CHECK(f.there.free(server, at(2s)).client == &client);
    CHECK(server.holder == client.id);
    CHECK(f.counts_there.servers_resetting.load() == 0);
}

TEST_CASE("a waiter elsewhere comes first only when it is older by more than the margin") {
    fixture f;
    auto& server = f.leased(f.here);
    auto& mine = f.client();
    CHECK(f.there.acquire(f.client(), at(1s)) == nullptr);
    SUBCASE("within the margin") {
        (void)f.here.acquire(mine, at(1s + 2ms));
        CHECK(f.here.free(server, at(2s)).client == &mine);
    }
    SUBCASE("beyond") {
        (void)f.here.acquire(mine, at(1s + 3ms));
        CHECK(f.here.free(server, at(2s)).where == to::other_worker);
        CHECK(mine.waiting);
    }
}

TEST_CASE("an idle server is given to another worker: the one used longest ago") {
    fixture f;
    CHECK(f.here.give_idle() == nullptr);
    auto& cold = f.idle(f.here, at(0s));
    auto& warm = f.idle(f.here, at(1s));
    CHECK_FALSE(f.there.whom_to_ask()); // nobody waits there
    (void)f.there.acquire(f.client(), at(2s));
    CHECK(f.there.whom_to_ask() == worker_index{0});
    CHECK(f.here.give_idle() == &cold);
    CHECK(f.counts.servers_idle.load() == 1);
    CHECK(f.here.give_idle() == &warm);
    CHECK_FALSE(f.there.whom_to_ask());
    CHECK(f.book.taken() == 2);
}

TEST_CASE("a question for an idle server goes on to the worker that has one") {
    ledger book(3);
    stats counts[3];
    shard asker(book, counts[0], worker_index{0}, small_pool());
    shard asked(book, counts[1], worker_index{1}, small_pool());
    CHECK_FALSE(asked.whom_else(worker_index{0}));
    book.publish_idle(worker_index{2}, 1);
    CHECK(asked.whom_else(worker_index{0}) == worker_index{2});
    book.publish_idle(worker_index{0}, 2); // meanwhile the asker has its own
    CHECK_FALSE(asked.whom_else(worker_index{0}));
}

TEST_CASE("cleaning: leased, resetting, then to whoever waits") {
    fixture f;
    auto& server = f.leased(f.here);
    auto& next = f.client();
    (void)f.here.acquire(next, at(1s));
    f.here.begin_reset(server, at(1s));
    CHECK(server.state == server_state::resetting);
    CHECK_FALSE(server.holder);
    CHECK(f.counts.servers_resetting.load() == 1);
    CHECK(next.waiting);
    CHECK(f.here.free(server, at(2s)).client == &next);
}

TEST_CASE("a server may end in any state, and its slot comes back exactly once") {
    for (const auto state : {server_state::connecting, server_state::idle, server_state::leased,
                             server_state::resetting, server_state::closing}) {
        for (const bool told : {false, true}) {
            CAPTURE(to_string(state));
            CAPTURE(told);
            fixture f;
            auto& server = f.connecting(f.here);
            if (state != server_state::connecting) {
                REQUIRE(f.here.free(server, at(0s)).where == to::idle);
            }
            if (state == server_state::leased || state == server_state::resetting) {
                REQUIRE(f.here.acquire(f.client(), at(0s)) == &server);
            }
            if (state == server_state::resetting) {
                f.here.begin_reset(server, at(0s));
            }
            if (state == server_state::closing) {
                f.here.begin_close(server, server_close::shutdown, at(0s));
            }
            REQUIRE(server.state == state);
            if (told) {
                f.here.begin_close(server, server_close::server_eof, at(1s));
                CHECK(server.state == server_state::closing);
                CHECK(f.book.staying() == 0);
                CHECK(f.book.taken() == 1);
                // The first reason is kept.
                const bool first = state != server_state::closing;
                CHECK(f.closes(server_close::server_eof) == (first ? 1 : 0));
                CHECK(f.closes(server_close::shutdown) == (first ? 0 : 1));
            }
            f.here.closed(server);
            CHECK_FALSE(server.linked());
            CHECK(f.book.taken() == 0);
            CHECK(f.book.staying() == 0);
            CHECK_FALSE(f.book.who_has_idle(worker_index{1}));
            for (const auto& gauge :
                 {&f.counts.servers_connecting, &f.counts.servers_idle, &f.counts.servers_in_use,
                  &f.counts.servers_resetting, &f.counts.servers_closing}) {
                CHECK(gauge->load() == 0);
            }
        }
    }
}

TEST_CASE("a server that was told to go is not placed again") {
    fixture f;
    auto& server = f.leased(f.here);
    f.here.begin_close(server, server_close::desync, at(0s));
    CHECK(f.here.free(server, at(0s)).where == to::close);
    CHECK(f.book.staying() == 0);
    f.here.closed(server);
    CHECK(f.book.taken() == 0);
}

TEST_CASE("states have names") {
    CHECK(to_string(server_state::connecting) == "connecting");
    CHECK(to_string(server_state::idle) == "idle");
    CHECK(to_string(server_state::leased) == "leased");
    CHECK(to_string(server_state::resetting) == "resetting");
    CHECK(to_string(server_state::closing) == "closing");
}
