// Which prepared statements an SQL text names.
#include "protocol/statement_names.hpp"

#include <doctest/doctest.h>

#include <array>
#include <string>
#include <string_view>

using namespace pgweir::protocol;

TEST_CASE("statement_names") {
    struct row {
        const char* sql;
        const char* names; // in front: "+" prepared, "-" deallocated
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
        {"PREPARE foo AS SELECT 1", "+foo"},
        {"DEALLOCATE foo; PREPARE Foo AS SELECT 1; EXECUTE foo", "-foo +foo foo"},
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
        constexpr std::array<std::string_view, 3> marks = {"+", "", "-"};
        std::string got;
        for (const auto& use : statement_names(sql)) {
            got += (got.empty() ? "" : " ") + std::string(marks[static_cast<std::size_t>(use.is)]) +
                   use.name;
        }
        CHECK(got == names);
    }
    SUBCASE("a name is what PostgreSQL keeps of it") {
        const auto names = statement_names("EXECUTE " + std::string(100, 'x'));
        REQUIRE(names.size() == 1);
        CHECK(names[0].name.size() == 63);
    }
}

TEST_CASE("statement_names: a text that is PREPARE of one statement") {
    struct row {
        const char* sql;
        const char* name; // nothing: it is not
    };
    const row rows[] = {
        {"PREPARE foo AS SELECT 1", "foo"},
        {" /* so */ prepare Foo (int, \"T\") as select $1 -- this;\n ;;", "foo"},
        {"PREPARE \"a\"\"B\" AS SELECT ';'", "a\"B"},
        {"PREPARE foo AS SELECT 1; SELECT 2", nullptr},
        {"PREPARE foo AS SELECT 1; ; ''", nullptr},
        {"SELECT 1; PREPARE foo AS SELECT 1", nullptr},
        {"; PREPARE foo AS SELECT 1", nullptr},
        {"PREPARE U&\"foo\" AS SELECT 1", nullptr},
        {"PREPARE", nullptr},
        {"PREPARE 1", nullptr},
        {"EXECUTE foo", nullptr},
        {"DEALLOCATE PREPARE foo", nullptr},
        {"", nullptr},
    };
    for (const auto& [sql, name] : rows) {
        const std::string shown(sql);
        CAPTURE(shown);
        const auto got = name_prepared(sql);
        CHECK(got.has_value() == (name != nullptr));
        CHECK(got.value_or("") == (name != nullptr ? name : ""));
    }
}
