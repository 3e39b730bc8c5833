// Userlist files: PgBouncer's form, its tolerance, and what is refused.
#include "config/userlist.hpp"
#include "tests/config/support.hpp"

using namespace pgweir::config;
using namespace pgweir::config::testing;

TEST_CASE("lines that are understood") {
    const auto list =
        parse_userlist("; a comment\n"
                       "# another \"one\"\n"
                       "\n"
                       "  \t\n"
                       "\"alice\" \"plain\"\n"
                       "  \"bob\"\t\"md50123456789abcdef0123456789abcdef\" rest of it\n"
                       "\"with \"\" quote\" \"se\"\"cret\"\r\n"
                       "\"no space\"\"\" \"x\"\n"
                       "\"ödön\" \"jelszó\"\n"
                       "\"last\" \"without newline\"");
    CHECK(joined(lines(list.problems)) == "");
    const std::vector<std::pair<std::string, std::string>> expected{
        {"alice", "plain"},
        {"bob", "md50123456789abcdef0123456789abcdef"},
        {"with \" quote", "se\"cret"},
        {"no space\"", "x"},
        {"ödön", "jelszó"},
        {"last", "without newline"}};
    REQUIRE(list.users.size() == expected.size());
    for (std::size_t i = 0; i < expected.size(); ++i) {
        CAPTURE(i);
        CHECK(list.users[i].who.name == expected[i].first);
        CHECK(list.users[i].who.password.reveal() == expected[i].second);
        CHECK(list.users[i].who.from_file);
    }
    CHECK(list.users[1].at == position{.line = 6, .column = 3});
}

TEST_CASE("lines that are refused, each with its place, none with its secret") {
    const std::vector<std::pair<std::string, std::string>> table{
        {"alice \"hunter2\"", "1:1: the user name must stand in double quotes\n"},
        {"hunter2", "1:1: the user name must stand in double quotes\n"},
        {"\n  \"alice", "2:3: the closing quote of the user name is missing\n"},
        {"\"alice\" hunter2", "1:9: the secret must stand in double quotes\n"},
        {"\"alice\"", "1:8: the secret must stand in double quotes\n"},
        {"\"alice\" \"hunter2", "1:9: the closing quote of the secret is missing\n"},
        {"\"alice\" \"hunter2\"\"", "1:9: the closing quote of the secret is missing\n"},
        {"\"ödön\" hunter2", "1:8: the secret must stand in double quotes\n"},
        {"\"\" \"hunter2\"", "1:1: the user name must not be empty\n"},
        {"\"" + std::string(64, 'n') + "\" \"hunter2\"",
         "1:1: the user name must not be longer than 63 bytes\n"},
        {"\"a\tb\" \"hunter2\"", "1:1: the user name must not hold control characters\n"},
        {"\"alice\" \"\"", "1:9: the secret of user 'alice' must not be empty\n"},
        {"\"alice\" \"hunter2\t\"",
         "1:9: the secret of user 'alice' must not hold control characters\n"},
        {"\"alice\" \"" + std::string(8193, 'h') + "\"",
         "1:9: the secret of user 'alice' must not be longer than 8192 bytes\n"},
        {"\"alice\" \"SCRAM-SHA-256$hunter2\"",
         "1:9: the secret of user 'alice' begins like a SCRAM verifier but is none\n"},
        {"\"alice\" \"x\"\n\"alice\" \"hunter2\"",
         "2:1: user 'alice' is listed twice, first on line 1\n"},
        {std::string("\"alice\" \"hunter2\0\"", 18),
         "1:17: a control character (byte 0x00) has no place in this file\n"},
        {"\"alice\" \"hunter2\xC0\xAF\"", "1:17: the file is not UTF-8 (byte 0xc0)\n"},
        {"x\n\"good\" \"x\"\ny", "1:1: the user name must stand in double quotes\n"
                                 "3:1: the user name must stand in double quotes\n"},
    };
    for (const auto& each : table) {
        const auto& text = each.first;
        const auto& says = each.second;
        CAPTURE(text);
        const auto list = parse_userlist(text);
        CHECK(joined(lines(list.problems)) == says);
        CHECK(joined(lines(list.problems)).find("hunter2") == std::string::npos);
    }
}

TEST_CASE("a file cut off at any byte is read or refused") {
    const std::string whole = "; c\n\"al\"\"ice\" \"se\"\"cret\" x\n\"bob\" \"b\"\n";
    for (std::size_t size = 0; size <= whole.size(); ++size) {
        CAPTURE(size);
        const auto list = parse_userlist(std::string_view(whole).substr(0, size));
        CHECK(list.users.size() <= 2);
        CHECK(list.problems.size() <= 1);
    }
}

TEST_CASE("problems are told up to a bound") {
    std::string text;
    for (int i = 0; i < 10'000; ++i) {
        text += "broken\n";
    }
    CHECK(parse_userlist(text).problems.size() == most_problems);
}

TEST_CASE("auth.userlist") {
    const std::string start = "databases: { shop: }\nauth:\n  userlist: users.txt\n";
    world in{.environment = {}, .files = {{"/etc/pgweir/users.txt", "\"bob\" \"b\"\n"}}};

    SUBCASE("is found beside the configuration, and comes after its users") {
        const auto result =
            parse(start + "users: { app: { password: a } }", in.options("/etc/pgweir"));
        REQUIRE(result);
        REQUIRE(result.value().users.size() == 2);
        CHECK(result.value().users[0].name == "app");
        CHECK(!result.value().users[0].from_file);
        CHECK(result.value().users[1].name == "bob");
        CHECK(result.value().users[1].from_file);
        CHECK(result.value().userlist == "users.txt");
        CHECK(result.value().find_user("bob")->password.reveal() == "b");
    }
    SUBCASE("is enough without users") { CHECK(parse(start, in.options("/etc/pgweir"))); }
    SUBCASE("is missing") {
        CHECK(lines(parse(start, in.options("/elsewhere")).errors()) ==
              std::vector<std::string>{"3:13: auth.userlist is the file 'users.txt', which cannot "
                                       "be read, or does not belong to root (mode 0640 or less) "
                                       "or pgweir's user (0600 or less)"});
    }
    SUBCASE("is wrong: told with its own name, after the configuration's errors") {
        in.files["/etc/pgweir/users.txt"] = "\"bob\" b\n";
        CHECK(lines(parse(start + "workers: x", in.options("/etc/pgweir")).errors()) ==
              std::vector<std::string>{"4:10: workers must be a whole number or 'auto', not 'x'",
                                       "users.txt:1:7: the secret must stand in double quotes"});
    }
    SUBCASE("has a user that users has") {
        CHECK(lines(parse(start + "users: { bob: { password: a } }", in.options("/etc/pgweir"))
                        .errors()) ==
              std::vector<std::string>{"users.txt:1:1: user 'bob' is in users as well, on line 4 "
                                       "of the configuration"});
    }
}
