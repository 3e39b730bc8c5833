// Statements that change a session's state, in code that puts them together: cut behind each of
// their tokens, and joined to what nobody knows, none goes unnoticed.
#include "protocol/dynamic_sql.hpp"
#include "protocol/session_state.hpp"
#include "protocol/setting_changes.hpp"
#include "protocol/statement_scan.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace pgweir::protocol;

namespace {

struct whole {
    const char* sql; // tokens with a blank between them
    pin_reason leaves;
    std::vector<std::string> settings; // that it sets
};

const std::vector<whole>& statements() {
    static const std::vector<whole> all = {
        {"set role tenant", pin_reason::setting, {"role"}},
        {"set role to tenant", pin_reason::setting, {"role"}},
        {"set role = default", pin_reason::setting, {"role"}},
        {"set session role tenant", pin_reason::setting, {"role"}},
        {"set \"role\" to tenant", pin_reason::setting, {"role"}},
        {"set session authorization boss", pin_reason::setting, {"role", "session_authorization"}},
        {"set session session authorization default",
         pin_reason::setting,
         {"role", "session_authorization"}},
        {"set session_authorization = boss",
         pin_reason::setting,
         {"role", "session_authorization"}},
        {"set search_path to a , b", pin_reason::setting, {"search_path"}},
        {"set app . tenant to a", pin_reason::setting, {"app.tenant"}},
        {"set schema x", pin_reason::setting, {"search_path"}},
        {"set time zone local", pin_reason::setting, {"timezone"}},
        {"set session time zone interval x hour", pin_reason::setting, {"timezone"}},
        {"set names latin1", pin_reason::setting, {"client_encoding"}},
        {"set xml option document", pin_reason::setting, {"xmloption"}},
        {"set session characteristics as transaction read only",
         pin_reason::setting,
         {"default_transaction_deferrable", "default_transaction_isolation",
          "default_transaction_read_only"}},
        {"reset role", pin_reason::setting, {"role"}},
        {"reset session authorization", pin_reason::setting, {"role", "session_authorization"}},
        {"reset time zone", pin_reason::setting, {"timezone"}},
        {"reset app . tenant", pin_reason::setting, {"app.tenant"}},
        {"prepare p ( int ) as select 1", pin_reason::sql_statement, {}},
        {"listen c", pin_reason::listen, {}},
        {"load lib", pin_reason::loaded_library, {}},
        {"declare c scroll cursor with hold for select 1", pin_reason::held_cursor, {}},
        {"create temp table t ( )", pin_reason::temporary_object, {}},
        {"create or replace temporary view v as select 1", pin_reason::temporary_object, {}},
        {"create local temporary table t as select 1", pin_reason::temporary_object, {}},
        {"do language plpgsql code", pin_reason::large_statement, {}},
    };
    return all;
}

bool has(effect_bits bits, pin_reason reason) { return (bits & bit_of(reason)) != 0; }

/// Whoever runs the code is known to do what the statement does, or may do anything.
bool noticed(const std::string& code, const whole& statement) {
    const auto bits = scan_code(code);
    if (has(bits, pin_reason::large_statement)) {
        return true;
    }
    if (!has(bits, statement.leaves)) {
        return false;
    }
    const auto changes = read_setting_changes_in_code(code);
    bool all = true;
    for (const auto& name : statement.settings) {
        const auto found = changes.names.find(name);
        const bool resets = std::string_view(statement.sql).starts_with("reset");
        all = all && found != changes.names.end() &&
              (resets || found->second == setting_changes::how::set);
    }
    return changes.unknown || all;
}

std::vector<std::string> joined(const std::string& front, const std::string& back) {
    const auto literal = [](const std::string& text) { return '\'' + text + '\''; };
    return {
        "execute " + literal(front) + " || x",
        "execute " + literal(front) + " || quote_ident(x) || " + literal(back),
        "execute ((" + literal(front) + "::text) || x)",
        "execute concat(" + literal(front) + ", quote_ident(x))",
        "execute format(" + literal(front + "%s") + ", x)",
        "execute format(" + literal(front + "%s " + back) + ", x)",
        "execute E" + literal(front) + " || x",
        "execute " + literal("select 1; " + front) + " || x",
        "execute " + literal("; " + front) + " || x",
        "execute 'select 1' || " + literal("; " + front) + " || x",
        "execute 'select 1; ' || " + literal(front) + " || x",
        "s := " + literal(front) + " || x; execute s",
        "s := " + literal(front) + "; s := s || x; execute s",
        "s := " + literal(front) + "; execute s || x",
        "declare q text := " + literal(front) + " || x; begin execute q; end",
        "declare q text default concat(" + literal(front) + ", x); begin execute q; end",
        "declare q text = " + literal(front) + "; begin q = q || x; execute q; end",
        "s := 'select 1;'; s := s || " + literal(front) + " || x; execute s",
        "s := 'select 1;'; s := s || " + literal(front) + "; s := s || x; execute s",
        "if a then execute " + literal(front) + " || x; end if",
        "execute $q$ do $z$ begin execute " + literal(front) + " || x; end $z$ $q$",
    };
}

std::string with_variable(const std::string& code) {
    return "declare s text; begin " + code + "; end";
}

std::string unknown_or(const setting_changes& changes) {
    std::string out = changes.unknown ? "?" : "";
    for (const auto& [name, what] : changes.names) {
        out += (out.empty() ? "" : " ");
        out += (what == setting_changes::how::reset ? "-" : "") + name;
    }
    return out;
}

} // namespace

