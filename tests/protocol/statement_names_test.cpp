// Which prepared statements an SQL text names.
#include "protocol/statement_names.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace pgweir::protocol;

TEST_CASE("statement_names") {
    struct row {
        const char* sql;
        const char* names; // "-" in front: deallocated
    };
    const row rows[] = {
        {"SELECT 1", ""},
        {"EXECUTE foo(1, 2)", "foo"},
        {"execute Foo", "foo"},
        {"EXECUTE \"Foo\"", "Foo"},
        {"EXECUTE \"a\"\"b\"", "a\"b"},
        {"/* EXECUTE no */ EXECUTE yes -- EXECUTE no", "yes"},
        {"SELECT 'EXECUTE no'", ""},
        {"DEALLOCATE foo", "-foo"},
        {"DEALLOCATE PREPARE foo", "-foo"},
        {"DEALLOCATE ALL", "-"},
        {"DISCARD ALL", "-"},
        {"DISCARD PLANS", ""},
        {"DEALLOCATE \"all\"", "-all"},
        {"deallocate prepare all", "-"},
        {"PREPARE foo AS SELECT 1", "foo"},
        {"BEGIN; EXECUTE a; DEALLOCATE b; COMMIT", "a -b"},
        {"CREATE TABLE t AS EXECUTE foo", "foo"},
        {"EXPLAIN EXECUTE foo", "foo"},
        {"EXECUTE", ""},
        {"EXECUTE 1", ""},
        {"deallocate", ""},
    };
    for (const auto& [sql, names] : rows) {
        const std::string shown(sql);
        CAPTURE(shown);
        std::string got;
        for (const auto& use : statement_names(sql)) {
            got += (got.empty() ? "" : " ") + std::string(use.deallocates ? "-" : "") + use.name;
        }
        CHECK(got == names);
    }
    SUBCASE("a name is what PostgreSQL keeps of it") {
        const auto names = statement_names("EXECUTE " + std::string(100, 'x'));
        REQUIRE(names.size() == 1);
        CHECK(names[0].name.size() == 63);
    }
}
