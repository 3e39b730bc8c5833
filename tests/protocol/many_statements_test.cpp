// A client may have many statements, and name them all in one message: the cost of a message grows
// with what it says, not with its square. Where these were quadratic, they would run for minutes.
// How a script reads: shared_server.hpp.
#include "protocol/deallocations.hpp"
#include "tests/protocol/shared_server.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace pgweir::protocol;
using namespace pgweir::test;

namespace {

constexpr int many = 100'000;

std::string numbered(int i) { return "s" + std::to_string(i); }

statement_id id_of(int i) { return {{static_cast<std::uint64_t>(i) + 1, 0}}; }

} // namespace

TEST_CASE("client_statements: many names are lent, kept and taken back") {
    statement_table table("key", 1'000'000);
    client_statements mine(table);
    for (int i = 0; i < many; ++i) {
        mine.lent(numbered(i));
        mine.lent(numbered(i));
    }
    for (int i = 1; i < many; ++i) {
        mine.keeps(numbered(i));
        mine.keeps(numbered(i));
    }
    CHECK(mine.take_lent() == client_statements::name_set{"s0"});
    CHECK_FALSE(mine.anything_lent());
}

TEST_CASE("client_statements: many are deallocated ahead") {
    statement_table table("key", 1'000'000);
    client_statements mine(table);
    using deallocation = client_statements::deallocation;
    for (int i = 0; i < many; ++i) {
        mine.deallocating("", client_statements::outside);
        mine.deallocating(numbered(i), 7);
    }
    CHECK(mine.deallocation_of("s0", 7) == deallocation::unsettled); // all of them
    for (int i = 0; i < many; ++i) {
        mine.all_deallocated();
        CHECK(mine.said_deallocated() == numbered(i));
        CHECK(mine.deallocation_of(numbered(many - 1), 6) ==
              (i == many - 1 ? deallocation::none : deallocation::unsettled));
    }
    CHECK_FALSE(mine.said_deallocated());
}

TEST_CASE("deallocations: of one name in several batches") {
    deallocations of;
    of.add("a", {1, 1});
    of.add("a", {2, 2});
    of.add("b", {2, 3});
    of.add("a", {2, 4});
    CHECK(of.of("a").last.changed == 4);
    CHECK(of.of("a").elsewhere(1) == 4);
    CHECK(of.of("a").elsewhere(2) == 1);
    CHECK(of.of("b").elsewhere(2) == 0);
    CHECK(of.of("c").elsewhere(2) == 0);
    CHECK_FALSE(of.all_in(2));
    CHECK(of.take_name() == "a");
    CHECK(of.of("a").elsewhere(2) == 0);
    CHECK(of.of("a").elsewhere(3) == 4);
    CHECK(of.all_in(2));
    of.add("", {3, 5});
    of.all_done(); // it is not the first
    CHECK(of.of("").last.changed == 5);
    CHECK(of.take_name() == "a");
    CHECK(of.take_name() == "b");
    CHECK(of.take_name() == "a");
    CHECK_FALSE(of.take_name());
    CHECK_FALSE(of.empty());
    of.all_done();
    CHECK(of.empty());
    CHECK(of.all_in(9));
}

TEST_CASE("server_statements: many are evicted, parsed and deallocated on their way") {
    server_statements there;
    using change = server_statements::change;
    const auto parsed = [](int i) {
        return change::about(change::kind::parse, {.id = id_of(i), .name = numbered(i)});
    };
    for (int i = 0; i < many; ++i) {
        while (const auto* const victim = there.victim(1, 1)) {
            const auto id = *victim;
            there.sent(change::about(change::kind::evict, {.id = id}), 1);
        }
        there.sent(parsed(i), 1);
    }
    CHECK(there.size() == 1);
    there.deallocated({});
    const std::vector<outcome> skipped(2 * many - 1, outcome::skipped);
    there.apply(skipped, nullptr);
    CHECK(there.size() == 0);
    CHECK_FALSE(there.anything_in_flight());
}

