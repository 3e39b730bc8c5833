// Every literal in these statements holds a Z or a 7, and nothing else does: a Z or a 7 in the
// result is a leak.
#include "protocol/statement_redact.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using pgweir::protocol::redact_statement;

namespace {

struct example {
    std::string statement;
    std::string redacted;
};

const std::vector<example>& examples() {
    static const std::vector<example> all{
        {"", ""},
        {"SELECT * FROM users WHERE id = 77", "SELECT * FROM users WHERE id = ?"},
        {"select name from t1 where a='Z' and b = 'Z''Z'",
         "select name from t1 where a=? and b = ?"},
        {"SELECT 'Z',E'Z\\'Z', e'Z\\\\', B'7', x'7Z', N'Z', U&'\\0061Z' UESCAPE 'Z'",
         "SELECT ?,?, ?, ?, ?, ?, ? UESCAPE ?"},
        {"SELECT $1, $2::text, $$Z$$, $body$Z $x$ Z$body$, $65535", // parameters stay
         "SELECT $1, $2::text, ?, ?, $65535"},
        {"SELECT $888888", "SELECT ?"},
        {"SELECT 7.7, .7, 7., 7e7, 7E-7, 0x7F, 7_777, -7, 7Z", // glued letters go too
         "SELECT ?, ?, ?, ?, ?, ?, ?, -?, ?"},
        {"FOR i IN 7..77 LOOP", "FOR i IN ?..? LOOP"},
        {"SELECT a[7:7], x.y.col_1, t1$a$b FROM \"My \"\"T\" t",
         "SELECT a[?:?], x.y.col_1, t1$a$b FROM \"My \"\"T\" t"},
        {"SELECT a -- Z\n  , b /* Z /* Z */ Z */ FROM\tt;", "SELECT a , b FROM t;"},
        {"a--Z\rb", "a b"},
        {"SELECT date'Z', interval '7' day", "SELECT date?, interval ? day"},
        {"INSERT INTO t VALUES ('Z', 7)\n  ,  ('Z'\n 'Z', NULL)",
         "INSERT INTO t VALUES (?, ?) , (? ?, NULL)"},
        {"DO $$ BEGIN PERFORM 'Z'; END $$", "DO ?"},
        {"SELECT \"naïve\", 'Zü' FROM über", "SELECT \"naïve\", ? FROM über"},
        {"SELECT 7$$Z$$", "SELECT ??"},
        {"SELECT $1$$Z$$", "SELECT $1?"},
        {"SELECT data ->> 'Z', a || 'Z' || b", "SELECT data ->> ?, a || ? || b"},
        {"SELECT 'Z\\\\' || 'Z'", "SELECT ? || ?"}, // even: ends here under either setting
        // What a setting is given is a literal, also as a bare word.
        {"SET a.pw = Z7z", "SET a.pw = ?"},
        {"set a.pw to Z, \"Z\"\"Z\", 'Z' , 7", "set a.pw to ?, ?, ? , ?"},
        {"/* Z */ SET LOCAL a.pw=Z", "SET LOCAL a.pw=?"},
        {"Set Session \"a\".pw To U&\"Z\"", "Set Session \"a\".pw To ?&?"},
        {"BEGIN; SET a = -7; SET b TO Z Z; SELECT c = d",
         "BEGIN; SET a = -?; SET b TO ? ?; SELECT c = d"},
        {"SET a = DEFAULT; SET b TO on; SET c = OFF; SET d = True; SET e TO false, Z",
         "SET a = DEFAULT; SET b TO on; SET c = OFF; SET d = True; SET e TO false, ?"},
        {"ALTER ROLE x IN DATABASE y SET a.pw TO Z", "ALTER ROLE x IN DATABASE y SET a.pw TO ?"},
        {"ALTER USER ALL SET a.pw = \"Z\"", "ALTER USER ALL SET a.pw = ?"},
        {"alter database d set a.pw = Z", "alter database d set a.pw = ?"},
        {"ALTER SYSTEM SET a.pw TO Z", "ALTER SYSTEM SET a.pw TO ?"},
        {"ALTER FUNCTION f(a text) SET a.pw TO Z SET b FROM CURRENT SET c = Z, Z COST 7 SET d = Z",
         "ALTER FUNCTION f(a text) SET a.pw TO ? SET b FROM CURRENT SET c = ?, ? COST ? SET d = ?"},
        {"CREATE OR REPLACE FUNCTION f() RETURNS text LANGUAGE sql SET a.pw = Z AS 'Z'",
         "CREATE OR REPLACE FUNCTION f() RETURNS text LANGUAGE sql SET a.pw = ? AS ?"},
        // … and elsewhere it is a name.
        {"UPDATE t SET a = b, c = d WHERE e = f", "UPDATE t SET a = b, c = d WHERE e = f"},
        {"INSERT INTO t SELECT a ON CONFLICT (b) DO UPDATE SET c = excluded.c",
         "INSERT INTO t SELECT a ON CONFLICT (b) DO UPDATE SET c = excluded.c"},
        {"CREATE PROCEDURE p() BEGIN ATOMIC UPDATE t SET a = b; UPDATE t SET c = d; END",
         "CREATE PROCEDURE p() BEGIN ATOMIC UPDATE t SET a = b; UPDATE t SET c = d; END"},
        {"CREATE RULE r AS ON UPDATE TO t DO INSTEAD UPDATE u SET a = new.a",
         "CREATE RULE r AS ON UPDATE TO t DO INSTEAD UPDATE u SET a = new.a"},
        {"ALTER ROLE x RENAME TO y; ALTER TABLE t ALTER a SET DEFAULT b",
         "ALTER ROLE x RENAME TO y; ALTER TABLE t ALTER a SET DEFAULT b"},
        {"SET ROLE x; set time zone utc; set session authorization default; RESET a",
         "SET ROLE x; set time zone utc; set session authorization default; RESET a"},
        // Where it ends depends on what we cannot know: the rest is left out.
        {"SELECT 'Z\\' , 'Z'", "SELECT ?…"},
        {"SELECT 7E'Z\\'Z', 'Z'", "SELECT ??…"},
        {"SELECT E'Z'\n'Z\\'Z', 'Z'", "SELECT ? ?…"},
        {"SELECT E'\x83\x5c' , 'Z'", "SELECT ?…"}, // Shift JIS: the backslash is half a letter
        {"SELECT $\x83\x5c$ Z $\x83\x5c$", "SELECT…"},
        {"SELECT $ Z", "SELECT…"},
        {"SELECT \"never closed Z", "SELECT…"},
        {"SELECT 'Z", "SELECT ?…"},
        {"SELECT $a$ Z $b$", "SELECT ?…"},
        {"SELECT /* Z", "SELECT…"},
        {std::string("SELECT a\0 Z", 11), "SELECT a"},
    };
    return all;
}

bool leaks(std::string_view redacted) {
    return redacted.find_first_of("Z") != std::string_view::npos ||
           redacted.find("7") != std::string_view::npos;
}

} // namespace

