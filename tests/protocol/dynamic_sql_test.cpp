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
             "declare sql text; n int; begin sql := 'select 1 from ' || t; execute sql into n",
             "declare sql text; begin sql := format('select 1 from %I', t); sql := sql || ' where "
             "x'; execute sql",
             "declare sql text; begin sql := 'select ' || x; SQL := Sql || y; execute SQL using z",
             "declare sql text := 'select * from t'; begin return query execute sql; end",
             "declare sql text = 'select 1'; begin sql := sql || ' limit ' || n; execute sql; end",
             "declare sql constant text := 'select $1'; begin execute sql using 1; end",
             "declare n numeric(4, 2) := 1; sql pg_catalog.varchar(80)[] collate \"C\" not null "
             "default 'select 1'; begin execute sql",
             "<<block>> declare x t.a%type = 5; sql text default format('select 1 from %I', t); "
             "begin block.sql = 'select 2'; execute sql into x",
             "#variable_conflict use_column declare sql text := 'select 1'; begin execute sql; end",
             "declare sql text := null; begin sql := null; sql := 'select 1'; execute sql",
             "begin declare sql text; declare x int; begin sql = 'select 1'; execute sql; end; end",
             "declare sql text := 'select 1'; begin if sql = x then y = sql; end if; execute sql",
             "declare sql text := 'select 1'; begin for r in execute sql loop a = r.b; end loop",
             "declare sql text := 'select 1'; begin select x into y from z where w = sql; open c "
             "for execute sql",
             "declare sql text := 'select 1'; c cursor (n int = 1) for select sql; begin execute "
             "sql",
             "declare sql text := 'select 1'; begin call log('runs ' || sql, sql || ';'); execute "
             "sql",
             "declare sql text := 'select 1'; begin get diagnostics n = row_count; execute sql",
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
             "execute sql; sql := ",
             "sql := 'select 1 '; execute sql", // a parameter
             "declare q text := command; begin q := 'select 1'; execute q",
             "declare q text default command; begin q := 'select 1'; execute q",
             "declare q constant text not null = command; begin execute q",
             "declare q text := concat('s', 'et x = 1'); begin execute q",
             "declare q text := concat(null, command); begin q := 'select 1 '; execute q",
             "declare q alias for $1; begin q := 'select 1'; execute q",
             "declare q text := 'select 1'; other alias for q; begin other := x; execute q",
         }) {
        const std::string shown(code);
        CAPTURE(shown);
        CHECK(may_do_anything(code));
    }
}

TEST_CASE("dynamic_sql: a variable is set to what nobody sees") {
    for (const auto* const statement : {
             "sql := x || 'select 1'",
             "sql := other",
             "sql = other",
             "SQL = other",
             "block.sql = other",
             "block . sql := other",
             "if a then sql = other; end if",
             "if a then b; else sql = other; end if",
             "if f(a := 'b') then sql = other; end if",
             "for r in execute 'select 1' loop sql = other; end loop",
             "begin sql = other; exception when others then end",
             "<<inner>> begin sql = other; end",
             "sql = concat(other, 'x')",
             "select command into sql from commands",
             "select command into strict sql from commands",
             "select a, command into x, sql from commands",
             "select a, command into x.y, block.sql from commands",
             "for sql in select command from commands loop a; end loop",
             "for x, sql in select a, command from commands loop a; end loop",
             "foreach sql in array commands loop a; end loop",
             "get stacked diagnostics sql = message_text",
             "get stacked diagnostics x = column_name, sql := message_text",
             "call p(1, sql)",
             "call p(block.sql, 1)",
             "call s.p(a => sql, b => 1)",
         }) {
        const std::string shown(statement);
        CAPTURE(shown);
        const std::string front = "declare sql text; begin sql := 'select 1 '; ";
        const std::string back = "; execute sql; end";
        CHECK(may_do_anything(front + statement + back));
        CHECK(!may_do_anything(front + back));
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