TEST_CASE("server_statements: what is not evicted after all is as old as it was") {
    server_statements there;
    using change = server_statements::change;
    std::vector<server_statements::held> three;
    for (int i = 0; i < 3; ++i) {
        three.push_back({.id = id_of(i), .epoch = 0, .shape = unknown_shape});
    }
    there.restore(three);
    for (int i = 0; i < 2; ++i) {
        REQUIRE(there.victim(1, 1) != nullptr);
        CHECK(*there.victim(1, 1) == id_of(i));
        there.sent(change::about(change::kind::evict, {.id = id_of(i)}), 1);
    }
    CHECK(there.size() == 1);
    const std::vector<outcome> skipped(2, outcome::skipped);
    there.apply(skipped, nullptr);
    REQUIRE(there.contents().size() == 3);
    for (std::size_t i = 0; i < 3; ++i) {
        CHECK(there.contents()[i].id == id_of(static_cast<int>(i)));
    }
}

TEST_CASE("statement_router: what a text names is lent once, however often it names it") {
    shared_server server;
    server.play({"a: P s X | P l SELECT * FROM pg_prepared_statements | S", "< 3 1 3 1 Z"});
    SUBCASE("executed") {
        server.play({"a: Q EXECUTE s; EXECUTE s; DEALLOCATE s; EXECUTE s",
                     "= C#1 P#1 X C#2 P#2 SELECT * FROM pg_prepared_statements S C s P s X S "
                     "Q EXECUTE s; EXECUTE s; DEALLOCATE s; EXECUTE s"});
    }
    SUBCASE("deallocated") {
        server.play({"a: Q DEALLOCATE s; DEALLOCATE s",
                     "= C#1 P#1 X C#2 P#2 SELECT * FROM pg_prepared_statements S "
                     "C s P s ROLLBACK S Q DEALLOCATE s; DEALLOCATE s"});
    }
    SUBCASE("a statement that lists them all") {
        server.play({"a: Q EXECUTE l; EXECUTE l"});
        const auto text = server.shown();
        CAPTURE(text);
        std::size_t lent = 0;
        for (auto at = text.find("P s X"); at != std::string::npos;
             at = text.find("P s X", at + 1)) {
            ++lent;
        }
        CHECK(lent == 1);
    }
}

TEST_CASE("statement_router: EXECUTE of many") {
    shared_server server;
    server.table.set_max_bytes(100'000'000);
    std::string executes;
    const int count = static_cast<int>(client_statements::most_names);
    for (int i = 0; i < count; ++i) {
        server.play({"a: P " + numbered(i) + " X | S", "< 3 1 Z"});
        executes += "EXECUTE " + numbered(i) + "; DEALLOCATE " + numbered(i) + ";";
    }
    CHECK_FALSE(server.state_of('a').pinned());
    server.play({"a: Q " + executes});
    CHECK(server.owed.size() == 2 * static_cast<std::size_t>(count) + 2);
}

TEST_CASE("statement_router: a client that has very many names is pinned by the next") {
    shared_server server;
    server.table.set_max_bytes(100'000'000);
    const auto count = static_cast<int>(client_statements::most_names);
    for (int i = 0; i < count; ++i) {
        server.play({"a: P " + numbered(i) + " X | S", "< 3 1 Z"});
    }
    CHECK(server.statements_of('a').size() == client_statements::most_names);
    SUBCASE("one less is one more") {
        server.play({"a: C s0 | S", "< 3 Z"});
        server.play({"a: P more X | S", "< 3 1 Z"});
        CHECK_FALSE(server.state_of('a').pinned());
    }
    SUBCASE("further ones are the server's") {
        (void)server.shown();
        server.play({"a: P more Y | S", "= P more Y S", "< 1 Z", "a: B more | S", "= B more S"});
        CHECK(server.state_of('a').has(pin_reason::named_statement));
        server.play({"< 2 Z", "a: B s0 | S", "= B#1 S"});
    }
    CHECK(server.statements_of('a').size() == client_statements::most_names);
}