TEST_CASE("literals are taken out, the rest stays") {
    for (const auto& example : examples()) {
        CAPTURE(example.statement);
        CHECK(redact_statement(example.statement) == example.redacted);
    }
}

TEST_CASE("a statement cut off at any byte shows no part of a literal") {
    for (const auto& example : examples()) {
        for (std::size_t length = 0; length <= example.statement.size(); ++length) {
            const auto cut = example.statement.substr(0, length);
            const auto redacted = redact_statement(cut);
            CAPTURE(cut);
            CAPTURE(redacted);
            CHECK_FALSE(leaks(redacted));
        }
    }
}

TEST_CASE("the result is bounded, at every bound, and never ends inside a character") {
    const std::string statement = "SELECT übergröße, 'Z' FROM t WHERE a = 77 AND ößäü = 'Z'";
    const auto whole = redact_statement(statement);
    for (std::size_t bound = 0; bound < whole.size() + 5; ++bound) {
        CAPTURE(bound);
        const auto redacted = redact_statement(statement, bound);
        CHECK(redacted.size() <= std::max<std::size_t>(bound, 3));
        CHECK_FALSE(leaks(redacted));
        if (bound < whole.size()) {
            CHECK(redacted.ends_with("…"));
            const auto kept = redacted.substr(0, redacted.size() - 3);
            CHECK(whole.starts_with(kept));
            // The byte after what was kept begins a character.
            CHECK((static_cast<unsigned char>(whole[kept.size()]) & 0xc0U) != 0x80U);
        } else {
            CHECK(redacted == whole);
        }
    }
}

TEST_CASE("a long statement costs no more than its length") {
    std::string many_quotes(200'000, '\'');
    CHECK(redact_statement(many_quotes).size() <= 1024);
    std::string comments;
    for (int i = 0; i < 50'000; ++i) {
        comments += "/*";
    }
    CHECK(redact_statement(comments) == "…");
    std::string dollars(200'000, '$');
    CHECK(redact_statement(dollars).size() <= 1024);
}
