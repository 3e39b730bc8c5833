// Valid, cut-off, overlong and forbidden sequences (RFC 3629).
#include "daemon/utf8.hpp"

#include <doctest/doctest.h>

using namespace pgweir::daemon;

TEST_CASE("bytes that are not UTF-8 become \\xNN, everything else stays") {
    struct {
        std::string_view text, valid;
    } const rows[] = {
        {"", ""},
        {"fitness_club", "fitness_club"},
        {"Zürich €10 🏋", "Zürich €10 🏋"},
        {"\xff", "\\xff"},
        {"a\xc3", "a\\xc3"},                          // cut off
        {"\xc0\xaf", "\\xc0\\xaf"},                   // overlong
        {"\xe0\x80\xaf", "\\xe0\\x80\\xaf"},          // overlong
        {"\xed\xa0\x80", "\\xed\\xa0\\x80"},          // a surrogate
        {"\xf4\x90\x80\x80", "\\xf4\\x90\\x80\\x80"}, // above U+10FFFF
        {"\x80z\xc3\xbc", "\\x80zü"},
        {"\xe2\x82z", "\\xe2\\x82z"},
    };
    for (const auto& row : rows) {
        CAPTURE(row.valid);
        CHECK(to_valid_utf8(row.text) == row.valid);
        CHECK(to_valid_utf8(row.valid) == row.valid);
    }
}

TEST_CASE("a prefix never cuts a character") {
    const std::string_view text = "aü€🏋";
    const std::size_t cuts[] = {0, 1, 1, 3, 3, 3, 6, 6, 6, 6, 10, 10};
    for (std::size_t max = 0; max < std::size(cuts); ++max) {
        CAPTURE(max);
        CHECK(utf8_prefix(text, max).size() == cuts[max]);
    }
}
