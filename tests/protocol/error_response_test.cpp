// Tests of protocol/error_response.hpp: the table of what clients are told, and what is made of
// what servers tell us.
#include "protocol/error_response.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace pgweir::protocol;
using namespace std::string_literals;

namespace {

error_fields parse(const std::string& message) {
    const auto wire = as_bytes(message);
    REQUIRE(wire.size() >= header_bytes);
    const auto head = read_header(wire);
    REQUIRE(head.type == 'E');
    REQUIRE(head.frame_bytes() == wire.size());
    return read_error_fields(wire.subspan(header_bytes));
}

} // namespace

TEST_CASE("every error has a row that makes a message PostgreSQL's clients understand") {
    for (int i = 0; i <= static_cast<int>(error::internal); ++i) {
        const auto code = static_cast<error>(i);
        const auto& row = row_of(code);
        CAPTURE(row.text);
        CHECK(row.code == code);
        std::string out;
        append_error(out, code);
        const auto fields = parse(out);
        CHECK(fields.severity == (row.fatal ? "FATAL" : "ERROR"));
        CHECK(fields.fatal() == row.fatal);
        CHECK(fields.sqlstate == row.sqlstate);
        CHECK(fields.sqlstate.size() == 5);
        CHECK(fields.message == row.text);
        CHECK(fields.detail.empty());
        CHECK(fields.hint.empty());
    }
}

TEST_CASE("what a driver acts on is as the header says") {
    struct row {
        error code;
        std::string_view sqlstate;
        bool fatal;
    };
    for (const auto& each : {row{error::protocol_violation, "08P01", true},
                             row{error::unsupported_protocol, "0A000", true},
                             row{error::no_user_name, "28000", true},
                             row{error::authentication_failed, "28P01", true},
                             row{error::authorization_refused, "28000", true},
                             row{error::login_timeout, "57014", true},
                             row{error::unknown_database, "3D000", true},
                             row{error::too_many_clients, "53300", true},
                             row{error::pool_exhausted, "53300", false},
                             row{error::server_unreachable, "08001", false},
                             row{error::server_login_failed, "08004", false},
                             row{error::server_lost, "08006", true},
                             row{error::query_canceled, "57014", false},
                             row{error::admin_shutdown, "57P01", true},
                             row{error::setting_refused, "22023", true},
                             row{error::pin_idle_timeout, "57P05", true},
                             row{error::idle_session_timeout, "57P05", true},
                             row{error::state_rejected, "0A000", false},
                             row{error::console_syntax, "42601", false},
                             row{error::console_privilege, "42501", false},
                             row{error::internal, "XX000", true}}) {
        const auto& code = each.code;
        const auto& sqlstate = each.sqlstate;
        const auto& fatal = each.fatal;
        CAPTURE(sqlstate);
        CHECK(row_of(code).sqlstate == sqlstate);
        CHECK(row_of(code).fatal == fatal);
    }
}

TEST_CASE("the fields stand in PostgreSQL's order: S V C M D H and a zero") {
    std::string out;
    append_error(out, error::pool_exhausted, {"m", "d", "h"}, true);
    CHECK(out.substr(5) == "SFATAL\0VFATAL\0C53300\0Mm\0Dd\0Hh\0\0"s);
}

TEST_CASE("an ERROR becomes FATAL at login") {
    std::string out;
    append_error(out, error::pool_exhausted, {}, true);
    CHECK(parse(out).fatal());
}

TEST_CASE("CVE-2026-6666: any field of an error may be missing, doubled or cut off") {
    const std::vector<std::string> fields{"SFATAL", "VFATAL", "C28P01", "Mno",
                                          "Dwhy",   "Hhow",   "Zodd"};
    const auto body_of = [](const std::vector<std::string>& of) {
        std::string body;
        for (const auto& field : of) {
            body += field + '\0';
        }
        return body + '\0';
    };
    SUBCASE("missing") {
        for (std::size_t i = 0; i < fields.size(); ++i) {
            CAPTURE(i);
            auto some = fields;
            some.erase(some.begin() + static_cast<std::ptrdiff_t>(i));
            const auto body = body_of(some);
            const auto found = read_error_fields(as_bytes(body));
            CHECK(found.sqlstate == (i == 2 ? "" : "28P01"));
            CHECK(found.message == (i == 3 ? "" : "no"));
            CHECK(found.fatal()); // S or V is there
        }
    }
    SUBCASE("doubled: the first counts") {
        const auto body = "C28P01\0C00000\0Mfirst\0Msecond\0\0"s;
        const auto found = read_error_fields(as_bytes(body));
        CHECK(found.sqlstate == "28P01");
        CHECK(found.message == "first");
    }
    SUBCASE("the severity that is not translated counts") {
        const auto body = "SFATAL \xc3\xa9trange\0VFATAL\0\0"s;
        CHECK(read_error_fields(as_bytes(body)).severity == "FATAL");
    }
    SUBCASE("cut off anywhere") {
        const auto body = body_of(fields);
        for (std::size_t length = 0; length <= body.size(); ++length) {
            CAPTURE(length);
            const auto found = read_error_fields(as_bytes(body).first(length));
            CHECK((found.sqlstate.empty() || found.sqlstate == "28P01"));
            CHECK((found.message.empty() || found.message == "no"));
        }
    }
    SUBCASE("nothing at all") {
        CHECK(read_error_fields({}).sqlstate.empty());
        CHECK_FALSE(read_error_fields({}).fatal());
    }
}

TEST_CASE("CVE-2024-10977: what a peer sent is printable before anybody sees it") {
    struct row {
        std::string text;
        std::string expected;
    };
    const std::vector<row> rows{
        {"plain", "plain"},
        {"two\nlines\ttab", "two?lines?tab"},
        {"\x1b[31mred\x7f", "?[31mred?"},
        {"zero\0inside"s, "zero?inside"},
        {"na\xc3\xafve \xe2\x82\xac \xf0\x9f\x8f\x8a",
         "na\xc3\xafve \xe2\x82\xac \xf0\x9f\x8f\x8a"},
        {"\xc2\x9b"
         "31m",
         "?31m"},                     // CSI, as one C1 control
        {"\xff\xfe", "??"},           // never UTF-8
        {"\xc0\xaf", "??"},           // overlong
        {"\xed\xa0\x80", "???"},      // surrogate
        {"\xf4\x90\x80\x80", "????"}, // above U+10FFFF
        {"cut \xe2\x82", "cut ??"},   // incomplete
        {"", ""},
    };
    for (const auto& each : rows) {
        const auto& text = each.text;
        const auto& expected = each.expected;
        CAPTURE(expected);
        CHECK(printable(text) == expected);
    }
}

TEST_CASE("printable text is bounded, and never ends in half a character") {
    CHECK(printable(std::string(1000, 'a')).size() == 200);
    CHECK(printable("abc", 2) == "ab");
    CHECK(printable("a\xe2\x82\xac", 3) == "a");
    CHECK(printable("abc", 0).empty());
}
