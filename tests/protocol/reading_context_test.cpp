// Whose texts mean the same.
#include "protocol/reading_context.hpp"

#include <doctest/doctest.h>

using namespace pgweir::protocol;

TEST_CASE("reading_context: settings that a text is read under") {
    for (const auto* const name : {"search_path", "role", "TimeZone", "client_encoding",
                                   "standard_conforming_strings", "DateStyle"}) {
        CAPTURE(name);
        CHECK(matters_to_reading(name));
    }
    for (const auto* const name :
         {"work_mem", "Statement_Timeout", "application_name", "app.tenant", "pg_trgm.x"}) {
        CAPTURE(name);
        CHECK_FALSE(matters_to_reading(name));
    }
}

TEST_CASE("reading_context: who shares a text") {
    const auto plain = context_of({});
    CHECK_FALSE(plain.of_one_client);
    CHECK(context_of({{"app.tenant", "a"}, {"work_mem", "1MB"}}).key == plain.key);
    const auto other = context_of({{"search_path", "a"}});
    CHECK(other.key != plain.key);
    CHECK(other.key == context_of({{"search_path", "a"}, {"application_name", "x"}}).key);
    CHECK(other.key != context_of({{"search_path", "b"}}).key);

    const auto mine = context_of(1, "s");
    CHECK(mine.of_one_client);
    CHECK(mine.key == context_of(1, "s").key);
    for (const auto& not_mine : {plain, other, context_of(2, "s"), context_of(1, "t"),
                                 context_of(12, ""), context_of({{"1", "s"}})}) {
        CHECK(mine.key != not_mine.key);
    }
}
