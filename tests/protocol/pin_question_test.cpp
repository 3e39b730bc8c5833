// What is asked about pins, and what follows from the answers.
#include "protocol/pin_question.hpp"

#include "tests/support/message_types.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace pgweir::protocol;
using pgweir::test::types_of;

namespace {

constexpr std::uint16_t bit(pin_reason reason) { return static_cast<std::uint16_t>(reason); }

std::string row(std::string_view value) {
    std::string body;
    message_writer(body).u16(1).u32(static_cast<std::uint32_t>(value.size())).raw(value);
    return body;
}

} // namespace

TEST_CASE("pin_question: each kind is prepared once, and asked in one batch") {
    std::uint16_t prepared = 0;
    std::string out;
    reply_queue owed;
    pin_question first(bit(pin_reason::listen));
    first.append(out, owed, prepared);
    CHECK(types_of(out) == "CPBES");
    CHECK(prepared == bit(pin_reason::listen));
    CHECK_FALSE(first.worth_repeating());
    CHECK(owed.owed_ready(fate::swallow) == 1);
    CHECK(owed.owed_ready(fate::forward) == 0);

    out.clear();
    pin_question second(session_state::askable);
    second.append(out, owed, prepared);
    CHECK(types_of(out) == "BECPBECPBECPBECPBES");
    CHECK(prepared == session_state::askable);

    out.clear();
    pin_question third(session_state::askable);
    third.append(out, owed, prepared);
    CHECK(types_of(out) == "BEBEBEBEBES");
    CHECK(owed.owed_ready(fate::swallow) == 3);
}

TEST_CASE("pin_question: every combination of what was asked and what is there") {
    constexpr std::uint16_t reasons[] = {
        bit(pin_reason::listen), bit(pin_reason::advisory_lock), bit(pin_reason::temporary_object),
        bit(pin_reason::held_cursor), bit(pin_reason::sql_statement)};
    for (unsigned asked = 1; asked < 32; ++asked) {
        for (unsigned there = 0; there < 32; ++there) {
            unsigned about = 0, found = 0;
            std::vector<std::string> rows;
            for (unsigned i = 0; i < 5; ++i) {
                if ((asked >> i & 1U) != 0) {
                    const bool is_there = (there >> i & 1U) != 0;
                    about |= reasons[i];
                    found |= is_there ? reasons[i] : 0U;
                    rows.push_back(row(is_there ? "t" : "f"));
                }
            }
            pin_question question(static_cast<std::uint16_t>(about));
            for (const auto& one : rows) {
                CHECK_FALSE(question.there());
                question.take(as_bytes(one));
            }
            CHECK(question.there() == std::optional(static_cast<std::uint16_t>(found)));
        }
    }
}

TEST_CASE("pin_question: what is no answer says nothing, wherever it is cut off") {
    const auto whole = row("t");
    const auto with = [&](std::string_view body) {
        pin_question question(bit(pin_reason::listen));
        question.take(as_bytes(body));
        return question.there();
    };
    CHECK(with(whole) == std::optional(bit(pin_reason::listen)));
    for (std::size_t size = 0; size < whole.size(); ++size) {
        CHECK_FALSE(with(std::string_view(whole).substr(0, size)));
    }
    for (const auto& other : {row("x"), row("tt"), row(""), whole + whole, whole + "t"}) {
        CHECK_FALSE(with(other));
    }
    pin_question more(bit(pin_reason::listen));
    more.take(as_bytes(whole));
    more.take(as_bytes(whole)); // nobody asked for that
    CHECK_FALSE(more.there());
}

TEST_CASE("pin_question: an error says nothing; it may be that what was prepared is gone") {
    for (const bool believed : {false, true}) {
        std::uint16_t prepared = believed ? bit(pin_reason::listen) : std::uint16_t{0};
        std::string out;
        reply_queue owed;
        pin_question question(bit(pin_reason::listen));
        question.append(out, owed, prepared);
        question.fail();
        CHECK_FALSE(question.there());
        CHECK(question.worth_repeating() == believed);
    }
}
