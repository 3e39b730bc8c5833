// What a server sends: runs, stops and lost step. The conversations are in relay_test.cpp.
#include "protocol/relay.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <string>
#include <utility>

using namespace pgweir::protocol;
using stop = server_step::stop;

namespace {

std::string message(char type, std::string_view body = {}) {
    std::string out;
    message_writer(out).begin(type).raw(body).end();
    return out;
}
std::string header_with(char type, std::uint32_t length_field) {
    std::string out(1, type);
    message_writer(out).u32(length_field);
    return out;
}
std::string row(std::size_t bytes) {
    std::string out;
    const std::string value(bytes, 'v');
    message_writer(out).begin('D').u16(1).u32(static_cast<std::uint32_t>(bytes)).raw(value).end();
    return out;
}
std::string error(std::string_view fields) { return message('E', fields); }

struct asked {
    server_stream server;
    reply_queue owed;
    asked() { owed.sent(frontend::query); }
    server_step next(std::string_view in, bool full = false) {
        return server.next(as_bytes(in), full, owed);
    }
};

} // namespace

TEST_CASE("server_stream: rows come back as one run") {
    std::string rows = message('T', std::string(2, '\0'));
    for (unsigned i = 0; i < 1'000; ++i) {
        rows += row(100);
    }
    asked a;
    auto got = a.next(rows);
    CHECK(got.why == stop::exhausted);
    CHECK(got.taken_bytes == rows.size());
    CHECK_FALSE(a.server.inside_message());
    // A row larger than any buffer streams, and what is behind it joins the run.
    const auto huge = row(1'000'000) + row(10);
    got = a.next(std::string_view(huge).substr(0, 65'536), true);
    CHECK(got.taken_bytes == 65'536);
    CHECK(a.server.inside_message());
    const auto rest =
        huge.substr(65'536) + row(10) + message('C', std::string("SELECT 1003\0", 12));
    got = a.next(rest);
    CHECK(got.taken_bytes == rest.size());
    CHECK(got.why == stop::exhausted);
}

TEST_CASE("server_stream: of commands only those are shown that others have to know of") {
    for (const std::string tag : {"ALTER TABLE", "CREATE TABLE", "DROP TABLE", "DEALLOCATE",
                                  "DEALLOCATE ALL", "DISCARD ALL", "DO", "CALL"}) {
        asked a;
        const auto in = message('C', tag + '\0') + message('Z', "I");
        const auto got = a.next(in);
        CAPTURE(tag);
        CHECK(got.why == stop::command);
        CHECK(got.tag == tag);
    }
    asked short_one; // what is behind the message does not belong to its tag
    const auto in = message('C', "D") + "EAL";
    CHECK(short_one.next(in).why == stop::exhausted);
    for (const std::string tag : {"", "A", "D", "DE", "SELECT 1", "INSERT 0 1", "DELETE 1",
                                  "COPY 3", "BEGIN", "COMMIT", "CLOSE CURSOR", "DECLARE CURSOR"}) {
        asked a;
        const auto got = a.next(message('C', tag + '\0') + message('Z', "I"));
        CAPTURE(tag);
        CHECK(got.why == stop::ready);
    }
}

TEST_CASE("server_stream: lost step") {
    struct test_row {
        const char* what;
        std::string bytes;
    };
    const test_row rows[] = {
        {"an unknown type", message('q')},
        {"the first type beyond ASCII", message('\x80')},
        {"a type beyond ASCII", message('\xda', "12")},
        {"a type of zero", message('\0')},
        {"a client's message", message('Q')},
        {"a login message", message('R', std::string(4, '\0'))},
        {"BackendKeyData", message('K', std::string(8, '\0'))},
        {"a length that does not count itself", header_with('D', 3)},
        {"a row without a column count", header_with('D', 5)},
        {"a length beyond all bounds", header_with('D', max_length_field + 1)},
        {"a negative length", header_with('D', 0xffffffffU)},
        {"ReadyForQuery without a status", header_with('Z', 4)},
        {"ReadyForQuery with two", header_with('Z', 6)},
        {"ParseComplete with a body", header_with('1', 5)},
        {"a parameter beyond all bounds", header_with('S', 65'537)},
        {"a parameter without a value", message('S', std::string("a\0", 2))},
        {"a parameter with more behind it", message('S', std::string("a\0b\0c", 5))},
        {"an answer to something else", message('1')},
    };
    for (const auto& [what, bytes] : rows) {
        const std::string shown(what);
        CAPTURE(shown);
        asked a;
        const auto before = row(10);
        auto got = a.next(before + bytes);
        CHECK(got.why == stop::desync);
        CHECK(got.taken_bytes == before.size()); // what was good may still be forwarded
    }
}

TEST_CASE("server_stream: a status that is none") {
    for (int c = 0; c < 256; ++c) {
        asked a;
        REQUIRE(a.next(message('C', std::string("X\0", 2))).why == stop::exhausted);
        const auto letter = static_cast<char>(c);
        const bool known = letter == 'I' || letter == 'T' || letter == 'E';
        const auto got = a.next(message('Z', std::string(1, letter)));
        CAPTURE(c);
        CHECK((got.why == stop::ready) == known);
        CHECK((got.why == stop::desync) == !known);
        if (known) {
            CHECK(static_cast<char>(got.status) == letter);
        }
    }
}

TEST_CASE("server_stream: errors") {
    struct test_row {
        const char* what;
        std::string fields;
        const char* sqlstate;
        bool fatal;
    };
    const auto z = [](std::string text) {
        std::replace(text.begin(), text.end(), '|', '\0');
        return text;
    };
    const test_row rows[] = {
        {"ERROR", z("SERROR|VERROR|C42601|Mno||"), "42601", false},
        {"FATAL", z("SFATAL|VFATAL|C57P01|Mno||"), "57P01", true},
        {"PANIC", z("SPANIC|VPANIC|CXX000|Mno||"), "XX000", true},
        {"translated: V counts", z("SSCHWERWIEGEND|VFATAL|C57P01|Mnein||"), "57P01", true},
        {"before 9.6: S alone", z("SFATAL|C57P01|Mno||"), "57P01", true},
        {"no SQLSTATE", z("SERROR|VERROR|Mno||"), "", false},
        {"an empty SQLSTATE", z("SERROR|C|Mno||"), "", false},
        {"one too long", z("SERROR|C426011|Mno||"), "", false},
        {"the first SQLSTATE counts", z("SERROR|C42601|C57P01||"), "42601", false},
        {"the first severity counts", z("SERROR|VERROR|SFATAL|VFATAL||"), "", false},
        {"also where there is only S", z("SERROR|SFATAL||"), "", false},
        {"nothing behind the end counts", z("SERROR||VFATAL|C42601||"), "", false},
        {"no fields", z("|"), "", false},
        {"no end", z("SFATAL|C57P01|Mno"), "57P01", true},
        {"cut in the SQLSTATE", z("SFATAL|C57P"), "", true},
        {"words that look like severities", z("SERROR|VERROR|C42601|MFATAL||"), "42601", false},
    };
    for (const auto& [what, fields, sqlstate, fatal] : rows) {
        const std::string shown(what);
        CAPTURE(shown);
        asked a;
        const auto bytes = error(fields);
        const auto got = a.next(bytes);
        CHECK(got.why == stop::error);
        CHECK(got.sqlstate == sqlstate);
        CHECK(got.fatal == fatal);
    }
}

TEST_CASE("server_stream: a long error is told from its first part") {
    const auto fields = std::string("SERROR\0VERROR\0C23505\0M", 22) + std::string(20'000, 'm') +
                        std::string(2, '\0');
    const auto bytes = error(fields);
    for (std::size_t cut = 0; cut < 3'000; cut += 7) {
        CAPTURE(cut);
        asked a;
        const auto got = a.next(std::string_view(bytes).substr(0, cut));
        CHECK(got.why == (cut < 1'024 ? stop::exhausted : stop::error));
        CHECK(got.taken_bytes == (cut < 1'024 ? 0 : cut));
    }
    asked a;
    const auto first = bytes.substr(0, 2'000);
    CHECK(a.next(first).sqlstate == "23505");
    CHECK(a.server.inside_message());
    const auto rest = bytes.substr(2'000) + message('Z', "I");
    const auto got = a.next(rest);
    CHECK(got.why == stop::ready);
    CHECK(got.taken_bytes == rest.size());
    SUBCASE("one of up to 4 KiB is waited for") {
        asked b;
        const auto shorter = error(std::string("SERROR\0C23505\0M", 15) + std::string(3'900, 'm'));
        CHECK(b.next(shorter.substr(0, 3'000)).taken_bytes == 0);
        CHECK(b.next(shorter).taken_bytes == shorter.size());
    }
    SUBCASE("also at the end of a full buffer") {
        asked b;
        const auto shorter = error(std::string("SERROR\0C23505\0M", 15) + std::string(500, 'm'));
        const auto step = b.next(shorter.substr(0, 100), true);
        CHECK(step.why == stop::exhausted);
        CHECK(step.taken_bytes == 0);
    }
}

TEST_CASE("server_stream: ReadyForQuery cut at the end of a full buffer is waited for") {
    asked a;
    const auto complete = message('C', std::string("SELECT 1\0", 9));
    const auto all = complete + message('Z', "I");
    for (std::size_t cut = 0; cut < 6; ++cut) {
        asked b;
        const auto in = std::string_view(all).substr(0, complete.size() + cut);
        REQUIRE(b.next(in, true).taken_bytes == complete.size());
        const auto step = b.next(in.substr(complete.size()), true);
        CHECK(step.why == stop::exhausted);
        CHECK(step.taken_bytes == 0);
    }
}

TEST_CASE("server_stream: parameters") {
    std::string bytes;
    append_parameter_status(bytes, "search_path", std::string(60'000, 'p'));
    for (const std::size_t cut : {1U, 4U, 5U, 6U, 100U, 59'999U}) {
        asked a;
        const auto got = a.next(std::string_view(bytes).substr(0, cut));
        CHECK(got.why == stop::exhausted);
        CHECK(got.taken_bytes == 0);
    }
    asked a;
    const auto got = a.next(bytes);
    CHECK(got.why == stop::parameter);
    CHECK(got.name == "search_path");
    CHECK(got.value.size() == 60'000);
    SUBCASE("one that no buffer holds is lost step") {
        asked b;
        CHECK(b.next(bytes.substr(0, 8'192), true).why == stop::desync);
    }
    SUBCASE("one at the end of a full buffer is waited for") {
        asked b;
        const auto in = row(10) + bytes.substr(0, 8'000);
        const auto step = b.next(in, true);
        CHECK(step.why == stop::exhausted);
        CHECK(step.taken_bytes == row(10).size());
    }
}

TEST_CASE("server_stream: a run ends where the fate changes") {
    server_stream server;
    reply_queue owed;
    owed.sent(frontend::parse, fate::swallow);
    owed.sent(frontend::bind, fate::swallow);
    owed.sent(frontend::bind);
    owed.sent(frontend::close);
    owed.sent(frontend::close, fate::swallow);
    std::string notification;
    message_writer(notification).begin('A').u32(1).c_string("c").c_string("p").end();
    const auto in =
        message('1') + notification + message('2') + message('2') + message('3') + message('3');
    std::string_view rest = in;
    const std::pair<std::size_t, fate> runs[] = {{5, fate::swallow},
                                                 {notification.size(), fate::forward},
                                                 {5, fate::swallow},
                                                 {10, fate::forward},
                                                 {5, fate::swallow}};
    for (const auto& [bytes_taken, where] : runs) {
        const auto got = server.next(as_bytes(rest), false, owed);
        CHECK(got.taken_bytes == bytes_taken);
        CHECK(static_cast<int>(got.where) == static_cast<int>(where));
        rest.remove_prefix(got.taken_bytes);
        const bool told = bytes_taken == notification.size();
        CHECK(got.why == (told           ? stop::notification
                          : rest.empty() ? stop::exhausted
                                         : stop::fate_changed));
    }
}

TEST_CASE("server_stream: a notification is taken when it is whole, however long") {
    for (const std::size_t payload_bytes : {0U, 7'999U, 30'000U}) {
        CAPTURE(payload_bytes);
        std::string frame;
        const std::string payload(payload_bytes, 'p');
        message_writer(frame).begin('A').u32(1).c_string("c").c_string(payload).end();
        server_stream server;
        reply_queue owed;
        owed.sent(frontend::query);
        for (std::size_t there = 0; there < frame.size(); there += there < 100 ? 1 : 97) {
            // Also where it fills a small buffer: that one is made larger.
            const auto step = server.next(as_bytes(frame).first(there), there >= 8'192, owed);
            CHECK(step.why == stop::exhausted);
            CHECK(step.taken_bytes == 0);
        }
        const auto in = message('D', std::string(2, '\0')) + frame + message('D');
        const auto step = server.next(as_bytes(in), false, owed);
        CHECK(step.why == stop::notification);
        CHECK(step.where == fate::forward);
        CHECK(step.last_frame_bytes == frame.size());
        CHECK(step.taken_bytes == frame.size() + 7);
    }
}

TEST_CASE("server_stream: statement_timeout in an idle batch reaches the queue") {
    server_stream server;
    reply_queue owed;
    owed.sent(frontend::parse);
    CHECK(server.next(as_bytes(message('1')), false, owed).why == stop::exhausted);
    owed.sent(frontend::bind);
    owed.sent(frontend::sync);
    CHECK(server.next(as_bytes(error(std::string("SERROR\0C57014\0", 14))), false, owed).why ==
          stop::error);
    CHECK(owed.in_doubt());
}
