// A server's name of a statement in an error becomes the client's.
#include "protocol/error_names.hpp"

#include "protocol/error_response.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace pgweir::protocol;

TEST_CASE("error_names") {
    statement_table table("key", 100'000);
    client_statements names(table);
    const std::string definition("SELECT 1\0\0\0", 11);
    const auto what = table.intern({}, as_bytes(definition));
    names.sent("mine", what, 1);
    names.done("mine", what);
    const auto error_about = [](const std::string& name) {
        std::string out;
        append_error(out, error::internal,
                     {.message = "prepared statement \"" + name + "\" does not exist"});
        return out;
    };
    const auto told = [&](const std::string& error) {
        std::string out;
        append_with_client_names(out, as_bytes(error), names);
        return out;
    };
    SUBCASE("a statement it has") {
        CHECK(names_shared_statement(as_bytes(error_about(what->name))));
        CHECK(told(error_about(what->name)) == error_about("mine"));
    }
    SUBCASE("one it had a moment ago") {
        names.all_deallocated();
        CHECK(told(error_about(what->name)) == error_about("mine"));
        names.at_rest();
        CHECK(told(error_about(what->name)) == error_about(what->name));
    }
    SUBCASE("no such name") {
        CHECK(!names_shared_statement(as_bytes(error_about("pgwx"))));
        CHECK(told(error_about("pgw_")) == error_about("pgw_"));
        CHECK(told(error_about("x pgw_short")) == error_about("x pgw_short"));
    }
    SUBCASE("a body that is cut off") {
        auto error = error_about(what->name);
        for (std::size_t cut = header_bytes; cut < error.size(); ++cut) {
            std::string out;
            append_with_client_names(out, as_bytes(error).first(cut), names);
            CHECK(read_header(as_bytes(out)).frame_bytes() == out.size());
        }
    }
}
