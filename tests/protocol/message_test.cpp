// Tests of protocol/message.hpp: frames, bounds, and readers that cannot run past the end.
#include "protocol/message.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace pgweir::protocol;
using namespace std::string_literals;

TEST_CASE("a header is read as it stands on the wire") {
    const auto wire = "Q\0\0\1\2rest"s;
    const auto head = read_header(as_bytes(wire));
    CHECK(head.type == 'Q');
    CHECK(head.length_field == 258);
    CHECK(head.frame_bytes() == 259);
    CHECK(head.body_bytes() == 254);
}

TEST_CASE(
    "CVE-2026-6668, 2026-107348: lengths around 2^31 and 2^32 are not plausible, and do not wrap") {
    struct row {
        std::uint32_t length_field;
        bool plausible;
    };
    for (const auto& each :
         {row{0, false}, row{3, false}, row{4, true}, row{0x3ffffffe, true}, row{0x3fffffff, false},
          row{0x7fffffff, false}, row{0x80000000, false}, row{0xffffffff, false}}) {
        const auto& length_field = each.length_field;
        const auto& plausible = each.plausible;
        CAPTURE(length_field);
        const header head{'Q', length_field};
        CHECK(head.plausible() == plausible);
        CHECK(head.frame_bytes() == std::uint64_t{length_field} + 1);
    }
}

TEST_CASE("a body reader takes values in order and notices the end") {
    const auto body = "Z\0\7\0\0\1\0name\0raw"s;
    body_reader reader(as_bytes(body));
    CHECK(reader.character() == 'Z');
    CHECK(reader.u16() == 7);
    CHECK(reader.u32() == 256);
    CHECK(reader.c_string() == "name");
    CHECK(!reader.finished());
    CHECK(as_text(reader.raw(3)) == "raw");
    CHECK(reader.finished());
}

TEST_CASE("a body reader fails for good at the first value that is not there") {
    const auto body = "\0\1"s;
    SUBCASE("a number") {
        body_reader reader(as_bytes(body));
        CHECK(reader.u32() == 0);
        CHECK(!reader.ok());
        CHECK(reader.u16() == 0); // it is there, but the reader is out of step
        CHECK(!reader.finished());
    }
    SUBCASE("a string without its zero") {
        body_reader reader(as_bytes("abc"));
        CHECK(reader.c_string().empty());
        CHECK(!reader.ok());
    }
    SUBCASE("bytes, more than any buffer holds") {
        body_reader reader(as_bytes(body));
        CHECK(reader.raw(0xffffffff).empty());
        CHECK(!reader.ok());
    }
    SUBCASE("anything, of nothing") {
        body_reader reader({});
        CHECK(reader.finished());
        CHECK(reader.character() == '\0');
        CHECK(!reader.finished());
    }
}

TEST_CASE("a writer fills in the length, wherever in the buffer the message begins") {
    std::string out = "before";
    message_writer(out).begin('C').c_string("SELECT 1").end();
    CHECK(out == "beforeC\0\0\0\15SELECT 1\0"s);

    out.clear();
    message_writer(out).begin_untyped().u32(80877103).end();
    CHECK(out == "\0\0\0\10\4\322\26\57"s);
}

TEST_CASE("a string with a zero inside is cut there, so that it cannot smuggle fields") {
    std::string out;
    message_writer(out).begin('S').c_string("a\0b"s).end();
    CHECK(out == "S\0\0\0\6a\0"s);
}

TEST_CASE("the small messages have PostgreSQL's form") {
    std::string out;
    append_query(out, "SELECT 1");
    CHECK(out == "Q\0\0\0\15SELECT 1\0"s);
    out.clear();
    append_ready_for_query(out, transaction_status::failed);
    CHECK(out == "Z\0\0\0\5E"s);
    out.clear();
    append_parameter_status(out, "TimeZone", "UTC");
    CHECK(out == "S\0\0\0\21TimeZone\0UTC\0"s);
}
