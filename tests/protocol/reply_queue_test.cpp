// The queue of expected replies: every conversation, and what the conversations do not show.
#include "protocol/reply_queue.hpp"

#include "protocol/own_statement.hpp"
#include "tests/protocol/conversations.hpp"

#include <doctest/doctest.h>

#include <string>
#include <string_view>

using namespace pgweir::protocol;
using namespace pgweir::test;

namespace {

void play(const script_step& step, reply_queue& owed) {
    const auto& m = step.message;
    const auto where = m.ours ? fate::swallow : fate::forward;
    switch (step.is) {
    case script_step::what::sent:
        owed.sent(static_cast<frontend>(m.type), where,
                  {.describes_statement = m.describes_statement});
        break;
    case script_step::what::received: {
        const auto type = static_cast<backend>(m.type);
        const auto foretold = owed.where(type);
        const auto got = owed.received(type, m.sqlstate);
        CHECK((got.what == reply::kind::unexpected) == (m.expected == reply::kind::unexpected));
        if (m.expected) {
            CHECK(static_cast<int>(got.what) == static_cast<int>(*m.expected));
        }
        if (got.what != reply::kind::unexpected) {
            CHECK(got.where == where);
            CHECK(foretold == where);
        }
        const bool ready = m.type == 'Z' && got.what != reply::kind::unexpected;
        CHECK((got.what == reply::kind::ready) == ready);
        break;
    }
    case script_step::what::check:
        check_queue(step.check, owed);
        break;
    }
}

void play(std::string_view script, reply_queue& owed) {
    for (const auto& step : parse_script(script)) {
        CAPTURE(step.text);
        play(step, owed);
    }
}

} // namespace

TEST_CASE("reply_queue: conversations") {
    for (const auto& [name, text] : conversations) {
        const std::string shown(name);
        CAPTURE(shown);
        reply_queue owed;
        play(text, owed);
    }
}

TEST_CASE("reply_queue: a doubt is settled by a message of ours that is answered otherwise") {
    struct row {
        const char* what;
        const char* before;
        const char* answers; // of Close and Sync, and what comes in front of them
    };
    const row rows[] = {
        {"a Sync that a failed COPY has eaten", "> P B E S < 1 2 G > d c S < E+ ZI [doubt]",
         "< !3+"},
        {"one that it has not eaten", "> P B E S < 1 2 G > d c S < E+ ZI [doubt]", "< ZI !3+"},
        {"… of which all is known", "> P B E S < 1 2 G > d c S < E+ ZI ZI [doubt]", "< !3+"},
        {"in a query", "> Q d S c < G E- ZI [doubt]", "< ZI !3+"},
        {"another query behind it", "> Q d S c Q < G E- ZI T D C ZI [doubt]", "< !3+"},
        {"statement_timeout in an open batch", "> P H < 1 E57014~ ZI > S < ZI [doubt]", "< !3+"},
        {"something asynchronous", "> Q d S c < G E- ZI [doubt]", "< N~ ZI N~ !3+"},
    };
    for (const auto& [what, before, answers] : rows) {
        const std::string shown(what);
        CAPTURE(shown);
        reply_queue owed;
        play(before, owed);
        REQUIRE(owed.may_settle_doubt());
        std::string sent;
        append_doubt_settling(sent, owed);
        CHECK(sent == std::string("C\0\0\0\x0fSpgw_doubt\0S\0\0\0\x04", 21));
        CHECK(owed.is_settling_doubt());
        play(answers, owed);
        CHECK_FALSE(owed.in_doubt());
        // From here on everything is as usual.
        play("< !ZI [owed=0] > P B E S < 1 2 C ZI [owed=0] "
             "> Q d c < G C ZI [owed=0]",
             owed);
    }
}