TEST_CASE("cut_statement: cut behind any token, what changes the session is noticed") {
    for (const auto& statement : statements()) {
        const std::string sql = statement.sql;
        for (auto blank = sql.find(' '); blank != std::string::npos;
             blank = sql.find(' ', blank + 1)) {
            for (const auto& code : joined(sql.substr(0, blank + 1), sql.substr(blank + 1))) {
                CAPTURE(code);
                CHECK(noticed(with_variable(code), statement));
            }
        }
    }
}

TEST_CASE("cut_statement: cut within a word that names a setting") {
    for (const auto& statement : statements()) {
        const std::string sql = statement.sql;
        if (statement.settings.empty()) {
            continue;
        }
        for (std::size_t at = 1; at < sql.size(); ++at) {
            const std::string front = sql.substr(0, at), back = sql.substr(at);
            for (const auto& code : {"execute '" + front + "' || '" + back + "'",
                                     "execute concat('" + front + "', '" + back + "')"}) {
                CAPTURE(code);
                CHECK(noticed(with_variable(code), statement));
            }
        }
    }
    const whole timeout{"", pin_reason::setting, {"transaction_timeout"}};
    CHECK(noticed("execute 'set transaction' || '_timeout = 5'", timeout));
}

TEST_CASE("cut_statement: which setting it is, if that is shown") {
    const std::pair<const char*, const char*> rows[] = {
        {"execute 'set role ' || quote_ident(r)", "role"},
        {"execute 'set session authorization ' || r", "role session_authorization"},
        {"execute concat('set role ', r)", "role"},
        {"execute 'set time zone ' || quote_literal(z)", "timezone"},
        {"execute 'set names ' || quote_literal(z)", "client_encoding"},
        {"execute 'set search_path to ' || p", "search_path"},
        {"execute 'set search_path to default' || p", "search_path"},
        {"execute 'set role default' || r", "role"},
        {"execute format('set work_mem = %L', m)", "work_mem"},
        {"execute 'set ' || n || ' to ' || v", "?"},
        {"execute 'set search_path ' || v", "?"},
        {"execute format('set x%s = 1', v)", "?"},
        {"execute format('reset x%s', v)", "?"},
        {"execute 'set local ' || n || ' to ' || v", ""},
        {"execute 'set transaction ' || m", ""},
        // Nothing is joined to them.
        {"execute 'set x to default'", "-x"},
        {"execute 'set role default'", "-role"},
        {"execute 'reset role'", "-role"},
        {"s := 'reset role'; execute s", "-role"},
        {"execute 'reset role'; execute 'select ' || x", "-role"},
        {"set role default; execute 'select 1 from ' || t", "-role"},
        // Nothing is executed.
        {"s := 'set value ' || v; return s", "value"},
    };
    for (const auto& [code, changes] : rows) {
        const std::string shown(code);
        CAPTURE(shown);
        CHECK(unknown_or(read_setting_changes_in_code(code)) == changes);
    }
}

