// What is put in front of a message that may read what the server remembers of others' sequences.
#include "protocol/sequence_memory.hpp"

#include "tests/support/shared_server_client.hpp"

#include <doctest/doctest.h>

#include <initializer_list>
#include <string>
#include <string_view>

using namespace pgweir::protocol;
using namespace pgweir::test;

namespace {

std::string message(char type, std::string_view body = {}) {
    std::string out;
    message_writer(out).begin(type).raw(body).end();
    return out;
}
std::string z(std::string_view text) { return std::string(text) + '\0'; }
std::string query(std::string_view sql) { return message('Q', z(sql)); }
std::string parse(std::string_view sql, std::string_view name = {}) {
    return message('P', z(name) + z(sql) + std::string(2, '\0'));
}
std::string bind(std::string_view name = {}) {
    return message('B', z("") + z(name) + std::string(6, '\0'));
}
const std::string execute = message('E', z("") + std::string(4, '\0'));
const std::string sync_message = message('S');
std::string call(std::string_view function) {
    return message('F', std::string(function) + std::string(6, '\0'));
}
const std::string call_of_lastval = call(std::string_view("\0\0\x09\xff", 4));

// A client on a server that remembers what others have done with sequences.
struct on_anothers : shared_server_client {
    on_anothers() {
        memory.foreign = true;
        link.sequences = &memory;
    }
    sequence_memory memory;
};

constexpr std::string_view discard = "CPBECC"; // Close, Parse, Bind, Execute, Close of either
constexpr std::string_view discarded = "312C33";

} // namespace

TEST_CASE("sequence_memory: what reads nothing is left alone") {
    on_anothers a;
    for (const auto& bytes :
         {query("SELECT nextval('s')"), query("SELECT 'lastval'"),
          parse("INSERT INTO t DEFAULT VALUES RETURNING id") + bind() + execute + sync_message,
          call(std::string_view("\0\0\x06\x26", 4))}) {
        a.send(bytes);
        CHECK(a.sink.text == bytes);
        a.sent();
    }
    CHECK_FALSE(a.counted.reads_sequences);
    CHECK(a.memory.foreign);
}

TEST_CASE("sequence_memory: what is the client's own is left alone") {
    on_anothers a;
    a.memory.foreign = false;
    for (const auto& bytes : {query("SELECT lastval()"), call_of_lastval,
                              parse("SELECT currval('s')") + bind() + execute + sync_message}) {
        a.send(bytes);
        CHECK(a.sink.text == bytes);
        a.sent();
    }
    CHECK(a.counted.reads_sequences); // … but known
    CHECK_FALSE(a.session.pinned());
}

