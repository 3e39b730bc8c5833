// Statements that are refused because of what they would leave in the session.
#include "protocol/rejected_state.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace pgweir::protocol;

namespace {

constexpr std::uint16_t bit(pin_reason reason) { return static_cast<std::uint16_t>(reason); }

/// What PostgreSQL says of the text.
std::string syntax_error(const std::string& text, const char* sqlstate = "42601") {
    std::string out;
    message_writer(out)
        .begin(backend::error_response)
        .u8('S')
        .c_string("ERROR")
        .u8('C')
        .c_string(sqlstate)
        .u8('M')
        .c_string("syntax error at or near \"" + text + "\"")
        .u8(0)
        .end();
    return out;
}

std::string query(std::string_view sql) {
    std::string out;
    append_query(out, sql);
    return out;
}

} // namespace

TEST_CASE("rejected_state: every kind has a text, and an error that is known by it") {
    for (const auto reason :
         {pin_reason::listen, pin_reason::advisory_lock, pin_reason::temporary_object,
          pin_reason::held_cursor, pin_reason::sql_statement, pin_reason::loaded_library,
          pin_reason::random_seed}) {
        CAPTURE(std::string(to_string(reason)));
        const auto sent = rejected_message(as_bytes(query("anything")), bit(reason));
        CHECK(sent[0] == 'Q');
        CHECK(read_header(as_bytes(sent)).frame_bytes() == sent.size());
        const auto text = sent.substr(header_bytes, sent.size() - header_bytes - 1);
        const auto error = syntax_error(text);
        CHECK(rejected_for(as_bytes(error)) == reason);
        const auto words = words_of_rejection(reason);
        CHECK_FALSE(words.message.empty());
        CHECK(words.hint.find("session_state." + text.substr(15)) != std::string::npos);
        for (std::size_t size = 0; size < error.size(); ++size) {
            const auto cut = rejected_for(as_bytes(std::string_view(error).substr(0, size)));
            CHECK((!cut || cut == reason));
        }
    }
}

TEST_CASE("rejected_state: a Parse keeps its name and loses its parameters") {
    std::string parse;
    message_writer(parse)
        .begin(frontend::parse)
        .c_string("s")
        .c_string("LISTEN a")
        .u16(1)
        .u32(23)
        .end();
    const auto sent = rejected_message(as_bytes(parse), bit(pin_reason::listen));
    CHECK(sent.substr(header_bytes) == std::string("s\0pgweir_rejects_listen\0\0\0", 26));
}

TEST_CASE("rejected_state: of several reasons one is told") {
    const auto both = rejected_message(as_bytes(query("x")),
                                       bit(pin_reason::listen) | bit(pin_reason::held_cursor));
    CHECK(both.find("pgweir_rejects_listen") != std::string::npos);
}

TEST_CASE("rejected_state: other errors are PostgreSQL's own") {
    for (const auto& other : {syntax_error("listen"), syntax_error("pgweir_rejects_nothing"),
                              syntax_error("pgweir_rejects_listen", "42P01"), std::string()}) {
        CHECK_FALSE(rejected_for(as_bytes(other)));
    }
}