TEST_CASE("cut_statement: what changes nothing still pins nothing") {
    for (const auto* const code : {
             "execute 'insert into ' || t || ' values (1)'",
             "execute 'select 1; ' || 'select 2 from ' || t",
             "execute 'select 1; select 2 from ' || t",
             "s := 'select 1; '; s := s || 'select 2'; execute s",
             "s := 'select 1;' || E'\\n'; s := s || 'select 2;' || chr(10); execute s",
             "execute 'select 1;' || E'\\n' || chr(10) || 'select 2 from ' || t",
             "line := line || ';' || v; execute 'select ' || x",
             "execute 'update ' || t || ' set ' || c || ' = $1' using v",
             "s := 'update ' || t; s := s || ' set ' || c || ' = 1'; execute s; execute 'delete "
             "from a;'",
             "s := 'update ' || t; s := s || ' set ' || c || ' = 1;'; execute s",
             "s := 'select '; s := s || c; s := s || ';'; execute s",
             "s := 'delete from a;'; execute s; s := 'select '; s := s || c; execute s",
             "execute 'select 1; update ' || t || ' set ' || c || ' = ' || v || '; select 1'",
             "execute format('update %I set %s', t, c)",
             "execute 'create table ' || t || ' (a int)'",
             "execute format('create index on %I (a)', t)",
             "execute format('do $x$ begin perform f(%L); end $x$', a)",
             "execute 'set transaction ' || m",
             "execute 'set local app.x = ' || quote_literal(v)",
             "if action in ('set', 'create', 'declare', 'do') then execute 'select ' || x; end if",
             "if a || b = 'set' then execute 'select ' || x; end if",
             "raise notice '% rows; % more', a, b; execute 'select ' || x",
             "return 'create ' || v",
             "perform a || 'set ' || b",
             "declare x t%rowtype; y int := 5 % 2; begin x := y % 3; end",
         }) {
        const std::string shown(code);
        CAPTURE(shown);
        CHECK((scan_code(with_variable(code)) & (pin_reasons | prepares_something)) == 0);
    }
}

TEST_CASE("cut_statement: more that a piece which is not shown may do") {
    const auto anything = bit_of(pin_reason::large_statement) | bit_of(pin_reason::setting);
    for (const auto* const code : {
             "execute 'select 1; ' || command",
             "execute 'select 1;' || command || ';'",
             "execute format('select 1; %s', command)",
             "execute concat('select 1; ', command)",
             "s := 'select 1; ' || command; execute s",
             "s := 'select 1; '; s := s || command; execute s",
             "s := 'select 1; '; s := concat(s, command); execute s",
             "s := 'select 1; '; execute s || command",
             "execute 'select 1;' || E'\\n' || command",
             "execute E'select 1;\\n' || command",
             "execute E'select 1;\\nset role ' || r",
             "s := 'select 1;' || E'\\n'; s := s || command; execute s",
             "execute 'select 1;' || chr(115) || 'et role x'",
             "execute 'select 1;' || concat(chr(10), command)",
             "for r in execute 'select 1' loop execute chr(115) || 'et role x'; end loop",
             "execute 'do ' || quote_literal(body)",
             "execute format('do %L', body)",
             "execute 'do $x$ begin ' || command || ' end $x$'",
             "execute format('do $x$ begin %s; end $x$', command)",
         }) {
        const std::string shown(code);
        CAPTURE(shown);
        CHECK((scan_code(with_variable(code)) & anything) == anything);
    }
    const auto prepares = bit_of(pin_reason::sql_statement) | prepares_something;
    CHECK(scan_code("execute 'prepare p as ' || q") == prepares);
    CHECK(scan_code("execute format('prepare p as %s', q)") == prepares);
    CHECK(scan_code("execute format('prepare %I as select 1', n)") ==
          bit_of(pin_reason::sql_statement));
    CHECK(scan_code("execute 'set local ' || n || ' = 1'") == sets_for_transaction);
    CHECK(scan_code("execute format('set local %I = 1', n)") == sets_for_transaction);
    CHECK(has(scan_code("execute 'set seed ' || 'to 0.5'"), pin_reason::random_seed));
}
