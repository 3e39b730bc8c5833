// Of which code that puts other code together it can be known what it does.
#include "protocol/dynamic_sql.hpp"

#include "protocol/session_state.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace pgweir::protocol;

namespace {

bool may_do_anything(std::string_view code) {
    dynamic_sql dynamic;
    sql_lexer lexer(code);
    for (auto token = lexer.next(); token.is != sql_token::kind::end; token = lexer.next()) {
        dynamic.take(token);
    }
    return dynamic.may_do_anything();
}

} // namespace

TEST_CASE("dynamic_sql: what is executed shows which statement it is") {
    for (const auto* const code : {
             "begin perform 1; end",
             "execute 'insert into t values (1)'",
             "execute 'insert into ' || name || ' values (1)'",
             "execute format('insert into %I values (%L)', a, b) using c",
             "EXECUTE FORMAT($q$ update %I set x = 1 $q$, a)",
             "return query execute 'select * from ' || quote_ident(t)",
             "for r in execute 'select 1 from ' || t loop end loop",
             "open c for execute ('select ' || x)",
             "execute 'create table events_' || to_char(now(), 'YYYY') || ' ()'",
             "sql := 'select 1 from ' || t; execute sql into n",
             "sql := format('select 1 from %I', t); sql := sql || ' where x'; execute sql",
             "sql := 'select ' || x; SQL := Sql || y; execute SQL using z",
             "create trigger t after insert on t execute function f()",
             "create trigger t after insert on t execute procedure f()",
             "grant execute on function f() to r",
         }) {
        const std::string shown(code);
        CAPTURE(shown);
        CHECK(!may_do_anything(code));
    }
}

TEST_CASE("dynamic_sql: it cannot be known") {
    for (const auto* const code : {
             "execute $1",
             "execute command",
             "execute \"command\"",
             "execute build(x)",
             "execute 's' || 'et x = 1'",
             "execute 'select' || x",
             "execute '' || x",
             "execute '%s'",
             "execute format('%s x = 1', a)",
             "execute format(template, a)",
             "execute concat('s', 'et x = 1')",
             "execute quote_ident(x) || ' 1'",
             "execute case when a then 'select 1' else b end",
             "execute 'select set_' || 'config(1, 2, false)'",
             "sql := x || 'select 1'; execute sql",
             "sql := 'select 1 '; sql := other; execute sql",
             "sql := 'select 1 '; select command into sql from commands; execute sql",
             "sql := 'select 1 '; select command into strict sql from commands; execute sql",
             "execute sql; sql := ",
         }) {
        const std::string shown(code);
        CAPTURE(shown);
        CHECK(may_do_anything(code));
    }
}

TEST_CASE("dynamic_sql: the beginning of a name stands for every name that it may be") {
    constexpr auto bit = [](pin_reason reason) { return static_cast<effect_bits>(reason); };
    constexpr auto temporary = bit(pin_reason::temporary_object);
    constexpr auto locks = bit(pin_reason::advisory_lock) | gives_up_lock;
    const auto effects = [](std::string_view code) {
        dynamic_sql about;
        sql_lexer lexer(code);
        for (auto token = lexer.next(); token.is != sql_token::kind::end; token = lexer.next()) {
            about.take(token);
        }
        return about.of_cut_names();
    };
    CHECK(effects("execute 'create table pg_' || 'temp.t ()'") ==
          (temporary | locks | bit(pin_reason::advisory_lock)));
    CHECK(effects("x := 'select pg_advisory_' || 'lock(1)'") == locks);
    CHECK(effects("x := 'select PG_Te' || 'mp.f()'") == temporary);
    CHECK(effects("x := 'select last' || 'val()'") == reads_sequences);
    CHECK(effects("x := 'select sets' || 'eed(1)'") == bit(pin_reason::random_seed));
    CHECK(effects("x := 'select set' || '_config(1, 2, false)'") ==
          (bit(pin_reason::setting) | bit(pin_reason::random_seed)));
    CHECK(effects("x := 'select pg_temp.t' || 'able'") == 0);
    CHECK(effects("x := 'select pg_' , 'temp.t'") == 0);
    CHECK(effects("x := 'select a from pg' || 'b'") == 0);
}
