// Patterns of names: what they match, and what is refused because PostgreSQL means something else.
#include "config/name_pattern.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <string>
#include <vector>

using namespace pgweir::config;

namespace {

std::string refusal_of(const std::string& text) {
    std::string refused;
    const auto made = name_pattern::make(text, refused);
    CHECK(made.has_value() == refused.empty());
    return refused;
}

name_pattern pattern(const std::string& text) {
    std::string refused;
    auto made = name_pattern::make(text, refused);
    INFO(refused);
    REQUIRE(made);
    return *made;
}

} // namespace

TEST_CASE("what patterns match") {
    struct row {
        std::string pattern, name;
        bool matches;
    };
    const std::vector<row> table{
        {"^app_[0-9]+$", "app_12", true},
        {"^app_[0-9]+$", "app_", false},
        {"^app_[0-9]+$", "xapp_1", false},
        {"app", "my_apps", true}, // nothing binds it
        {"^(a|b)$", "b", true},
        {"^(a|b)$", "c", false},
        {"^a{2,3}$", "aaa", true},
        {"^a{2,3}$", "aaaa", false},
        {"^[[:alpha:]_]+$", "a_b", true},
        {"^[^0-9]+$", "a1", false},
        {"^[]a]+$", "]a", true},
        {"^a\\.b$", "a.b", true},
        {"^a\\.b$", "axb", false},
        {"^[a-z]{1,20}_[0-9]{1,10}$", "app_12", true},
        {"^$", "", true},
        {"^.*$", "anything", true},
        {"^ö$", "ö", true},
        {"^.$", "ö", false}, // two bytes
        {"^..$", "ö", true},
    };
    for (const auto& each : table) {
        CAPTURE(each.pattern);
        CAPTURE(each.name);
        CHECK(pattern(each.pattern).matches(each.name) == each.matches);
    }
}

TEST_CASE("the first group") {
    CHECK(pattern("^(.*)@example$").find_in("ann@example")->first_group == "ann");
    CHECK(pattern("^(.*)@example$").find_in("@example")->first_group == "");
    CHECK(pattern("^ann@example$").find_in("ann@example")->first_group == std::nullopt);
    CHECK(pattern("^(a)|b$").find_in("b")->first_group == std::nullopt);
}

TEST_CASE("what is refused") {
    for (const auto* text : {"",
                             "(",
                             ")",
                             "(a",
                             "a)",
                             "[",
                             "[a",
                             "[]",
                             "[[:alpha]",
                             "a{",
                             "a{2",
                             "a{x}",
                             "a{3,2}",
                             "a{,2}",
                             "\\d+",
                             "\\w",
                             "(a)\\1",
                             "\\",
                             "\\ma",
                             "a\\Z",
                             "[\\d]",
                             "(?:a)",
                             "(?=a)",
                             "(?i)a",
                             "***:a",
                             "*a",
                             "+",
                             "a|*",
                             "(*a)",
                             "a**",
                             "a*?",
                             "a+?",
                             "a{2}{2}",
                             "a{2}?",
                             "^*",
                             "[ö]",
                             "[b-a]",
                             "[[:no:]]",
                             "a{1000}{1}",
                             "a{2001}",
                             "(a{45}){45}",
                             "(a{100}){20}",
                             "((((((((((a?)?)?)?)?)?)?)?)?)?){0,1000}",
                             "a{99999999999999}",
                             "a{-1}",
                             "a{ 1}"}) {
        CAPTURE(text);
        CHECK(refusal_of(text) != "");
    }
    CHECK(refusal_of(std::string(21, '(') + "a" + std::string(21, ')')) != "");
    CHECK(refusal_of("(" + std::string(240, 'a') + "){10}") != "");
    CHECK(refusal_of(std::string(1001, 'a')) != "");
    CHECK(refusal_of("\\d+").find("[0-9]") != std::string::npos);
}

TEST_CASE("names from strangers take no time") {
    // What keeps a backtracking matcher busy until the sun burns out.
    const auto begun = std::chrono::steady_clock::now();
    for (const auto* text :
         {"^(a+)+$", "^(a|a)*$", "^(a*)*b$", "^(.*)(.*)(.*)(.*)(.*)x$", "(a{1,9}){1,9}b",
          "^(a?){63}a{1,2}$", "^(a|b|c|d|e|f){1,60}$", "^(([a-z])+.)+[A-Z]([a-z])+$"}) {
        CAPTURE(text);
        CHECK(!pattern(text).matches(std::string(62, 'a') + "!"));
    }
    CHECK(std::chrono::steady_clock::now() - begun < std::chrono::seconds(5));
    CHECK(!pattern("a").matches(std::string(1025, 'a')));
    CHECK(!pattern("a").matches(std::string("a\0", 2)));
}

TEST_CASE("copies are cheap and equal") {
    const auto one = pattern("^a$");
    const auto copy = one;
    CHECK(copy == one);
    CHECK(copy.matches("a"));
    CHECK(pattern("^a$") == one);
    CHECK(!(pattern("^b$") == one));
}
