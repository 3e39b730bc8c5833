// Files that are no configuration, by accident or on purpose: always an error list, soon.
#include "config/document.hpp"
#include "config/userlist.hpp"
#include "tests/config/support.hpp"

#include <random>

using namespace pgweir::config;
using namespace pgweir::config::testing;

namespace {
std::string repeated(std::string_view what, std::size_t times) {
    std::string result;
    result.reserve(what.size() * times);
    for (std::size_t i = 0; i < times; ++i) {
        result += what;
    }
    return result;
}
} // namespace

TEST_CASE("not a configuration at all: the exact words") {
    const std::string aliases =
        "anchors and aliases are not supported; a text that begins with '&' or '*' needs quotes";
    const std::vector<std::pair<std::string, std::string>> table{
        {"hello", "1:1: the file must be a map such as pool: { … }, not a single value\n"},
        {"- a\n- b", "1:1: the file must be a map such as pool: { … }, not a list\n"},
        {"workers: 1\n---\nworkers: 2",
         "2:1: the file must hold one YAML document, and here a second one begins\n"},
        {"pool:\n\tminconn: 1", "2:1: a tab in the indentation: YAML takes spaces only\n"},
        {"pool:\n  \tminconn: 1", "2:3: a tab in the indentation: YAML takes spaces only\n"},
        {std::string("workers: 1\nlog\0: x", 17),
         "2:4: a control character (byte 0x00) has no place in this file\n"},
        {"workers: 1\x1b", "1:11: a control character (byte 0x1b) has no place in this file\n"},
        {"# \xc3\xa4 \xff", "1:5: the file is not UTF-8 (byte 0xff)\n"},
        {"\xff\xfe"
         "a",
         "1:1: the file is not UTF-8 (byte 0xff)\n"},
        {"# \xed\xa0\x80", "1:3: the file is not UTF-8 (byte 0xed)\n"},
        {"# \xf4\x90\x80\x80", "1:3: the file is not UTF-8 (byte 0xf4)\n"},
        {"# \xe2\x82", "1:3: the file is not UTF-8 (byte 0xe2)\n"},
        {"a: &x 1\nb: *x", "1:4: " + aliases + "\n"},
        {"a: *x", "1:4: " + aliases + "\n"},
        {"a: &a [*a]", "1:4: " + aliases + "\n"},
        {"workers: !!int 1",
         "1:10: tags are not supported; a text that begins with '!' needs quotes\n"},
        {"? [a, b]\n: 1", "1:3: a key must be a plain text\n"},
        {"? {a: b}\n: 1", "1:3: a key must be a plain text\n"},
        {"~: 1", "1:1: a key is missing here\n"},
        {"a: [[[[[[[[1]]]]]]]]", "1:11: this is nested too deeply\n"},
    };
    for (const auto& each : table) {
        const auto& text = each.first;
        const auto& says = each.second;
        CAPTURE(text);
        CHECK(errors_of(text) == says);
    }
}

TEST_CASE("YAML syntax errors come with their position") {
    const std::vector<std::pair<std::string, std::string>> table{
        {"pool: { maxconn: 5", "1:7: not valid YAML: this '{' is not closed where it should be\n"},
        {"workers: 1\n  max_clients: 5", "2:14: not valid YAML: a ':' that follows no key; is the "
                                         "indentation right, or does a text need quotes?\n"},
        {"listen: [1, 2", "1:9: not valid YAML: this '[' is not closed where it should be\n"},
        {"workers: \"1",
         "1:1: not valid YAML: the quoted text here or right after has no closing quote\n"},
        {"pool:\n  maxconn: \"5\nworkers: 1\n",
         "2:3: not valid YAML: the quoted text here or right after has no closing quote\n"},
        {"pool:\n  maxconn: 5\nworkers", "3:1: a ':' and a space must follow this key\n"},
        {"pool: { maxconn:5 }", "1:9: a ':' and a space must follow this key\n"},
        {"pool: { 'it''s' }", "1:9: a ':' and a space must follow this key\n"},
        {"workers: 1\n- x",
         "2:1: not valid YAML: this does not fit what is above it; is the indentation right?\n"},
        {"workers: \"\\q\"", "1:13: not valid YAML: unknown escape character\n"},
        {"ö: { ö: ]", "1:9: not valid YAML: illegal flow end\n"},
    };
    for (const auto& each : table) {
        const auto& text = each.first;
        const auto& says = each.second;
        CAPTURE(text);
        CHECK(errors_of(text) == says);
    }
}

