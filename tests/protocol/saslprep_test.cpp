// What SCRAM makes of a password before it is hashed. That PostgreSQL and libpq make the same of it
// is integration/saslprep_test.py's business.
#include "protocol/saslprep.hpp"
#include "protocol/scram.hpp"

#include <doctest/doctest.h>

#include <string>
#include <vector>

using namespace pgweir::protocol;
using namespace std::string_literals;

namespace {

std::string prepared(const std::string& password) {
    return std::string(saslprep(secret(password)).reveal());
}

struct row {
    std::string name, password, becomes;
};

} // namespace

TEST_CASE("saslprep: what is written differently and means the same becomes the same") {
    const std::vector<row> table{
        {"RFC 4013: a soft hyphen", "I\u00adX", "IX"},
        {"RFC 4013: no change", "USER", "USER"},
        {"RFC 4013: an ordinal", "\u00aa", "a"},
        {"RFC 4013: a Roman numeral", "\u2168", "IX"},
        {"composed", "caf\u00e9", "caf\u00e9"},
        {"decomposed", "cafe\u0301", "caf\u00e9"},
        {"marks in another order", "a\u0301\u0323", "\u1ea1\u0301"},
        {"a ligature", "\ufb01sh", "fish"},
        {"full width", "\uff21\uff42", "Ab"},
        {"no-break space", "a\u00a0b", "a b"},
        {"zero width space, as a space", "a\u200bb", "a b"},
        {"zero width joiner", "a\u200db", "ab"},
        {"an ellipsis", "wait\u2026", "wait..."},
        {"a fraction", "\u00bd", "1\u20442"},
        {"Hangul", "\u1112\u1161\u11ab", "\ud55c"},
        {"no composition with what is excluded", "\u0958", "\u0915\u093c"},
        {"right to left throughout", "\u05d0\u05d1 1\u05d2", "\u05d0\u05d1 1\u05d2"},
        {"a letter symbol that becomes one from right to left", "a\u2135", "a\u05d0"},
    };
    for (const auto& each : table) {
        CAPTURE(each.name);
        CHECK(prepared(each.password) == each.becomes);
        CHECK(prepared(each.becomes) == each.becomes);
    }
}

TEST_CASE("saslprep: what is prohibited stays as it is, and so does what is no text") {
    const std::vector<row> table{
        {"nothing", "", ""},
        {"ASCII, whatever it is", "a\x01\x7f b", ""},
        {"nothing would be left", "\u00ad\u200d", ""},
        {"a control character beside others", "\u00aa\x07", ""},
        {"a control character of Latin 1", "\u00aa\u0085", ""},
        {"private use", "\u00aa\ue000", ""},
        {"no character", "\u00aa\ufdd0", ""},
        {"a replacement character", "\u00aa\ufffd", ""},
        {"a mark of direction", "\u00aa\u200e", ""},
        {"a tag", "\u00aa\U000e0041", ""},
        {"unknown to Unicode 3.2", "\u00aa\u0221", ""},
        {"right to left within left to right", "a\u05d0\u00aa", ""},
        {"right to left, but for the end", "\u05d0\u00ad1", ""},
        {"a byte of Latin 1", "\u00aa\xe9", ""},
        {"cut off", "\u00aa\xc3", ""},
        {"longer than it need be", "\u00aa\xc0\xaf", ""},
        {"a surrogate", "\u00aa\xed\xa0\x80", ""},
        {"beyond the last", "\u00aa\xf4\x90\x80\x80", ""},
    };
    for (const auto& each : table) {
        CAPTURE(each.name);
        CHECK(prepared(each.password) == each.password);
    }
}

TEST_CASE("saslprep: it counts for the key that a password is turned into") {
    const auto key = [](const std::string& password) {
        return std::string(derive_salted_password(secret(password), "salt", 1).reveal());
    };
    CHECK(key("caf\u00e9") == key("cafe\u0301"));
    CHECK(key("caf\u00e9") != key("cafe"));
}

TEST_CASE("saslprep: as long a password as a stranger may send") {
    // Eighteen letters each, which is as long as it gets.
    std::string letters, becomes;
    for (int i = 0; i < 20'000; ++i) {
        letters += "\ufdfa";
        becomes += prepared("\ufdfa");
    }
    CHECK(prepared(letters) == becomes);
    // Marks in the wrong order: sorted pair by pair, this would take a second.
    std::string marks = "a", below, above;
    for (int i = 0; i < 16'000; ++i) {
        marks += "\u0301\u0323";
        above += "\u0301";
        below += i > 0 ? "\u0323" : "";
    }
    CHECK(prepared(marks) == "\u1ea1" + below + above);
}
