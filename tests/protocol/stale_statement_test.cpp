// Statements whose results have changed: PostgreSQL's words for it, and what a batch is about.
#include "protocol/error_response.hpp"
#include "protocol/stale_statement.hpp"

#include <doctest/doctest.h>

#include <string>
#include <tuple>
#include <vector>

using namespace pgweir::protocol;

namespace {

std::string error_body(std::string_view sqlstate, std::string_view message,
                       std::string_view routine) {
    std::string out;
    message_writer(out)
        .u8('V')
        .c_string("ERROR")
        .u8('C')
        .c_string(sqlstate)
        .u8('M')
        .c_string(message)
        .u8('R')
        .c_string(routine)
        .u8(0);
    return out;
}

std::string message(char type, std::string_view body) {
    std::string out;
    message_writer(out).begin(type).raw(body).end();
    return out;
}

} // namespace

TEST_CASE("stale_statement: which error says so, in whatever language its message is") {
    const auto changed =
        error_body("0A000", "zwischengespeicherter Plan darf ...", "RevalidateCachedQuery");
    CHECK(says_results_changed(as_bytes(changed)));
    CHECK_FALSE(says_results_changed(as_bytes(error_body("0A000", "x", "transformStmt"))));
    CHECK_FALSE(says_results_changed(as_bytes(error_body("26000", "x", "RevalidateCachedQuery"))));
    CHECK_FALSE(says_results_changed({}));
    for (std::size_t cut = 0; cut < changed.size(); ++cut) {
        const std::string front = changed.substr(0, cut); // never read beyond its end
        (void)says_results_changed(as_bytes(front));
    }
}

TEST_CASE("stale_statement: what the client is sent is what PostgreSQL says") {
    std::string out;
    append_results_changed(out);
    const auto sent = as_bytes(out);
    REQUIRE(read_header(sent).frame_bytes() == sent.size());
    CHECK(says_results_changed(sent.subspan(header_bytes)));
    const auto fields = read_error_fields(sent.subspan(header_bytes));
    CHECK(fields.severity == "ERROR");
    CHECK(fields.message == "cached plan must not change result type");
}

TEST_CASE("stale_statement: PostgreSQL's error about the name that nothing has") {
    const auto ours =
        error_body("26000", "prepared statement \"pgw_stale\" does not exist", "Fetch");
    CHECK(says_nothing_is_stale_name(as_bytes(ours)));
    CHECK_FALSE(says_nothing_is_stale_name(
        as_bytes(error_body("26000", "prepared statement \"s\" does not exist", "Fetch"))));
    CHECK_FALSE(
        says_nothing_is_stale_name(as_bytes(error_body("42P05", "\"pgw_stale\"", "Store"))));
}

TEST_CASE("stale_statement: the statement that a batch begins with") {
    statement_table table("key", 100'000);
    client_statements mine(table);
    const std::string definition("select 1\0\0\0", 11);
    mine.sent("s", table.intern({}, as_bytes(definition)), 1);
    const std::string parameters(6, '\0');
    const auto bind = message('B', std::string("\0s\0", 3) + parameters);
    CHECK(statement_used(as_bytes(bind), mine) == mine.find("s"));
    CHECK(statement_used(as_bytes(message('D', std::string("Ss\0", 3))), mine) == mine.find("s"));
    CHECK(statement_used(as_bytes(message('D', std::string("Ps\0", 3))), mine) == nullptr);
    CHECK(statement_used(as_bytes(message('B', std::string("s\0\0", 3) + parameters)), mine) ==
          nullptr);
    CHECK(statement_used(as_bytes(message('E', std::string("s\0", 2))), mine) == nullptr);
    CHECK(statement_used({}, mine) == nullptr);

    CHECK_FALSE(describes_something(as_bytes(bind)));
    CHECK_FALSE(describes_something({}));
    CHECK(describes_something(as_bytes(bind + message('D', std::string("P\0", 2)))));
}

TEST_CASE("stale_statement: what rows look like") {
    const auto rows = [](const std::vector<std::tuple<std::string, unsigned, unsigned>>& columns,
                         unsigned table, unsigned format) {
        std::string out;
        message_writer to(out);
        to.u16(static_cast<std::uint16_t>(columns.size()));
        for (const auto& [name, type, modifier] : columns) {
            to.c_string(name).u32(table).u16(1).u32(type).u16(4).u32(modifier).u16(
                static_cast<std::uint16_t>(format));
        }
        return out;
    };
    const std::string none(2, '\0'), one("\0\1\0\0\0\x17", 6);
    const auto shape = [&](const std::string& body) {
        return shape_of(as_bytes(none), as_bytes(body));
    };
    const auto two = shape(rows({{"a", 23, 0}, {"b", 25, 0}}, 16'384, 0));
    CHECK(two != unknown_shape);
    CHECK(two == shape(rows({{"a", 23, 0}, {"b", 25, 0}}, 16'385, 1))); // made anew, in binary
    CHECK(two != shape(rows({{"a", 23, 0}}, 16'384, 0)));
    CHECK(two != shape(rows({{"b", 25, 0}, {"a", 23, 0}}, 16'384, 0)));
    CHECK(two != shape(rows({{"a", 20, 0}, {"b", 25, 0}}, 16'384, 0)));
    CHECK(two != shape(rows({{"a", 23, 0}, {"b", 25, 5}}, 16'384, 0)));
    CHECK(two != shape(rows({{"a", 23, 0}, {"c", 25, 0}}, 16'384, 0)));
    CHECK(shape_of(as_bytes(one), as_bytes(rows({{"a", 23, 0}, {"b", 25, 0}}, 1, 0))) != two);
    CHECK(shape_of(as_bytes(one), {}) != shape({}));
    CHECK(shape({}) != unknown_shape); // none
    CHECK(shape({}) != shape(rows({}, 0, 0)));
    const auto whole = rows({{"a", 23, 0}, {"b", 25, 0}}, 1, 0);
    for (std::size_t cut = 1; cut < whole.size(); ++cut) {
        CHECK(shape(whole.substr(0, cut)) == unknown_shape);
    }
}
