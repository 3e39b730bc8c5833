// What a long reading of what names hide holds up, and what it does not: one worker's engine in the
// simulator's world, with the control plane's time set by the test. How long anything takes is
// virtual; what is looked at is who has been answered while a reading is under way.
#include "tests/simulation/house.hpp"

#include <doctest/doctest.h>

#include <memory>
#include <string>

using namespace pgweir::simulation;
namespace daemon_ = pgweir::daemon;

namespace {

constexpr auto never = seconds(24 * 3'600);

const std::string look = "SELECT 1 tag=t n=1 rows=1";
const std::string make = "CREATE OR REPLACE FUNCTION hidden_lock() RETURNS void LANGUAGE plpgsql"
                         " AS 'begin perform pg_advisory_lock(7); end' tag=t";

} // namespace

TEST_CASE("names: a large catalogue delays nobody else on its worker") {
    house in;
    client other(in, "other");
    REQUIRE(in.until([&] { return other.is_welcome() && in.known("other"); }));

    in.readings_take(seconds(1) - milliseconds(1));
    client first(in, "app");
    REQUIRE(in.until([&] { return in.state.readings_under_way == 1; }));
    for (int i = 0; i < 200; ++i) {
        REQUIRE(other.ask(look));
    }
    CHECK(in.state.readings_under_way == 1);
    CHECK(!first.is_welcome()); // it waits for the first reading
    CHECK(!in.known("app"));
    REQUIRE(in.until([&] { return first.is_welcome(); }));
    CHECK(in.state.readings_under_way == 0);
    CHECK(in.known("app"));
    CHECK(first.ask(look));
    CHECK(in.pool("app").counters[0]->catalogue_questions_failed.load() == 0);
}

TEST_CASE("names: where all is known its own pool does not wait for the next reading") {
    house in(1, milliseconds(200));
    client only(in, "app");
    REQUIRE(in.until([&] { return only.is_welcome() && in.known("app"); }));
    in.readings_take(never);
    REQUIRE(in.until([&] { return in.state.readings_under_way == 1; }));
    for (int i = 0; i < 200; ++i) {
        REQUIRE(only.ask(look));
    }
    CHECK(in.known("app"));
    CHECK(in.pool("app").counters[0]->catalogue_questions_failed.load() == 0);
}

TEST_CASE("names: who has made something waits until it has been read, and others wait with it") {
    house in(2);
    client maker(in, "app"), other(in, "other");
    REQUIRE(in.until([&] {
        return maker.is_welcome() && other.is_welcome() && in.known("app") && in.known("other");
    }));
    client beside(in, "app"); // its server has still to be opened
    REQUIRE(in.until([&] { return beside.is_welcome(); }));
    const auto questions = in.questions("app");
    in.readings_take(milliseconds(900));
    REQUIRE(maker.ask(make));
    CHECK(!in.known("app"));
    const auto answers = maker.answers();
    maker.send(look);
    beside.send(look);
    REQUIRE(in.until([&] { return in.state.readings_under_way == 2; })); // of its server, too
    for (int i = 0; i < 100; ++i) {
        REQUIRE(other.ask(look));
    }
    CHECK(maker.answers() == answers);
    CHECK(in.state.readings_under_way == 2);
    REQUIRE(in.until([&] { return maker.answers() > answers; }));
    CHECK(in.known("app"));
    CHECK(in.until([&] { return beside.answers() == 2; }));
    CHECK(in.questions("app") == questions + 2);

    SUBCASE("it leaves meanwhile") {
        {
            client short_lived(in, "app");
            REQUIRE(in.until([&] { return short_lived.is_welcome(); }));
            REQUIRE(short_lived.ask(make));
            REQUIRE(in.until([&] { return in.state.readings_under_way == 1; }));
            short_lived.leave();
        }
        REQUIRE(beside.ask(look));
        CHECK(in.known("app"));
    }
}

TEST_CASE("names: what a client's server is asked for us its cancel does not strike") {
    house in;
    client maker(in, "app");
    REQUIRE(in.until([&] { return maker.is_welcome() && in.known("app"); }));
    REQUIRE(maker.ask(make));
    const auto sockets = in.state.open_sockets; // a cancel has one of its own
    CHECK(in.until([&] {
        maker.cancel();
        return in.known("app") || in.state.open_sockets != sockets;
    }));
    CHECK(in.state.open_sockets == sockets);
    CHECK(maker.ask(look));
    maker.send(look + " ms=50");
    in.pass(milliseconds(5));
    maker.cancel();
    CHECK(in.state.open_sockets == sockets + 1);
}

TEST_CASE(
    "names: a reading that takes too long is waited for by nobody, and counts when it is done") {
    house in;
    in.readings_take(seconds(5));
    client first(in, "app");
    REQUIRE(in.until([&] { return first.is_welcome(); }));
    CHECK(in.state.readings_under_way == 1);
    CHECK(!in.known("app"));
    CHECK(!in.pool("app").names->awaited());
    CHECK(first.ask(look));
    REQUIRE(in.until([&] { return in.state.readings_under_way == 0; }));
    CHECK(in.known("app"));
    CHECK(first.ask(look));
    CHECK(in.questions("app") == 1);
    CHECK(in.pool("app").counters[0]->catalogue_questions_failed.load() == 1);
}

TEST_CASE("names: what happens while a reading is under way") {
    house in;
    in.readings_take(milliseconds(500));
    client first(in, "app");
    REQUIRE(in.until([&] { return in.state.readings_under_way == 1; }));
    auto& engine = in.state.workers[0]->engine;

    SUBCASE("the server is lost: what it has said counts") {
        in.postgres.crash();
        REQUIRE(in.until([&] { return first.is_welcome(); }));
        CHECK(in.known("app"));
        CHECK(first.ask(look));
        CHECK(in.pool("app").counters[0]->catalogue_questions_failed.load() == 0);
    }
    SUBCASE("a reload leads to another database: it is asked anew") {
        auto access = *in.pool("app").access.load();
        access.where.port = 5'433;
        in.pool("app").set_access(
            std::make_shared<const daemon_::server_access>(std::move(access)));
        engine.reconfigure(in.shared.time.now(), in.config);
        REQUIRE(in.until([&] { return first.is_welcome(); }));
        CHECK(in.known("app"));
        CHECK(in.questions("app") == 2);
        CHECK(first.ask(look));
    }
    SUBCASE("the worker shuts down: it waits for no reading") {
        engine.begin_shutdown(in.shared.time.now());
        engine.finish_shutdown(in.shared.time.now());
        first.leave();
        REQUIRE(in.until([&] { return engine.empty(); }));
        CHECK(in.state.readings_under_way == 1);
        REQUIRE(in.until([&] { return in.state.readings_under_way == 0; }));
        CHECK(engine.empty());
    }
}
