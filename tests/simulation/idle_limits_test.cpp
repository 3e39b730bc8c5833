// idle_session_timeout in transaction mode: the client is ended when it has idled for so long, and
// the servers, which carry the setting, are not. One worker's engine in the simulator's world; the
// fake PostgreSQL ends a session that idles too long, as the real one does.
#include "tests/simulation/house.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace pgweir::simulation;

namespace {

const std::string look = "SELECT 1 tag=t n=1 rows=1";

std::string set_limit(const char* value) {
    return "SET idle_session_timeout = '" + std::string(value) + "'";
}

/// When it is ended, counted from now.
duration ended_after(house& in, const client& who) {
    const auto begin = in.shared.time.now();
    REQUIRE(in.until([&] { return who.is_ended(); }));
    return in.shared.time.now() - begin;
}

// The client hears of everything a moment later, of the end as well as of the beginning.
bool about(duration is, duration should_be) {
    constexpr auto moment = milliseconds(30);
    return is > should_be - moment && is < should_be + moment;
}

} // namespace

TEST_CASE("a client that has set idle_session_timeout is ended when it has idled for so long") {
    house in(1);
    client limited(in, "app"), other(in, "app");
    REQUIRE(in.until([&] { return limited.is_welcome() && other.is_welcome(); }));
    SUBCASE("set by a statement") { REQUIRE(limited.ask(set_limit("200ms"))); }
    SUBCASE("and shortened while a longer one is waited for") {
        REQUIRE(limited.ask(set_limit("1h")));
        REQUIRE(limited.ask(set_limit("200ms")));
    }
    SUBCASE("not before its time: it was busy meanwhile") {
        REQUIRE(limited.ask(set_limit("200ms")));
        for (int i = 0; i < 10; ++i) {
            in.pass(milliseconds(150));
            REQUIRE(limited.ask(look));
        }
    }
    SUBCASE("not while its statement runs or it is in a transaction") {
        REQUIRE(limited.ask(set_limit("200ms")));
        REQUIRE(limited.ask(look + " ms=900"));
        REQUIRE(limited.ask("BEGIN"));
        in.pass(seconds(2));
        REQUIRE(limited.ask("COMMIT"));
    }
    const auto time = ended_after(in, limited);
    CAPTURE(time.count());
    CHECK(about(time, milliseconds(200)));
    CHECK(limited.last_fatal() == "57P05");
    REQUIRE(other.ask(look));
    in.pass(seconds(5));
    CHECK(!other.is_ended());
    REQUIRE(other.ask(look));
    CHECK(in.postgres.idled_too_long() == 0);
    CHECK(in.pool("app").counters[0]->server_connects.load() == 1);
    CHECK(in.pool("app").counters[0]->clients.load() == 1);
}

TEST_CASE("idle_session_timeout that is taken back, or undone, ends nobody") {
    house in(1);
    client one(in, "app");
    REQUIRE(in.until([&] { return one.is_welcome(); }));
    SUBCASE("0") {
        REQUIRE(one.ask(set_limit("200ms")));
        REQUIRE(one.ask(set_limit("0")));
    }
    SUBCASE("RESET ALL") {
        REQUIRE(one.ask(set_limit("200ms")));
        REQUIRE(one.ask("RESET ALL"));
    }
    SUBCASE("DISCARD ALL") {
        REQUIRE(one.ask(set_limit("200ms")));
        REQUIRE(one.ask("DISCARD ALL"));
    }
    SUBCASE("ROLLBACK") {
        REQUIRE(one.ask("BEGIN"));
        REQUIRE(one.ask(set_limit("200ms")));
        REQUIRE(one.ask("ROLLBACK"));
    }
    in.pass(seconds(5));
    CHECK(!one.is_ended());
    CHECK(one.ask(look));
    CHECK(in.postgres.idled_too_long() == 0);
}

TEST_CASE("idle_session_timeout of the start-up packet, the role or the database") {
    house in(1);
    SUBCASE("of the start-up packet") {
        client one(in, "app", {{"idle_session_timeout", "0.2s"}});
        REQUIRE(in.until([&] { return one.is_welcome(); }));
        CHECK(about(ended_after(in, one), milliseconds(200)));
        CHECK(one.last_fatal() == "57P05");
    }
    SUBCASE("of the role") {
        in.postgres.own_settings["idle_session_timeout"] = "300ms";
        client first(in, "app"), second(in, "app");
        REQUIRE(in.until([&] { return first.is_welcome() && second.is_welcome(); }));
        REQUIRE(first.ask(set_limit("0")));
        REQUIRE(second.ask(set_limit("0")));
        REQUIRE(second.ask("RESET ALL"));
        CHECK(about(ended_after(in, second), milliseconds(300)));
        in.pass(seconds(2));
        CHECK(!first.is_ended());
        CHECK(first.ask(look));
    }
    in.pass(seconds(5));
    CHECK(in.postgres.idled_too_long() == 0);
    CHECK(in.pool("app").counters[0]->server_connects.load() == 1);
}

TEST_CASE("a limit of a second or more is lifted from a server only when it idles") {
    house in(1);
    client one(in, "app");
    REQUIRE(in.until([&] { return one.is_welcome(); }));
    REQUIRE(one.ask(set_limit("4s")));
    const auto& counters = *in.pool("app").counters[0];
    const auto said = counters.bytes_to_servers.load();
    REQUIRE(one.ask(look));
    const auto a_look = counters.bytes_to_servers.load() - said;
    for (int i = 0; i < 3; ++i) {
        in.pass(milliseconds(1'900));
        REQUIRE(one.ask(look)); // nothing but that has been said
    }
    CHECK(counters.bytes_to_servers.load() == said + 4 * a_look);
    in.pass(milliseconds(2'100));
    CHECK(counters.bytes_to_servers.load() > said + 4 * a_look);
    REQUIRE(one.ask(look));
    CHECK(about(ended_after(in, one), seconds(4)));
    in.pass(seconds(9));
    CHECK(in.postgres.idled_too_long() == 0);
    CHECK(counters.server_connects.load() == 1);
}

TEST_CASE("a client that keeps its server is ended by PostgreSQL, and hears its words") {
    house in(1);
    client one(in, "app");
    REQUIRE(in.until([&] { return one.is_welcome(); }));
    REQUIRE(one.ask("CREATE TEMP TABLE t tag=t"));
    REQUIRE(one.ask(set_limit("200ms")));
    CHECK(about(ended_after(in, one), milliseconds(200)));
    CHECK(one.last_fatal() == "57P05");
    CHECK(in.postgres.idled_too_long() == 1);
}

TEST_CASE("a Sync that nothing stands before is activity, too") {
    house in(1);
    client one(in, "app", {{"idle_session_timeout", "200ms"}});
    REQUIRE(in.until([&] { return one.is_welcome(); }));
    for (int i = 0; i < 5; ++i) {
        in.pass(milliseconds(150));
        one.sync();
    }
    CHECK(about(ended_after(in, one), milliseconds(200)));
    CHECK(one.answers() == 6);
}