TEST_CASE("sequence_memory: the server forgets in front of the message") {
    on_anothers a;
    SUBCASE("a Query: in a batch of its own") {
        a.send(query("SELECT LASTVAL()"));
        CHECK(a.sent() == std::string(discard) + "SQ");
        CHECK(a.counted.sequences_apart);
        CHECK_FALSE(a.memory.foreign);
        a.send(query("SELECT lastval()"));
        CHECK(a.sent() == "Q");
        a.answer(std::string(discarded) + "ZTDCZTDCZ");
    }
    SUBCASE("a FunctionCall") {
        a.send(call_of_lastval);
        CHECK(a.sent() == std::string(discard) + "SF");
        a.answer(std::string(discarded) + "ZVZ");
    }
    SUBCASE("a Query of which nobody has seen all") {
        a.send(query("SELECT 1" + std::string(300'000, ' ')).substr(0, statement_seen_bytes));
        CHECK(a.sink.text.find("DISCARD SEQUENCES") != std::string::npos);
        CHECK_FALSE(a.counted.reads_sequences); // that nobody knows
    }
    SUBCASE("a Parse: in the client's batch") {
        a.send(parse("SELECT lastval()") + bind() + execute + sync_message);
        CHECK(a.sent() == std::string(discard) + "PBES");
        CHECK_FALSE(a.counted.sequences_apart);
        CHECK(a.memory.foreign); // until PostgreSQL has said so
        a.answer(std::string(discarded) + "12DCZ");
    }
    SUBCASE("in the middle of a batch") {
        a.send(parse("INSERT") + bind() + execute + parse("SELECT lastval()") + bind() + execute +
               parse("SELECT lastval()"));
        CHECK(a.sent() == "PBE" + std::string(discard) + "PBEP"); // once for all of it
        a.answer("12C" + std::string(discarded) + "12DC1");
    }
    SUBCASE("a Query into an open batch, which a Sync of ours would end") {
        a.send(parse("SELECT 1") + query("SELECT lastval()"));
        CHECK(a.sent() == "P" + std::string(discard) + "Q");
        a.answer("1" + std::string(discarded) + "TDCZ");
    }
    CHECK(a.owed.in_doubt() == false);
}

TEST_CASE("sequence_memory: a statement that was prepared in another batch") {
    on_anothers a;
    a.memory.foreign = false;
    a.send(parse("SELECT lastval()", "s") + parse("SELECT currval('s')") + sync_message);
    a.answer("311Z");
    a.sent();
    a.memory.foreign = true;
    SUBCASE("by its name") {
        a.send(bind("s") + execute + sync_message);
        CHECK(a.sent() == std::string(discard) + "BES");
    }
    SUBCASE("or without one") {
        a.send(bind() + execute + sync_message);
        CHECK(a.sent() == std::string(discard) + "BES");
    }
    SUBCASE("what describes it reads nothing") {
        a.send(message('D', "S" + z("s")) + sync_message);
        CHECK(a.sent() == "DDS");
    }
}

TEST_CASE("sequence_memory: whether it was forgotten only PostgreSQL knows") {
    on_anothers a;
    a.status = transaction_status::failed;
    a.send(parse("SELECT lastval()") + sync_message);
    CHECK(a.sent() == std::string(discard) + "PS");
    SUBCASE("it refuses, and the client hears of it") {
        CHECK(a.owed.received(backend::close_complete).where == fate::swallow);
        CHECK(a.owed.where(backend::error_response) == fate::forward);
        a.answer("EZ");
        a.send(query("ROLLBACK"));
        a.answer("CZ");
        a.status = transaction_status::idle;
        a.sent();
        a.send(query("SELECT lastval()"));
        CHECK(a.sent() == std::string(discard) + "SQ"); // once more
    }
}

TEST_CASE("sequence_memory: a Query waits for what is to come before it") {
    on_anothers a;
    SUBCASE("an answer that says whether the transaction has failed") {
        CHECK(a.send(query("BEGIN") + query("SELECT lastval()")).why ==
              client_step::stop::awaiting_answer);
        CHECK(a.sent() == "Q");
        a.answer("CZ");
    }
    SUBCASE("a cancel, which would strike what is not the client's") {
        a.cancel_under_way = true;
        CHECK(a.send(query("SELECT lastval()")).why == client_step::stop::awaiting_answer);
        CHECK(a.sent().empty());
        a.cancel_under_way = false;
    }
    a.send(query("SELECT lastval()"));
    CHECK(a.sent() == std::string(discard) + "SQ");
}

TEST_CASE("sequence_memory: a Query in a failed transaction, where nothing can be forgotten") {
    on_anothers a;
    a.status = transaction_status::failed;
    for (const auto* const sql : {"SELECT lastval()", "/* ROLLBACK */ SELECT lastval()",
                                  "SAVEPOINT s; ROLLBACK; SELECT lastval()"}) {
        CAPTURE(std::string(sql));
        CHECK(a.send(query(sql)).why == client_step::stop::exhausted); // it fails
        CHECK(a.sent() == "Q");
        a.answer("EZ");
    }
    CHECK(a.memory.foreign);
    for (const auto* const sql : {"ROLLBACK; SELECT lastval()", " ; commit; SELECT lastval()",
                                  "-- x\nROLLBACK TO s; SELECT lastval()"}) {
        CAPTURE(std::string(sql));
        CHECK(a.send(query(sql)).why == client_step::stop::others_sequences);
        CHECK(a.sent().empty());
    }
}

TEST_CASE("sequence_memory: in the middle of COPY nothing of ours can be sent") {
    on_anothers a;
    a.send(query("COPY t FROM STDIN"));
    a.answer("G");
    a.sent();
    SUBCASE("which has not ended") {
        CHECK(a.send(query("SELECT lastval()")).why == client_step::stop::others_sequences);
    }
    SUBCASE("which is going to end") {
        CHECK(a.send(message('c') + query("SELECT lastval()")).why ==
              client_step::stop::awaiting_answer);
        CHECK(a.sent() == "c");
        a.answer("CZ");
        a.send(query("SELECT lastval()"));
        CHECK(a.sent() == std::string(discard) + "SQ");
    }
}
