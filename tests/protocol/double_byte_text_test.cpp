// Texts whose characters' second byte may be an ASCII one, and what is looked for in them.
#include "protocol/double_byte_text.hpp"

#include "protocol/session_state.hpp"
#include "protocol/setting_changes.hpp"
#include "protocol/sql_lexer.hpp"
#include "protocol/statement_names.hpp"
#include "protocol/statement_scan.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <random>
#include <string>
#include <string_view>
#include <vector>

using namespace pgweir::protocol;

namespace {

using texts = std::vector<std::string>;

// Where the tokens are, and what.
std::string tokens(std::string_view sql, bool backslash_escapes) {
    sql_lexer lexer(sql, backslash_escapes);
    std::string out;
    for (auto token = lexer.next(); token.is != sql_token::kind::end; token = lexer.next()) {
        out += std::to_string(static_cast<int>(token.is)) + ' ' +
               std::to_string(token.text.data() - sql.data()) + ' ' +
               std::to_string(token.text.size()) + '\n';
    }
    return out;
}

bool encoding_matters(std::string_view sql, bool backslash_escapes = false) {
    sql_lexer lexer(sql, backslash_escapes);
    while (lexer.next().is != sql_token::kind::end) {
    }
    return lexer.encoding_matters();
}

constexpr auto bit(pin_reason reason) { return static_cast<effect_bits>(reason); }

} // namespace

TEST_CASE("double_byte_text: readings") {
    CHECK(double_byte_readings("a\\b").empty());
    CHECK(double_byte_readings("\x83\\'") == texts{"\x83\xdc'"});
    // Katakana of half width is a byte in SJIS.
    CHECK(double_byte_readings("\xb1\\'") == texts{"\xb1\xdc'"});
    CHECK(double_byte_readings("\xb1' \xb1\\ \x83\\") == texts{"\xb1' \xb1\\ \x83\xdc"});
    // Four bytes of GB18030, and then a backslash that is one.
    CHECK(double_byte_readings("\x81\x30\x81\x39\\ \x81\\") ==
          texts{"\x81\xb0\x81\xb9\\ \x81\xdc"});
    // UTF-8, of which an odd number of bytes is in front of an ASCII one.
    CHECK(double_byte_readings("'\xe3\x81\x82'").empty());
    CHECK(double_byte_readings("\xe3\x81\x82;").empty());
    CHECK(double_byte_readings("\x83\\\x83") == texts{"\x83\xdc\x83"}); // cut off
    // Two characters stay two: a dollar quote ends with its own tag.
    CHECK(double_byte_readings("$\x83\xdc$ $\x83\\$ $\x83\xdc$ \x83\\") ==
          texts{"$\x83\xdc$ $\x83\xdd$ $\x83\xdc$ \x83\xdd"});
    CHECK(double_byte_readings("\xfd\x7f \x83\\").empty()); // DEL is never half a character
}

TEST_CASE("double_byte_text: the encoding matters where an ASCII byte ends or escapes something") {
    for (const auto* const sql :
         {"E'\x83\\'", "\x83[1]", "\x83|\x83", "$\x83\\$'$\x83\\$", "U&\"\x83\\0061\"",
          "U&'\x83\\'", "U&'\x83@' UESCAPE '@'", "E'a'\n'\x83\\'"}) {
        const std::string shown(sql);
        CAPTURE(shown);
        CHECK(encoding_matters(sql));
    }
    for (const auto* const sql : {"'\x83[|@~'", "\"\x83\\\"", "-- \x83\\\n", "/* \x83\\ */",
                                  "$$\x83\\$$", "\x83 \\", "\x83x", "\x83'x'", "E'\\n\xc3\xa9'"}) {
        const std::string shown(sql);
        CAPTURE(shown);
        CHECK_FALSE(encoding_matters(sql));
    }
    CHECK(encoding_matters("'\x83\\'", true));
}

