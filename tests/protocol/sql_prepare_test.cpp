// SQL's PREPARE where it is not to pin: the statement is the client's, and servers are lent it.
// How a script reads: shared_server.hpp.
#include "tests/protocol/shared_server.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace pgweir::protocol;
using namespace pgweir::test;

TEST_CASE("statement_router: SQL's PREPARE is the client's, not the server's") {
    struct row {
        const char* what;
        std::vector<std::string> steps;
    };
    const std::vector<std::string> prepared = {
        "a: Q PREPARE s AS X", "= Q PREPARE s AS X", "< C+ Z", "at rest", "= C s S", "< 3 Z"};
    const row rows[] = {
        {"it is made again where it is used, and taken back",
         {"b: Q EXECUTE s", "= Q EXECUTE s", "< E Z", "a: Q EXECUTE s",
          "= C s own P#1 PREPARE s AS X B#1 E S Q EXECUTE s", "< 3 3 1 2 C 3 3 Z C Z", "at rest",
          "= C s S", "< 3 Z"}},
        {"in a batch an error of it is the client's",
         {"a: P - EXECUTE s | B - | E | S",
          "= C s own P#1 PREPARE s AS X B#1 E P EXECUTE s B E S C s S", "< 3 3 1 2 E Z 3 Z"}},
        {"Bind and Describe find it",
         {"a: B s | D s | E | S",
          "= C s own P#1 PREPARE s AS X B#1 E B s C s P#1 PREPARE s AS X B#1 E D s E S C s S"}},
        {"a name that is taken is refused by PostgreSQL",
         {"a: Q PREPARE s AS Y", "= C s own P#1 PREPARE s AS X B#1 E S Q PREPARE s AS Y",
          "< 3 3 1 2 C 3 3 Z E Z"}},
        {"… to Parse as well", {"a: P s Y | S", "= C s P s ROLLBACK P s Y S C s S"}},
        {"Close is of both kinds", {"a: C s | S", "= C s S", "< 3 Z", "a: B s | S", "= B s S"}},
        {"… and undone where it is skipped",
         {"a: B none | C s | P s Y | S", "= B none C s C#1 P#1 Y S", "< E Z", "a: Q EXECUTE s",
          "= C s own P#2 PREPARE s AS X B#2 E S Q EXECUTE s"}},
        {"DEALLOCATE gives it up",
         {"a: Q DEALLOCATE s", "= C s P s ROLLBACK S Q DEALLOCATE s", "< 3 1 Z C- Z", "at rest",
          "= C s S", "< 3 Z", "a: Q EXECUTE s", "= Q EXECUTE s"}},
        {"… of all too",
         {"a: Q DEALLOCATE ALL", "= Q DEALLOCATE ALL", "< C* Z", "a: Q EXECUTE s",
          "= Q EXECUTE s"}},
        {"nothing is sent behind PREPARE before it is answered",
         {"a: Q PREPARE t AS Y | Q EXECUTE t", "= Q PREPARE t AS Y", "< C+ Z",
          "= C t own P#1 PREPARE t AS Y B#1 E S Q EXECUTE t"}},
        {"one that has failed is not there",
         {"a: Q PREPARE t AS Y", "= Q PREPARE t AS Y", "< E Z", "at rest", "= C t S", "< 3 Z",
          "a: Q EXECUTE t", "= Q EXECUTE t"}},
        {"where PREPARE fails on another server there is no such statement",
         {"a: Q EXECUTE s", "= C s own P#1 PREPARE s AS X B#1 E S Q EXECUTE s", "< 3 3 1 2 E Z E Z",
          "at rest", "= C s S"}},
        {"what it says is not taken for what Parse says",
         {"a: P t PREPARE s AS X | S", "= C#1 P#1 PREPARE s AS X S", "< 3 1 Z", "a: Q EXECUTE s",
          "= C s own P#2 PREPARE s AS X B#2 E S Q EXECUTE s"}},
        {"in front of a text that lists statements it is lent",
         {"a: Q SELECT * FROM pg_prepared_statements",
          "= own C s P#1 PREPARE s AS X B#1 E S Q SELECT * FROM pg_prepared_statements"}},
    };
    for (const auto& each : rows) {
        CAPTURE(each.what);
        shared_server server;
        server.play(prepared);
        CHECK_FALSE(server.state_of('a').pinned());
        server.play(each.steps);
    }
    shared_server server;
    server.play(prepared);
    server.play({"a: Q EXECUTE s", "a: P - EXECUTE s | B - | E | S", "a: B s | E | S",
                 "a: Q DEALLOCATE s", "a: Q SELECT * FROM pg_prepared_statements"});
    CHECK_FALSE(server.state_of('a').pinned());
}

TEST_CASE("statement_router: SQL's PREPARE that only one server can know") {
    for (const std::string sql :
         {"PREPARE pgw_s AS X", "PREPARE s AS X; SELECT 1", "PREPARE U&\"s\" AS X",
          "PREPARE s AS SELECT pg_advisory_lock(1)", "SELECT 1; PREPARE s AS X"}) {
        CAPTURE(sql);
        shared_server server;
        server.play({"a: Q " + sql, "= Q " + sql, "< C C Z"});
        CHECK(server.state_of('a').has(pin_reason::sql_statement));
        CHECK_FALSE(server.statements_of('a').anything_lent());
    }
    shared_server server;
    SUBCASE("by policy") { server.shares_sql_statements = false; }
    SUBCASE("where names are not shared") { server.per_server = 0; }
    SUBCASE("behind another of these") { server.state_of('a').pin(pin_reason::sql_statement); }
    SUBCASE("in an open batch") { server.play({"a: P - X | H", "= P X H", "< 1"}); }
    SUBCASE("in a message of the extended protocol") {
        server.play(
            {"a: P - PREPARE s AS X | B - | E | S", "= P PREPARE s AS X B E S", "< 1 2 C Z"});
    }
    server.play({"a: Q PREPARE s AS X", "= Q PREPARE s AS X"});
    CHECK(server.state_of('a').has(pin_reason::sql_statement));
}