TEST_CASE("reply_queue: when a doubt may not be settled") {
    for (const char* const script :
         {"> P B E S < 1 2 G > d c S < E+ [doubt]",              // the server may be skipping
          "> P B E S < 1 2 G > d c S < E+ ZI > Q [doubt]",       // an answer is to come
          "> P B E S < 1 2 G > d c S < E+ ZI > P [doubt batch]", // … and no Sync has been sent
          "> P H < 1 E57014~ ZI [doubt batch]",
          "> P H < 1 E57014~ ZI > S < ZI > P H < 1 E57014~ > S", "> Q < T D C ZI"}) {
        const std::string shown(script);
        CAPTURE(shown);
        reply_queue owed;
        play(script, owed);
        CHECK_FALSE(owed.may_settle_doubt());
    }
}

TEST_CASE("reply_queue: an error while a doubt is being settled") {
    reply_queue owed;
    play("> Q d S c < G E- ZI", owed);
    std::string sent;
    append_doubt_settling(sent, owed);
    CHECK(owed.received(backend::error_response, "57014").what == reply::kind::unexpected);
}

TEST_CASE("reply_queue: a conversation leaves nothing behind for the next on the same server") {
    // Every conversation that ends well, one after the other, on one queue.
    reply_queue owed;
    for (const auto& [name, text] : conversations) {
        reply_queue alone;
        const auto steps = parse_script(text);
        const std::string_view whole = text;
        if (whole.find('?') != whole.npos || whole.find("doubt") != whole.npos) {
            continue;
        }
        for (const auto& step : steps) {
            play(step, alone);
        }
        if (!alone.empty() || alone.batch_open()) {
            continue;
        }
        const std::string shown(name);
        CAPTURE(shown);
        for (const auto& step : steps) {
            CAPTURE(step.text);
            play(step, owed);
        }
    }
    CHECK(owed.empty());
}

TEST_CASE("reply_queue: a long pipeline that never runs dry keeps its memory bounded") {
    reply_queue owed;
    owed.sent(frontend::query);
    for (unsigned i = 0; i < 200'000; ++i) {
        owed.sent(frontend::query);
        CHECK(owed.received(backend::command_complete).what == reply::kind::partial);
        CHECK(owed.received(backend::ready_for_query).what == reply::kind::ready);
        if (owed.size() != 1) {
            FAIL("size " << owed.size());
        }
    }
    CHECK(owed.owed_ready(fate::forward) == 1);
}

TEST_CASE("reply_queue: full at the high-water mark, and every answer still fits") {
    reply_queue owed;
    while (!owed.full()) {
        owed.sent(frontend::bind);
        owed.sent(frontend::execute);
        owed.sent(frontend::sync);
    }
    CHECK(owed.size() >= reply_queue::high_water);
    while (!owed.empty()) {
        REQUIRE(owed.received(backend::bind_complete).what == reply::kind::completes);
        REQUIRE(owed.received(backend::command_complete).what == reply::kind::completes);
        REQUIRE(owed.received(backend::ready_for_query).what == reply::kind::ready);
    }
    CHECK(owed.owed_ready(fate::forward) == 0);
}

TEST_CASE("reply_queue: what fits where, exhaustively") {
    // For a fresh entry of each kind, every message that may come first.
    struct row {
        frontend sent;
        bool statement;
        std::string_view accepted;
    };
    const row rows[] = {
        {frontend::parse, false, "1E"},        {frontend::bind, false, "2E"},
        {frontend::describe, true, "tE"},      {frontend::describe, false, "TnE"},
        {frontend::execute, false, "DCIsGHE"}, {frontend::close, false, "3E"},
        {frontend::query, false, "TDCIGHE"},   {frontend::function_call, false, "VE"},
        {frontend::sync, false, "ZE"},
    };
    for (const auto& [type, statement, accepted] : rows) {
        for (int c = 0; c < 128; ++c) {
            const auto letter = static_cast<char>(c);
            CAPTURE(letter);
            const auto asked = static_cast<char>(type);
            CAPTURE(asked);
            reply_queue owed;
            owed.sent(type, fate::forward, {.describes_statement = statement});
            const auto got = owed.received(static_cast<backend>(letter)).what;
            if (letter == 'N' || letter == 'A' || letter == 'S') {
                CHECK(got == reply::kind::asynchronous);
            } else {
                CHECK((got != reply::kind::unexpected) == (accepted.find(letter) != accepted.npos));
            }
        }
    }
}