TEST_CASE("double_byte_text: half a character hides nothing") {
    // U+30BD in SJIS, U+8A31 in BIG5, U+8A98 in GBK: their second bytes are backslashes.
    for (const std::string character : {"\x83\x5c", "\xb3\x5c", "\xd5\x5c"}) {
        const auto effects = [&](std::string before, std::string after) {
            return scan(before + character + after, true);
        };
        CHECK(effects("select E'", "', set_config('app.tenant', 'x', false)") ==
              bit(pin_reason::setting));
        CHECK(effects("select E'", "'; set work_mem = '77MB'") == bit(pin_reason::setting));
        CHECK(effects("select E'", "', pg_advisory_lock(1)") == bit(pin_reason::advisory_lock));
        CHECK(effects("select E'", "'; create temp table t (a int)") ==
              bit(pin_reason::temporary_object));
        // As in the plain string of who has standard_conforming_strings off.
        CHECK(effects("select '", "', setseed(1)") == bit(pin_reason::random_seed));
        // A dollar quote with a quote in it.
        CHECK(scan("select $" + character + "$ ' $" + character + "$, pg_advisory_lock(1), '",
                   true) == bit(pin_reason::advisory_lock));
        CHECK(scan("do $$ begin perform E'" + character + "'; set x = 1; end $$", true) ==
              (bit(pin_reason::setting) | hides_something));
        CHECK(effects("select E'", "'") == 0);

        CHECK(read_setting_changes("set a = E'" + character + "'; set b = 1").unknown);
        const auto names = statement_names("select E'" + character + "'; execute \"" + character +
                                           "\"; deallocate all");
        const auto named = [&](std::string_view name) {
            return std::any_of(names.begin(), names.end(),
                               [&](const auto& one) { return one.name == name; });
        };
        CHECK(named(character));
        CHECK(named(""));
        CHECK_FALSE(name_prepared("prepare p as select E'" + character + "'; select 1"));
    }
}

TEST_CASE("double_byte_text: UTF-8 texts are what they are") {
    constexpr std::string_view quote = "E'caf\xc3\xa9\\' set_config('"; // café, an escaped quote
    CHECK(scan("select " + std::string(quote) + "'", true) == 0);
    CHECK_FALSE(read_setting_changes("set x = E'caf\xc3\xa9\\'y'").unknown);
    CHECK(name_prepared("prepare p as select E'caf\xc3\xa9\\'y'") == "p");
}

// PostgreSQL reads what it has converted. So a text that is made of tokens, and then put into such
// an encoding, must have the tokens that it had, in one of the readings.
TEST_CASE("double_byte_text: any text reads as PostgreSQL reads it, in one of the ways") {
    constexpr std::array pieces = {"'",  "E'", "\"", "$$", "$",  "a",   "1", ";", "\\",
                                   "--", "\n", " ",  "/*", "*/", "U&'", "[", "|", "set x"};
    struct character {
        const char* bytes;
        bool shift_jis;
    };
    constexpr std::array<character, 10> characters = {{{"\x83\x5c", true},
                                                       {"\x83\x7c", true},
                                                       {"\x81\x40", true},
                                                       {"\xb1", true},
                                                       {"\xe0\x5e", true},
                                                       {"\xb3\x5c", false},
                                                       {"\xd5\x5c", false},
                                                       {"\xfe\x60", false},
                                                       {"\x81\x30\x81\x39", false},
                                                       {"\xb1\xb1", false}}};
    std::minstd_rand random(1); // NOLINT(cert-msc32-c,cert-msc51-cpp): the same each time
    std::size_t mattered = 0;
    for (int i = 0; i < 20'000; ++i) {
        const bool shift_jis = i % 2 == 0;
        std::string text;
        std::string converted; // as the lexer would have it in an encoding without such bytes
        for (auto n = random() % 12; n != 0; --n) {
            if (random() % 3 != 0) {
                const auto* const piece = pieces[random() % pieces.size()];
                text += piece;
                converted += piece;
                continue;
            }
            const auto& one = characters[random() % characters.size()];
            if (one.shift_jis == shift_jis) {
                text += one.bytes;
                converted += std::string(std::string_view(one.bytes).size(), '\x80');
            }
        }
        for (const bool escapes : {false, true}) {
            auto ways = texts{text};
            if (encoding_matters(text, escapes)) {
                ++mattered;
                const auto more = double_byte_readings(text);
                ways.insert(ways.end(), more.begin(), more.end());
            }
            CAPTURE(text);
            const bool found = std::any_of(ways.begin(), ways.end(), [&](const auto& way) {
                return tokens(way, escapes) == tokens(converted, escapes);
            });
            CHECK(found);
        }
    }
    CHECK(mattered > 1'000);
}
