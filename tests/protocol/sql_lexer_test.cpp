// Tokens of SQL text, with PostgreSQL's rules for what is a string and what is not.
#include "protocol/sql_lexer.hpp"

#include <doctest/doctest.h>

#include <string>

using pgweir::protocol::sql_lexer;
using pgweir::protocol::sql_token;

namespace {

// word, "identifier", 'string', #number, $parameter; symbols as they are.
std::string tokens(std::string_view sql, bool backslash_escapes = false) {
    sql_lexer lexer(sql, backslash_escapes);
    std::string out;
    for (auto t = lexer.next(); t.is != sql_token::kind::end; t = lexer.next()) {
        out += out.empty() ? "" : " ";
        const std::string text(t.text);
        switch (t.is) {
        case sql_token::kind::quoted_identifier:
            out += (t.unicode_escapes ? "U\"" : "\"") + text + "\"";
            break;
        case sql_token::kind::string:
            out += (t.unicode_escapes ? "U'" : "'") + text + "'";
            break;
        case sql_token::kind::number:
            out += "#" + text;
            break;
        default:
            out += text;
        }
    }
    return out;
}

} // namespace

TEST_CASE("sql_lexer: tokens") {
    struct row {
        const char* sql;
        const char* expected;
    };
    const row rows[] = {
        {"", ""},
        {" \t\r\n\v\f", ""},
        {"SELECT a1, b_$2 FROM t;", "SELECT a1 , b_$2 FROM t ;"},
        {"caf\xc3\xa9 = 1.5", "caf\xc3\xa9 = #1.5"},
        {"aZ9z0 Az0 zA9 \x80 x\x80", "aZ9z0 Az0 zA9 \x80 x\x80"},
        {"@a`b[c{d^e", "@ a ` b [ c { d ^ e"},
        {"9z 0a 09 /9:0", "#9 z #0 a #09 / #9 : #0"},
        {"f(1,$12)", "f ( #1 , $12 )"},
        // Strings.
        {"'a' 'it''s' ''", "'a' 'it''s' ''"},
        {"'no -- comment /* here */ $$'", "'no -- comment /* here */ $$'"},
        {"'cut off", "'cut off'"},
        {"'back\\' a", "'back\\' a"},
        {"E'it\\'s' a e'\\\\' b", "'it\\'s' a '\\\\' b"},
        {"E'a\\'", "'a\\''"},
        {"E'a'\n'b\\'c' d", "'a' 'b\\'c' d"},
        {"E'a'\n'b'\n'c\\'d' e", "'a' 'b' 'c\\'d' e"},
        {"E'a' -- x\n 'b\\'c' d", "'a' 'b\\'c' d"},
        {"E'a' || 'b\\' c", "'a' | | 'b\\' c"},
        {"B'01' x'ff' N'n' U&'\\0061'", "'01' 'ff' 'n' U'\\0061'"},
        {"U&'a\\' b", "U'a\\' b"},
        {"name'x'", "name 'x'"},
        {"1e'\\'' a", "#1 '\\'' a"},
        {"u & 'x'", "u & 'x'"},
        // Quoted identifiers.
        {"\"a b\" \"a\"\"b\" U&\"\\0061\"", "\"a b\" \"a\"\"b\" U\"\\0061\""},
        {"\"it's\" 'a'", "\"it's\" 'a'"},
        {"\"cut off", "\"cut off\""},
        // Dollar quotes.
        {"$$it's$$ a", "'it's' a"},
        {"$f$ $$ $g$ $f$ a", "' $$ $g$ ' a"},
        {"$f$ $F$ $f$", "' $F$ '"},
        {"$a b$", "$ a b$"},
        {"a$b$ $b$ ' $b$ c", "a$b$ ' ' ' c"},
        {"$1$x$ y", "$1 ' y'"}, // a parameter, then a dollar quote that is cut off
        {"$$ cut off", "' cut off'"},
        {"$", "$"},
        {"$caf\xc3\xa9$'$caf\xc3\xa9$ a", "''' a"},
        // Comments.
        {"a -- b\nc", "a c"},
        {"a -- b\rc", "a c"},
        {"a --", "a"},
        {"a--b", "a"},
        {"a - - b", "a - - b"},
        {"a /* b /* c */ d */ e", "a e"},
        {"a /* ' */ b", "a b"},
        {"a /*/ b */ c", "a c"},
        {"a /* cut /* off */", "a"},
        {"a/**/b", "a b"},
        {"/* ; */ ; -- ;", ";"},
        {"a */ b", "a * / b"},
        {"a/", "a /"},
        {"a-", "a -"},
    };
    for (const auto& [sql, expected] : rows) {
        const std::string shown(sql);
        CAPTURE(shown);
        CHECK(tokens(sql) == expected);
    }
}

TEST_CASE("sql_lexer: standard_conforming_strings off") {
    CHECK(tokens("'it\\'s' a", true) == "'it\\'s' a");
    CHECK(tokens("'a\\' b", true) == "'a\\' b'");
    CHECK(tokens("B'\\' a", true) == "'\\' a"); // bit strings have no escapes
    CHECK(tokens("$$\\$$ a", true) == "'\\' a");
}

TEST_CASE("sql_lexer: says when the reading depends on standard_conforming_strings") {
    const auto seen = [](std::string_view sql) {
        sql_lexer lexer(sql);
        while (lexer.next().is != sql_token::kind::end) {
        }
        return lexer.backslash_seen();
    };
    CHECK(seen("'a\\b'"));
    CHECK_FALSE(seen("'a'"));
    CHECK_FALSE(seen("E'a\\b'"));
    CHECK_FALSE(seen("$$\\$$ \"\\\""));
}

TEST_CASE("sql_lexer: any bytes end") {
    // Every text of four bytes out of those that matter.
    constexpr std::string_view bytes = "'\"$-/*\\eEU&a1; \n";
    std::string text(4, ' ');
    for (const char a : bytes) {
        for (const char b : bytes) {
            for (const char c : bytes) {
                for (const char d : bytes) {
                    text = {a, b, c, d};
                    for (const bool escapes : {false, true}) {
                        sql_lexer lexer(text, escapes);
                        std::size_t count = 0;
                        while (lexer.next().is != sql_token::kind::end) {
                            ++count;
                        }
                        if (count > 4) {
                            FAIL(text);
                        }
                    }
                }
            }
        }
    }
}