TEST_CASE("a byte order mark and Windows line ends are no mistake") {
    CHECK(errors_of("\xEF\xBB\xBF" + rest) == "");
    CHECK(errors_of("\xEF\xBB\xBFworkers: x" + rest) ==
          "1:10: workers must be a whole number or 'auto', not 'x'\n");
    CHECK(errors_of("workers: 1\r\ndatabases: { shop: }\r\nusers: { app: { password: x } }\r\n") ==
          "");
    CHECK(errors_of("workers: 1\r\nlog: { level: x }\r\n" + rest.substr(1)) ==
          "2:15: log.level must be one of debug, info, warning, error, not 'x'\n");
}

TEST_CASE("columns count characters") {
    CHECK(errors_of("console: { admin_users: [ödön, äöü, ''] }" + rest) ==
          "1:37: a name in console.admin_users must not be empty\n");
}

TEST_CASE("huge and deep files end in errors") {
    constexpr std::size_t many = 200'000;
    std::string bomb = "a: &a [x,x,x,x,x,x,x,x,x]\n";
    for (char c = 'b'; c <= 'z'; ++c) {
        const std::string before(1, static_cast<char>(c - 1));
        bomb += std::string(1, c) + ": &" + c + " [" + repeated("*" + before + ",", 8) + "*" +
                before + "]\n";
    }
    const std::vector<std::string> table{
        std::string(largest_document_bytes + 1, '#'),
        bomb,
        repeated("[", many),
        repeated("{", many),
        repeated("{a: ", many),
        repeated("[{", many),
        repeated("- ", many),
        repeated("? ", many),
        repeated("a: ", many),
        repeated("]", many),
        repeated("\"", many),
        repeated("'", many + 1),
        repeated("---\n", many),
        repeated("%YAML 1.2\n", many),
        repeated("!", many),
        repeated("&", many),
        repeated("*", many),
        repeated("|", many),
        repeated("a", many),
        repeated("a\n", many),
        repeated("a: b\n", many),
        repeated("\n", many),
        repeated("  \n", many) + "x",
        repeated("a,", many),
        repeated(":", many),
        repeated(": ", many),
        repeated("\xc3\xa4", many),
        "a: >\n" + repeated(" b\n", many),
        "a: \"" + repeated("\\", many),
        "databases: {" + repeated("a: ,", many) + "}",
        "databases: {" + repeated("a,", many) + "}",
        "pool: {" + repeated("maxcon: 1, ", many) + "}",
        "listen: [" + repeated("{}, ", many) + "]",
        "console: { admin_users: [" + repeated("'',", many) + "] }",
    };
    for (std::size_t i = 0; i < table.size(); ++i) {
        CAPTURE(i);
        const world none;
        const auto result = parse(table[i], none.options());
        CHECK(!result);
        CHECK(!result.errors().empty());
        CHECK(result.errors().size() <= most_problems);
    }
}

TEST_CASE("too many errors are cut, and said to be") {
    const world none;
    const auto result =
        parse("console: { admin_users: [" + repeated("'',", 1000) + "] }" + rest, none.options());
    CHECK(result.errors().size() == most_problems);
    CHECK(result.errors().back().message == "too many errors: the rest is not shown");
}

TEST_CASE("the example, cut off at any byte or with any byte changed, is read or refused") {
    const auto whole = source_file("config/example.yaml");
    const world none;
    for (std::size_t size = 0; size <= whole.size(); size += 7) {
        (void)parse(std::string_view(whole).substr(0, size), none.options());
    }
    std::mt19937 random(20'240'607); // NOLINT: the same files each time
    constexpr std::string_view odd = "{}[]:,-?&*!|>'\"%@`#\n\t\0 0a";
    for (int i = 0; i < 1500; ++i) {
        auto text = whole;
        for (int changes = 1 + i % 4; changes > 0; --changes) {
            text[random() % text.size()] = odd[random() % odd.size()];
        }
        const auto result = parse(text, none.options());
        CAPTURE(text);
        CHECK((result || !result.errors().empty()));
    }
}
