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

namespace {

constexpr std::uint16_t bit(pin_reason reason) { return static_cast<std::uint16_t>(reason); }

void take(session_state& state, std::string_view sql) { state.statement(sql, scan(sql, true)); }

/// It is asked about, and what is there of it keeps the pin. What was asked.
std::uint16_t ask_about(session_state& state, std::uint16_t there) {
    const auto about = state.pins_to_ask();
    state.pins_asked(about);
    state.pins_told(about, there);
    return about;
}

} // namespace

TEST_CASE("session_state: what is not there pins no longer") {
    session_state state;
    take(state, "SELECT 1");
    CHECK(state.pins_to_ask() == 0);
    take(state, "CREATE TEMP TABLE t()");
    CHECK(ask_about(state, bit(pin_reason::temporary_object)) == bit(pin_reason::temporary_object));
    CHECK(state.has(pin_reason::temporary_object));
    // Nothing is asked for what has nothing to do with it.
    for (const auto* const sql : {"SELECT * FROM t", "SET x = 1", "SELECT pg_advisory_unlock(1)"}) {
        take(state, sql);
        CHECK(state.pins_to_ask() == 0);
    }
    take(state, "DROP TABLE t");
    CHECK(ask_about(state, 0) == bit(pin_reason::temporary_object));
    CHECK_FALSE(state.has(pin_reason::temporary_object));
    take(state, "DROP TABLE u");
    CHECK(state.pins_to_ask() == 0);
}

TEST_CASE("session_state: locks are asked about after texts about locks") {
    session_state state;
    take(state, "SELECT pg_advisory_lock(1)");
    CHECK(ask_about(state, bit(pin_reason::advisory_lock)) == bit(pin_reason::advisory_lock));
    take(state, "CLOSE ALL");
    take(state, "DO $$ $$");
    CHECK((state.pins_to_ask() & bit(pin_reason::advisory_lock)) == 0);
    CHECK(ask_about(state, 0) ==
          (session_state::askable & ~unsigned{bit(pin_reason::advisory_lock)}));
    CHECK(state.pins() == bit(pin_reason::advisory_lock));
    take(state, "SELECT pg_advisory_unlock(1)");
    ask_about(state, 0);
    CHECK_FALSE(state.pinned());
}

TEST_CASE("session_state: what comes while it is being asked is asked about afterwards") {
    session_state state;
    take(state, "LISTEN a");
    const auto about = state.pins_to_ask();
    state.pins_asked(about);
    take(state, "LISTEN b");
    state.pins_told(about, 0);
    CHECK(state.has(pin_reason::listen));
    CHECK(ask_about(state, 0) == about);
    CHECK_FALSE(state.pinned());
}

TEST_CASE("session_state: nothing is asked where the client stays all the same") {
    for (const auto* const other :
         {"LOAD 'a'", "SELECT setseed(1)", "SELECT set_config(a, b, false)",
          "SELECT set_config($1, $2, false)", "PREPARE p AS SELECT set_config('a', $1, false)"}) {
        CAPTURE(std::string(other));
        session_state state;
        take(state, other);
        take(state, "LISTEN a");
        CHECK(state.pins_to_ask() == 0);
    }
    session_state state;
    take(state, "PREPARE p AS CREATE TEMP TABLE t()");
    take(state, "DEALLOCATE p");
    CHECK(state.pins_to_ask() == 0);
    state.discarded_all();
    take(state, "PREPARE p AS SELECT 1");
    CHECK(state.pins_to_ask() == bit(pin_reason::sql_statement));
    take(state, "SET x = 1"); // which can be asked for as well
    CHECK(state.pins_to_ask() == bit(pin_reason::sql_statement));
}

TEST_CASE("session_state: what is unknown keeps the client, and the rest is asked all the same") {
    session_state state;
    take(state, "SELECT set_config($1, $2, false)");
    CHECK_FALSE(state.settings_to_ask()); // nobody could be asked
    take(state, "RESET ALL");
    CHECK(state.settings_to_ask());
    const auto asked = state.take_changed_settings();
    CHECK(asked.all_reset);
    CHECK_FALSE(asked.hidden_reset);
    state.settings_known();
    CHECK(state.has(pin_reason::setting));
    CHECK(state.changed_settings().unknown);
    CHECK_FALSE(state.settings_to_ask());
    take(state, "SET a = 1");
    CHECK(state.settings_to_ask());
    state.settings_unknowable();
    CHECK_FALSE(state.settings_to_ask());
    state.discarded_all();
    (void)state.take_changed_settings();
    state.settings_known();
    CHECK_FALSE(state.pinned());
}

TEST_CASE("session_state: code that may do anything may have reset something") {
    session_state state;
    take(state, "DO $$ begin execute $1; end $$");
    CHECK(state.settings_to_ask());
    CHECK(state.changed_settings().only_hidden_reset());
    // It has changed something: it is asked for all of them.
    const auto asked = state.take_changed_settings();
    CHECK_FALSE(state.settings_to_ask());
    state.settings_doubted(asked);
    CHECK(state.settings_to_ask());
    CHECK(state.changed_settings().some_listed);
    CHECK(state.changed_settings().hidden_reset);
    // Called by its number.
    session_state other;
    statement_effects effects;
    effects.bits = bit(pin_reason::setting) | bit(pin_reason::large_statement);
    other.call(effects);
    CHECK(other.changed_settings().hidden_reset);
    other.discarded_all();
    CHECK_FALSE(other.changed_settings().hidden_reset);
}

TEST_CASE(
    "session_state: while search_path has pg_temp in it, any CREATE makes a temporary object") {
    session_state state;
    state.search_path_is("public");
    CHECK_FALSE(state.pinned());
    state.search_path_is("\"pg_temp\", public");
    CHECK(state.has(pin_reason::temporary_object));
    take(state, "DROP TABLE t");
    CHECK(state.pins_to_ask() == 0);
    state.search_path_is("public");
    CHECK(ask_about(state, 0) == bit(pin_reason::temporary_object));
    CHECK_FALSE(state.pinned());
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

TEST_CASE("session_state: of what is set again behind its RESET PostgreSQL tells") {
    using how = setting_changes::how;
    session_state state;
    take(state, "RESET a");
    take(state, "SET b = 1; RESET b");
    state.start_up_restored({{"b", "0"}, {"c", "0"}});
    CHECK(state.changed_settings().names ==
          decltype(setting_changes::names){{"a", how::reset}, {"b", how::set}});
    take(state, "RESET b");
    CHECK(state.changed_settings().names.find("b")->second == how::set_then_reset);
}

TEST_CASE("session_state: an error may have undone what was set before it") {
    session_state state;
    state.statement_failed();
    take(state, "SET a = 1");
    CHECK_FALSE(state.changed_settings().failed);
    state.statement_failed();
    take(state, "SET b = 1");
    CHECK(state.take_changed_settings().failed);
    CHECK_FALSE(state.changed_settings().failed);
}

TEST_CASE("session_state: what is only read leaves nothing") {
    session_state state;
    state.statement("SELECT lastval()", scan("SELECT lastval()", true));
    CHECK_FALSE(state.pinned());
    CHECK_FALSE(state.dirty());
}
