// Why a client stays on its server.
#include "protocol/session_state.hpp"

#include "protocol/statement_scan.hpp"

#include <doctest/doctest.h>

#include <set>
#include <string>

using namespace pgweir::protocol;

TEST_CASE("session_state: pins come and go one by one") {
    constexpr unsigned last = static_cast<unsigned>(pin_reason::large_statement);
    std::set<std::string> names;
    for (unsigned bit = 1; bit <= last; bit <<= 1U) {
        const auto reason = static_cast<pin_reason>(bit);
        CAPTURE(std::string(to_string(reason)));
        session_state state;
        CHECK_FALSE(state.pinned());
        state.pin(reason);
        state.pin(reason);
        CHECK(state.pinned());
        CHECK(state.pins() == bit);
        CHECK(state.dirty() == (reason != pin_reason::unnamed_statement));
        for (unsigned other = 1; other <= last; other <<= 1U) {
            CHECK(state.has(static_cast<pin_reason>(other)) == (other == bit));
        }
        state.pin(pin_reason::setting);
        state.unpin(reason);
        CHECK_FALSE(state.has(reason));
        CHECK(state.has(pin_reason::setting) == (reason != pin_reason::setting));
        state.clear();
        CHECK_FALSE(state.pinned());
        names.insert(std::string(to_string(reason)));
    }
    CHECK(names.size() == 11);
    CHECK_FALSE(names.contains("unknown"));
}

TEST_CASE("session_state: statements add up") {
    session_state state;
    const auto take = [&](std::string_view sql, bool complete = true) {
        state.statement(sql, scan(sql, complete));
    };
    take("SELECT 1");
    CHECK_FALSE(state.pinned());
    take("LISTEN a");
    take("SELECT 1");
    CHECK(state.has(pin_reason::listen));
    take("SELECT 1", false);
    CHECK(state.has(pin_reason::large_statement));
    CHECK(state.has(pin_reason::listen));
}

TEST_CASE("session_state: what sets nothing that lasts is no setting to ask for") {
    for (const auto* const sql : {"DISCARD PLANS", "DISCARD SEQUENCES", "RESET seed"}) {
        CAPTURE(std::string(sql));
        session_state state;
        state.statement(sql, scan(sql, true));
        CHECK_FALSE(state.pinned());
    }
    session_state state;
    state.statement("SET seed = 1", scan("SET seed = 1", true));
    CHECK(state.pins() == static_cast<unsigned>(pin_reason::random_seed));
    CHECK_FALSE(state.settings_to_ask());
}

TEST_CASE("session_state: what is only read leaves nothing") {
    session_state state;
    state.statement("SELECT lastval()", scan("SELECT lastval()", true));
    CHECK_FALSE(state.pinned());
    CHECK_FALSE(state.dirty());
}
