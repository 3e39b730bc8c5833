// Patterns of names: what they match, and what is refused because PostgreSQL means something else.
#include "config/name_pattern.hpp"

#include <doctest/doctest.h>

#include <chrono>
#include <optional>
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

TEST_CASE("^, $ and | wherever they stand") {
    struct row {
        std::string pattern, name;
        bool matches;
    };
    const std::vector<row> table{
        {"a^b", "ab", false},
        {"(^|_)app($|_)", "my_app", true},
        {"(^|_)app($|_)", "myapp", false},
        {"^([^@]?(^[^@]?){1,})|(([a-n]))@*$", "b", true},
        {"(^a|)+", "aa", true},
        {"^(a|)$", "", true},
        {"^a.b$", "a\nb", true}, // a line's end is a character like any other
        {"^a$", "a\n", false},
        {"^a[^b]$", "a\n", true},
        {"b$", "a\nb\nc", false},
    };
    for (const auto& each : table) {
        CAPTURE(each.pattern);
        CAPTURE(each.name);
        CHECK(pattern(each.pattern).matches(each.name) == each.matches);
    }
}

TEST_CASE("the first group") {
    struct row {
        std::string pattern, name;
        std::optional<std::string> group;
    };
    const std::vector<row> table{
        {"^(.*)@example$", "ann@example", "ann"},
        {"^(.*)@example$", "@example", ""},
        {"^(.*)@example$", "", std::nullopt},
        {"^()a", "a", ""},
        {"()", "", ""},
        {"^([a-z]+)-([0-9]+)$", "app-12", "app"},
        {"^[a-z]*([a-z]*)$", "ann", ""}, // what stands before it takes all
        {"a?(a?b?)", "ab", "b"},
        {"^([a-z]?[a-z]{1,2})(_)*$", "ab_", "ab"},
        {"^CN=([^,]+),.*$", "CN=ann,O=x,CN=y", "ann"},
    };
    for (const auto& each : table) {
        CAPTURE(each.pattern);
        CAPTURE(each.name);
        CHECK(pattern(each.pattern).why_no_reference() == "");
        CHECK(pattern(each.pattern).first_group_in(each.name) == each.group);
    }
}

TEST_CASE("groups that are for matching alone, as PostgreSQL may find something else in them") {
    const auto why = [](const char* text) { return pattern(text).why_no_reference(); };
    CHECK(why("^a$") == "needs a pattern with ( )");
    CHECK(why("^\\(a[(]$") == "needs a pattern with ( )");
    for (const auto* text :
         {"^(a|ab(c)?).*$", "^(.+|_)+@ex$", "^([^@]+|a)+@ex$", "^([a-z]+|[0-9]+)+@ex$",
          "^([a-z]*)+@ex$", "^([a-z.]+|-)*@ex$", "^([a-z]*_?)*$", "^((app|svc)?_?)*$", "^(a)|b$",
          "^(a)?b$", "^(a){1}$", "^((a)b)$", "^([a-z]+)(@ex)?$", "^([a-z]+)((@)*)*$",
          "^([a-z]+)(_*)+$", "^([a-z]+)(a|b)$", "(a)(^b)*", "(^a|)+"}) {
        CAPTURE(text);
        CHECK(why(text).starts_with("may be something else in PostgreSQL where "));
    }
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
                             "$*",
                             "(a|$+)",
                             "[ö]",
                             "[b-a]",
                             "[[:no:]]",
                             "[[:word:]]",
                             "[[:^alpha:]]",
                             "[[.a.]]",
                             "[[=a=]]",
                             "[[:<:]]",
                             "[A-[:digit:]]",
                             "[--[:digit:]]",
                             "[[:digit:]-z]",
                             "[a-c-e]",
                             "a{256}",
                             "a{1,256}",
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
    std::string too_large;
    for (int i = 0; i < 9; ++i) {
        too_large += "[acegikmoqsuwy]{255}";
    }
    CHECK(refusal_of("(" + too_large + "){3}") == "pattern too large - compile failed");
    CHECK(refusal_of(std::string(1001, 'a')) != "");
    CHECK(refusal_of("\\d+").find("[0-9]") != std::string::npos);
}

TEST_CASE("names from strangers take no time") {
    // What keeps a backtracking matcher busy until the sun burns out, and what the C library's
    // regexec never comes back from.
    const std::vector<std::string> patterns{"^(a+)+$",
                                            "^(a|a)*$",
                                            "^(a*)*b$",
                                            "^(.*)(.*)(.*)(.*)(.*)x$",
                                            "(a{1,9}){1,9}b",
                                            "^(a?){63}a{1,2}$",
                                            "^(a|b|c|d|e|f){1,60}$",
                                            "^(([a-z])+.)+[A-Z]([a-z])+$",
                                            "(^a|)+",
                                            "^(_?|[a-z]|[0-9]?)*$",
                                            "^svc_([a-z]*|[0-9]|_?)*$",
                                            "^svc(_?|[a-z]+|[0-9]*)*$",
                                            "^((_?|[a-z])*)*$"};
    const auto repeated = [](std::string_view what, std::size_t bytes) {
        std::string result;
        while (result.size() < bytes) {
            result += what;
        }
        return result.substr(0, bytes);
    };
    const auto begun = std::chrono::steady_clock::now();
    for (const auto& text : patterns) {
        CAPTURE(text);
        const auto made = pattern(text);
        for (const std::string_view what : {"a", "ann_b1", "svc_app1"}) {
            for (const std::size_t bytes : {62, 1023, 9999}) {
                CHECK(made.matches(repeated(what, bytes) + "!") ==
                      (text == "(^a|)+" && bytes < 1024));
                (void)made.matches(repeated(what, bytes));
            }
        }
    }
    for (const auto& [text, name] :
         std::vector<std::pair<const char*, const char*>>{{"(^a|)+", "aa"},
                                                          {"^(_?|[a-z]|[0-9]?)*$", "ann_b1"},
                                                          {"^svc_([a-z]*|[0-9]|_?)*$", "svc_app_1"},
                                                          {"^svc(_?|[a-z]+|[0-9]*)*$", "svc_app1"},
                                                          {"^((_?|[a-z])*)*$", "ann_b"}}) {
        CAPTURE(text);
        CHECK(pattern(text).matches(name));
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