TEST_CASE("reply_queue: what has become of noted messages") {
    using enum outcome;
    const auto of = [](const reply_queue& owed) {
        return std::vector<outcome>(owed.outcomes().begin(), owed.outcomes().end());
    };
    reply_queue owed;
    owed.sent(frontend::parse, fate::forward, {.noted = true});
    owed.sent(frontend::bind);
    owed.sent(frontend::parse, fate::swallow, {.noted = true});
    owed.sent(frontend::close, fate::forward, {.noted = true});
    CHECK(owed.batch() == 1);
    owed.sent(frontend::sync);
    CHECK(owed.batch() == 2);
    owed.sent(frontend::parse, fate::forward, {.noted = true});

    (void)owed.received(backend::parse_complete);
    CHECK(of(owed) == std::vector{done});
    owed.clear_outcomes();
    (void)owed.received(backend::bind_complete);
    CHECK(of(owed).empty());
    (void)owed.received(backend::error_response, "42601");
    CHECK(of(owed) == std::vector{failed, skipped});
    owed.clear_outcomes();
    (void)owed.received(backend::ready_for_query);
    (void)owed.received(backend::error_response, "42601");
    CHECK(of(owed) == std::vector{failed});
    owed.clear_outcomes();
    REQUIRE(owed.skipping_until_sync());
    owed.sent(frontend::parse, fate::forward, {.noted = true});
    owed.sent(frontend::query, fate::forward, {.noted = true});
    CHECK(of(owed) == std::vector{skipped, skipped});
}

TEST_CASE("reply_queue: a message of ours whose error is the client's") {
    reply_queue owed;
    const auto ask_twice = [&] {
        owed.sent(frontend::parse, fate::swallow, {.errors_to_client = true});
        owed.sent(frontend::bind);
        owed.sent(frontend::sync);
    };
    ask_twice();
    CHECK(owed.where(backend::parse_complete) == fate::swallow);
    CHECK(owed.received(backend::parse_complete).where == fate::swallow);
    CHECK(owed.received(backend::bind_complete).where == fate::forward);
    CHECK(owed.received(backend::ready_for_query).where == fate::forward);
    ask_twice();
    CHECK(owed.where(backend::error_response) == fate::forward);
    CHECK(owed.received(backend::error_response, "42P01").where == fate::forward);
    CHECK(owed.received(backend::ready_for_query).what == reply::kind::ready);
    CHECK(owed.empty());
}

TEST_CASE("reply_queue: a Sync behind CopyData may be eaten, until all has been answered") {
    reply_queue owed;
    owed.sent(frontend::copy_data); // behind nothing: it is dropped
    owed.sent(frontend::sync);
    CHECK(!owed.doubt_ahead());
    owed.sent(frontend::execute);
    owed.sent(frontend::copy_data);
    CHECK(!owed.doubt_ahead());
    owed.sent(frontend::sync);
    CHECK(owed.doubt_ahead());
    (void)owed.received(backend::ready_for_query);
    (void)owed.received(backend::error_response, "42601");
    CHECK(owed.doubt_ahead());
    (void)owed.received(backend::ready_for_query);
    CHECK(owed.empty());
    CHECK(!owed.doubt_ahead());
    owed.sent(frontend::sync); // the next client's
    CHECK(!owed.doubt_ahead());
}

TEST_CASE("reply_queue: where a batch of ours would be one of its own") {
    reply_queue owed;
    CHECK(owed.between_batches());
    owed.sent(frontend::query); // whatever becomes of it
    CHECK(owed.between_batches());
    (void)owed.received(backend::command_complete);
    (void)owed.received(backend::ready_for_query);
    owed.sent(frontend::bind);
    CHECK(!owed.between_batches());
    (void)owed.received(backend::bind_complete); // after a Flush
    CHECK(!owed.between_batches());
    owed.sent(frontend::execute);
    (void)owed.received(backend::error_response, "22012");
    CHECK(!owed.between_batches());
    owed.sent(frontend::sync); // ends it, also where it is still skipped
    CHECK(owed.between_batches());
    (void)owed.received(backend::ready_for_query);
    CHECK(owed.between_batches());
}

