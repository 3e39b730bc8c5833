// What is spelled in Unicode escapes.
#include "protocol/unicode_escapes.hpp"

#include <doctest/doctest.h>

#include <string>

using namespace pgweir::protocol;

namespace {

struct row {
    const char* sql;
    const char* text; // nullptr: refused
    const char* next; // the token behind
};

constexpr row rows[] = {
    {"U&\"abc\" x", "abc", "x"},
    {"U&\"\\0061b\\+000063\" x", "abc", "x"},
    {"U&'a\\\\b'", "a\\b", ""},
    {"U&'a\\b", nullptr, ""},
    {"U&\"\\00e9\\20ac\\+01F600\"", "\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80", ""},
    {"U&\"!0061\\0061\" UESCAPE '!' x", "a\\0061", "x"},
    {"U&\"!0061\" -- that is\n uescape /* a */ '!' x", "a", "x"},
    {"U&\"!!\" UESCAPE '!'", "!", ""},
    {"U&\"\\0061\" \"UESCAPE\" '!'", "a", "UESCAPE"},
    {"U&\"\\0061\" uescapes", "a", "uescapes"},
    {"U&\"\\0061\" UESCAPE '!!'", nullptr, "UESCAPE"},
    {"U&\"\\0061\" UESCAPE x", nullptr, "UESCAPE"},
    {"U&\"\\0061\" UESCAPE", nullptr, "UESCAPE"},
    {"U&\"\\061\"", nullptr, ""},
    {"U&\"\\00g1\"", nullptr, ""},
    {"U&\"\\+00061\"", nullptr, ""},
    {"U&\"\\+110000\"", nullptr, ""},
    {"U&\"\\0000\"", nullptr, ""},
    {"U&\"\\-061\"", nullptr, ""},
    {"U&\"a\\\"", nullptr, ""},
};

} // namespace

TEST_CASE("unicode_escapes: undone, or refused") {
    for (const auto& [sql, text, next] : rows) {
        CAPTURE(std::string(sql));
        sql_lexer lexer(sql);
        const auto token = lexer.next();
        CHECK(token.unicode_escapes);
        const auto said = take_unescaped(token, lexer);
        CHECK(said == (text == nullptr ? std::nullopt : std::optional<std::string>(text)));
        CHECK(lexer.next().text == next);
    }
}

TEST_CASE("unicode_escapes: cut off anywhere") {
    const std::string whole = "U&\"a!0062!+000063!!\" UESCAPE '!' x";
    for (std::size_t size = 3; size <= whole.size(); ++size) {
        sql_lexer lexer(std::string_view(whole).substr(0, size));
        const auto token = lexer.next();
        CAPTURE(size);
        const auto said = take_unescaped(token, lexer);
        CHECK((!said || said->size() <= token.text.size()));
    }
}