TEST_CASE("reply_queue: the end of a batch that is sent once more is not for the client") {
    reply_queue owed;
    owed.sent(frontend::bind);
    CHECK(!owed.swallow_ready());
    owed.sent(frontend::sync);
    (void)owed.received(backend::error_response, "0A000");
    REQUIRE(owed.swallow_ready());
    CHECK(owed.owed_ready(fate::forward) == 0);
    CHECK(owed.owed_ready(fate::swallow) == 1);
    CHECK(!owed.swallow_ready());
    CHECK(owed.received(backend::ready_for_query).where == fate::swallow);
    CHECK(owed.owed_ready(fate::swallow) == 0);
}

TEST_CASE("reply_queue: replication streams both ways until either side ends it") {
    const std::string_view streams[] = {
        "> Q < W d d > d c < d c C ZI", // the client ends it
        "> Q < W d c > c < T D C C ZI", // the timeline has ended: rows say where
        "> Q < W d E ZI",
        "> Q < W D?",
    };
    for (const auto& text : streams) {
        const std::string shown(text);
        CAPTURE(shown);
        reply_queue owed;
        owed.expect_copy_both();
        play(text, owed);
    }
}

// Seed 14300 of the simulator: a name that was taken could be prepared again behind two COPYs.
TEST_CASE("reply_queue: what was sent for a COPY is remembered when the one before it ends") {
    reply_queue owed;
    const auto begin_copy = [&] {
        CHECK(owed.received(backend::bind_complete).what == reply::kind::completes);
        CHECK(owed.received(backend::copy_in_response).what == reply::kind::partial);
    };
    const auto send = [&](std::initializer_list<frontend> types) {
        for (const auto type : types) {
            owed.sent(type);
        }
    };
    send({frontend::bind, frontend::execute});
    begin_copy();
    send({frontend::copy_data, frontend::copy_done, frontend::sync});
    send({frontend::bind, frontend::execute, frontend::copy_data, frontend::sync});
    CHECK(owed.doubt_ahead());
    SUBCASE("the second one's end has been sent") {
        send({frontend::copy_done});
        CHECK(owed.received(backend::command_complete).what == reply::kind::completes);
        CHECK(owed.copy_end_sent());
        CHECK(owed.doubt_ahead());
        CHECK(owed.received(backend::ready_for_query).what == reply::kind::ready);
        begin_copy();
        CHECK(owed.copy_end_sent());
        CHECK(owed.received(backend::command_complete).what == reply::kind::completes);
    }
    SUBCASE("it has not") {
        CHECK(owed.received(backend::command_complete).what == reply::kind::completes);
        CHECK_FALSE(owed.copy_end_sent());
        CHECK(owed.doubt_ahead());
        CHECK(owed.received(backend::ready_for_query).what == reply::kind::ready);
        begin_copy();
        CHECK_FALSE(owed.copy_end_sent());
        send({frontend::copy_done});
        CHECK(owed.received(backend::command_complete).what == reply::kind::completes);
    }
    CHECK_FALSE(owed.copy_end_sent());
    CHECK_FALSE(owed.doubt_ahead());
}

TEST_CASE("reply_queue: a COPY that has failed leaves no end behind for the next") {
    for (const bool sync : {false, true}) {
        CAPTURE(sync);
        reply_queue owed;
        owed.sent(frontend::query);
        CHECK(owed.received(backend::copy_in_response).what == reply::kind::partial);
        owed.sent(frontend::copy_done);
        owed.sent(frontend::query); // another COPY, and its data
        owed.sent(frontend::copy_data);
        if (sync) {
            owed.sent(frontend::sync);
        }
        CHECK(owed.copy_end_sent());
        (void)owed.received(backend::error_response, "23505"); // for what CopyDone has ended
        (void)owed.received(backend::ready_for_query);
        (void)owed.received(backend::copy_in_response);
        CHECK(owed.in_copy_in());
        CHECK_FALSE(owed.copy_end_sent());
        CHECK(owed.doubt_ahead() == sync);
        CHECK_FALSE(owed.ours_may_go());
        CHECK_FALSE(owed.ours_may_go_soon()); // nothing will come before the client has ended it
    }
}
